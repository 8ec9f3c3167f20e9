"""Videos in WebDataset tar files, each read by one range of bytes, from a folder or a URL.

    KEY.cls   KEY.json   KEY.mp4                         a sample: label, what is known of it, the video file
    KEY.cls   KEY.json   KEY.00001.jpg  KEY.00002.jpg    or its frames

The members of a sample lie one after another. ``shards.csv`` says where, so that every video can be read by
itself, in any order and by any process.
"""

import csv
import io
import json
import re
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from gateshift.data.frame_folder import FRAME_EXTENSIONS, FrameFolder
from gateshift.data.reader import VIDEO_EXTENSIONS, VideoFile
from gateshift.data.records import Part, Place, Shards, VideoRecord
from gateshift.data.remote import is_url, join, read_url
from gateshift.errors import DataError, VideoError

INDEX = "shards.csv"
COLUMNS = ("video", "start_frame", "end_frame", "shard", "offset", "size")
OTHER_VIDEO = ".video"  # the member's extension where a video file has none that is known
KEY = re.compile(r"((?:.*/)?[^./]+)(\.[^/]*)")  # WebDataset's rule: a key ends at the first dot of the name


class Member(NamedTuple):
    """One file of a sample: the part of its name after the key, and which bytes of the sample it is."""

    extension: str
    start: int
    end: int


@dataclass(frozen=True)
class Sample:
    """The files of one video."""

    key: str
    members: tuple[Member, ...]
    content: bytes

    def read(self, member: Member) -> bytes:
        """Return the bytes of a member."""
        return self.content[member.start : member.end]

    @cached_property
    def about(self) -> dict[str, object]:
        """What its .json says; empty where there is none."""
        found = next((member for member in self.members if member.extension == ".json"), None)
        values = json.loads(self.read(found)) if found else {}
        return values if isinstance(values, dict) else {}

    @cached_property
    def video(self) -> Member | None:
        """The video file; None where there are frames instead."""
        found = [member for member in self.members if is_video(member.extension)]
        if len(found) > 1:
            raise DataError(f"the sample '{self.key}' holds {len(found)} video files. Keep one of them.")
        return found[0] if found else None

    @cached_property
    def frames(self) -> tuple[Member, ...]:
        """The frames, in the order of their numbers."""
        numbered = {}
        for member in self.members:
            if is_frame(member.extension):
                numbers = re.findall(r"\d+", member.extension.rpartition(".")[0])
                numbered[int(numbers[-1]) if numbers else 0] = member
        if not numbered or max(numbered) - min(numbered) + 1 != len(numbered):
            what = "has a gap in its frames" if numbered else "holds neither a video file nor frames"
            raise DataError(f"the sample '{self.key}' {what}. {_WRITE_AGAIN}")
        return tuple(member for _, member in sorted(numbered.items()))


class ShardFrames(FrameFolder):
    """Frames out of a shard: read(indices) -> uint8 (len(indices), H, W, 3).

    Args:
        path: names them in messages.
        sample: the image files.
        first: number of the first one in the video; those before it are not in the shard.
    """

    def __init__(self, path: Path, sample: Sample, first: int = 0) -> None:
        self.path = path
        self.frame_template = None
        self.first = first
        self._sample = sample
        self._frames = {member.extension[1:]: member for member in sample.frames}

    @property
    def num_frames(self) -> int:
        """Frames of the video up to the last one in the shard."""
        return self.first + len(self._frames)

    @cached_property
    def _files(self) -> tuple[str, ...]:
        return tuple(self._frames)

    def file(self, i: int) -> Path:
        """Return the name of frame ``i``."""
        if not self.first <= i < self.num_frames:
            raise VideoError(
                f"frame {i} of '{self.path}' is not in its shard, which holds {self.first} to "
                f"{self.num_frames - 1}. Write the shards again, or correct the frame numbers in the list.",
                "missing-frame",
            )
        return self.path / self._files[i - self.first]

    def _load(self, file: Path) -> bytes:
        return self._sample.read(self._frames[file.name])


def open_sample(shards: Shards, record: VideoRecord) -> VideoFile | ShardFrames:
    """Return the reader of a record's video; its bytes are read now, in one piece.

    Raises:
        VideoError: the video is in no shard, or its bytes cannot be read or are another video's.
    """
    part, place = find_place(shards, record)
    path = Path(place.shard, record.video)
    sample = read_sample(shards, part)
    if sample.video:
        return VideoFile(path, sample.read(sample.video))
    return ShardFrames(path, sample, part.start_frame)


def read_sample(shards: Shards, part: Part) -> Sample:
    """Return the sample that a part of a video lies in; it holds a video file or frames without a gap.

    Raises:
        VideoError: the bytes cannot be read, or are another video's.
    """
    place = shards.places[part]
    try:
        sample = parse_sample(_read_place(shards.location, place))
        _require_same(sample, part.video)
        assert sample.video or sample.frames, "else one of them has refused"
        return sample
    except (DataError, ValueError) as error:
        path = Path(place.shard, part.video)
        raise VideoError(f"'{path}' cannot be read from '{shards.location}': {error}") from error


def find_place(shards: Shards, record: VideoRecord) -> tuple[Part, Place]:
    """Return what of a record's video lies in the shards, and where.

    Raises:
        VideoError: nothing does.
    """
    for part in (Part(record.video), Part(record.video, record.start_frame, record.end_frame)):
        if part in shards.places:
            return part, shards.places[part]
    raise VideoError(
        f"'{record.video}' is in none of the shards at '{shards.location}', or not with these frames. "
        "Write the shards again, or take it from the list.",
        "missing-file",
    )


def parse_sample(content: bytes) -> Sample:
    """Return the members that lie in a part of a tar file.

    Raises:
        DataError: the bytes are not those of one sample.
    """
    found = _plain_members(content) or _any_members(content)
    matches = [(KEY.fullmatch(name), start, size) for name, start, size in found]
    members = tuple(Member(match[2].lower(), at, at + size) for match, at, size in matches if match)
    keys = {match[1] for match, _, _ in matches if match}
    if len(keys) != 1:
        raise DataError(f"its bytes are not those of one sample. {_WRITE_AGAIN}")
    return Sample(keys.pop(), members, content)


def _plain_members(content: bytes) -> list[tuple[str, int, int]] | None:
    """Return name, start and size of tar members, sooner than ``tarfile`` does; None if one is not plain."""
    members = []
    at = 0
    while at < len(content):
        header = content[at : at + tarfile.BLOCKSIZE]
        at += tarfile.BLOCKSIZE
        if header[257:265] != tarfile.POSIX_MAGIC or header[156:157] != tarfile.REGTYPE or header[345]:
            return None
        try:
            size, checksum = (int(field.rstrip(b"\0 "), 8) for field in (header[124:136], header[148:156]))
            name = header[:100].partition(b"\0")[0].decode()
        except ValueError:
            return None
        if checksum != sum(header) - sum(header[148:156]) + 8 * ord(" "):
            return None
        members.append((name, at, size))
        at += -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    return members if at == len(content) else None


def _any_members(content: bytes) -> list[tuple[str, int, int]]:
    """Return name, start and size of the regular files in a part of any tar file."""
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            members = [(member.name, member.offset_data, member.size) for member in tar if member.isreg()]
            end = tar.offset
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"its bytes are no tar members ({error}). {_WRITE_AGAIN}") from error
    if end != len(content):
        raise DataError(f"its bytes do not end with a tar member. {_WRITE_AGAIN}")
    return members


def name_video(key: str, extensions: Iterable[str]) -> str:
    """Return what a video is called that was put into a shard without its name: the key, as a file's name.

    >>> name_video("push/7", [".cls", ".mp4"]), name_video("push/8", [".cls", ".0.jpg", ".1.jpg"])
    ('push/7.mp4', 'push/8')
    """
    return key + next((extension for extension in extensions if is_video(extension)), "")


def is_video(extension: str) -> bool:
    """Tell whether a member of a sample is a video file, by its extension."""
    return extension in VIDEO_EXTENSIONS or extension == OTHER_VIDEO


def is_frame(extension: str) -> bool:
    """Tell whether a member of a sample is a frame, by its extension."""
    return extension[extension.rindex(".") :] in FRAME_EXTENSIONS


def format_index(places: Mapping[Part, Place]) -> str:
    """Return ``shards.csv`` as text."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((*part, *place) for part, place in places.items())
    return text.getvalue()


def read_index(file: Path) -> dict[Part, Place]:
    """Return where the samples lie, from ``shards.csv``.

    Raises:
        DataError: the file is no such index.
    """
    rows = csv.reader(io.StringIO(file.read_text(encoding="utf-8"), newline=""))
    if tuple(next(rows, ())) != COLUMNS:
        raise DataError(f"'{file}' does not begin with '{','.join(COLUMNS)}'. {_WRITE_AGAIN}")
    places = {}
    for row in rows:
        try:
            video, start, end, shard, offset, size = row
            part = Part(video, int(start), int(end) if end else None)
            places[part] = Place(shard, int(offset), int(size))
        except ValueError as error:
            raise DataError(
                f"{file}:{rows.line_num} is '{','.join(row)[:60]}', which is no place in a shard. "
                f"{_WRITE_AGAIN}"
            ) from error
    return places


_WRITE_AGAIN = "Write the shards again with `gateshift prepare DATA --shards`."


def _read_place(location: str, place: Place) -> bytes:
    name = join(location, place.shard)
    if is_url(location):
        return read_url(name, place.offset, place.size)
    try:
        with open(name, "rb") as file:
            file.seek(place.offset)
            content = file.read(place.size)
    except OSError as error:
        raise DataError(f"'{name}' cannot be opened ({error.strerror}). {_WRITE_AGAIN}") from error
    if len(content) != place.size:
        raise DataError(f"'{name}' ends before byte {place.offset + place.size}. {_WRITE_AGAIN}")
    return content


def _require_same(sample: Sample, video: str) -> None:
    """Refuse a sample of another video: the index is not that of these shards."""
    there = sample.about.get("video", name_video(sample.key, (member.extension for member in sample.members)))
    if there != video:
        raise DataError(f"it is '{there}' that lies there, so {INDEX} is of other shards. {_WRITE_AGAIN}")
