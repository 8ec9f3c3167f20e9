"""A dataset as WebDataset tar shards, with the index that makes each video readable by itself.

    plan: samples -> shards -> offsets;  write each shard in one step;  index, lists and dataset.json last

What goes where is decided before anything is written, from names, sizes and times of change. So a run that
was killed is taken up at the shard it was at, and the bytes are those of a run that was not.
"""

import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from gateshift.data.description import write_annotations, write_text
from gateshift.data.frame_folder import FrameFolder
from gateshift.data.reader import VIDEO_EXTENSIONS
from gateshift.data.records import Annotations, Part, Place, Shards, VideoRecord
from gateshift.data.shards import INDEX, OTHER_VIDEO, format_index
from gateshift.errors import ConfigError, DataError

PLAN = ".shards.json"  # what each shard is made of, while shards are written and after
SHARD_BYTES = 1 << 30
CHUNK = 1 << 20  # bytes
END = bytes(2 * tarfile.BLOCKSIZE)  # of a tar file


@dataclass(frozen=True)
class _Sample:
    """What becomes one sample: the records of one video file, or of one action in frames."""

    key: str
    part: Part
    source: Path
    in_frames: bool
    records: tuple[VideoRecord, ...]
    size: int = 0  # of all its members, headers and padding
    state: str = ""  # changes with its files


@dataclass(frozen=True)
class _Member:
    """A file to be: written here, or copied from a file."""

    name: str
    size: int
    content: bytes | None = None
    file: Path | None = None

    @property
    def header(self) -> bytes:
        """The tar header: nothing in it depends on the machine or the day."""
        member = tarfile.TarInfo(self.name)
        member.size = self.size
        return member.tobuf(tarfile.PAX_FORMAT)


def write_shards(
    annotations: Annotations,
    out: str | Path,
    *,
    shard_bytes: int = SHARD_BYTES,
    advance: Callable[[int], object] = lambda videos: None,
) -> Annotations:
    """Write the videos of a dataset into ``out/train-000000.tar`` and on; return the dataset that they are.

    Videos go in as they are: files byte for byte, frames as their image files, of an action those that it
    spans. Training videos are in a shuffled order, for readers that stream. The lists name the videos as
    those of ``annotations`` do. Optical flow stays where it is.

    Args:
        annotations: the dataset; its videos are files or folders of frames.
        out: a folder of these shards alone. The same call again writes what is not there yet.
        shard_bytes: how large a shard gets, unless one video is larger.
        advance: called with the number of samples after each, see ``count_samples``.

    Raises:
        ConfigError: ``shard_bytes`` is no size.
        VideoError: a folder of frames is missing or has a gap.
        DataError: a video file is missing or changes on the way, ``out`` holds something else or cannot be
            written, or the dataset is in shards already.
    """
    if shard_bytes < 1:
        raise ConfigError(
            f"shard_bytes is {shard_bytes}; it must be at least 1. Give bytes, such as 1000000000."
        )
    if annotations.shards:
        raise DataError(f"the dataset at '{annotations.root}' is in shards already. Use it as it is.")
    out = Path(out)
    try:
        shards = _plan(annotations, shard_bytes)
        out.mkdir(parents=True, exist_ok=True)
        _keep_what_fits(out, {name: _state(samples) for name, samples in shards.items()})
        for name, samples in shards.items():
            path = out / name
            if path.is_file() and path.stat().st_size == sum(sample.size for sample in samples) + len(END):
                advance(len(samples))
            else:
                _write_shard(path, samples, annotations, advance)
        return _finish(annotations, out, shards)
    except OSError as error:
        raise DataError(
            f"'{error.filename or out}' cannot be read or written ({error.strerror or error}). "
            "Mend that, or give another folder with --out; the same command goes on where it ended."
        ) from error


def count_samples(annotations: Annotations) -> int:
    """Return how many samples ``write_shards`` makes of a dataset."""
    return sum(len(_samples(annotations, split)) for split in annotations.splits)


def _plan(annotations: Annotations, shard_bytes: int) -> dict[str, list[_Sample]]:
    """Return the samples of each shard, in order."""
    shards: dict[str, list[_Sample]] = {}
    for split in annotations.splits:
        number, filled = -1, shard_bytes
        for sample in _samples(annotations, split):
            sample = _measure(sample, _members(sample, annotations))
            if filled + sample.size > shard_bytes:
                number, filled = number + 1, 0
            shards.setdefault(f"{split}-{number:06d}.tar", []).append(sample)
            filled += sample.size
    return shards


def _samples(annotations: Annotations, split: str) -> list[_Sample]:
    """Return the samples of a split, not measured yet; a video file is one, however many actions it holds."""
    together: dict[Part, list[VideoRecord]] = {}
    folders: dict[str, bool] = {}
    for record in annotations.split(split):
        if record.video not in folders:
            folders[record.video] = annotations.path(record).is_dir()
        part = Part(record.video)
        if folders[record.video]:
            part = Part(record.video, record.start_frame, record.end_frame)
        together.setdefault(part, []).append(record)
    parts = list(together)
    if split == "train":  # else each shard would hold one class, as lists often go class by class
        parts.sort(key=lambda part: hashlib.sha256(repr(tuple(part)).encode()).digest())
    return [
        _Sample(
            f"{number:08d}", part, annotations.root / part.video, folders[part.video], tuple(together[part])
        )
        for number, part in enumerate(parts)
    ]


def _measure(sample: _Sample, members: Iterable[_Member]) -> _Sample:
    """Return a sample with its size in a tar file, and with what changes when its files do."""
    size, state = 0, hashlib.sha256()
    for member in members:
        size += len(member.header) + _padded(member.size)
        changed = member.file.stat().st_mtime_ns if member.file else member.content
        state.update(repr((member.name, member.size, changed)).encode())
    return replace(sample, size=size, state=state.hexdigest())


def _members(sample: _Sample, annotations: Annotations) -> Iterator[_Member]:
    """Yield the files of a sample in order: label, description, then the video or its frames."""
    labels = {record.label for record in sample.records}
    if len(labels) == 1:  # a video of several actions has its labels in .json only
        label = str(labels.pop()).encode()
        yield _Member(f"{sample.key}.cls", len(label), label)
    about = json.dumps(_about(sample, annotations.classes), ensure_ascii=False).encode()
    yield _Member(f"{sample.key}.json", len(about), about)
    if not sample.in_frames:
        extension = sample.source.suffix.lower()
        extension = extension if extension in VIDEO_EXTENSIONS else OTHER_VIDEO
        yield _Member(f"{sample.key}{extension}", sample.source.stat().st_size, file=sample.source)
        return
    folder = FrameFolder(sample.source, annotations.frame_template)
    end = sample.part.end_frame or sample.records[0].num_frames or folder.num_frames
    for i in range(sample.part.start_frame, end):
        file = folder.file(i)
        yield _Member(f"{sample.key}.{i:05d}{file.suffix.lower()}", file.stat().st_size, file=file)


def _about(sample: _Sample, classes: Sequence[str]) -> dict[str, object]:
    """Return what a sample's .json says: the video, and of its action, or each of them, label and span."""
    actions = [
        {"label": record.label, "class": classes[record.label]}
        | {name: value for name, value in vars(record).items() if name not in ("video", "label") and value}
        for record in sample.records
    ]
    return {"video": sample.part.video} | (actions[0] if len(actions) == 1 else {"actions": actions})


def _keep_what_fits(out: Path, plan: Mapping[str, str]) -> None:
    """Write the plan into ``out``, and remove what is there of another one."""
    file = out / PLAN
    for partial in out.glob(f"{PLAN}.*.partial"):  # of a run that was killed before it wrote anything else
        partial.unlink()
    if file.is_file():
        before = _read_plan(file)
        for name in before:
            if plan.get(name) != before[name]:
                (out / name).unlink(missing_ok=True)
        for partial in out.glob("*.partial"):  # of a run that was killed
            partial.unlink()
    elif others := sorted(os.listdir(out)):
        raise DataError(
            f"'{out}' holds '{others[0]}', which is not of shards that were written here. "
            "Give another folder with --out, or move it away."
        )
    write_text(file, json.dumps(plan, indent=1) + "\n")


def _read_plan(file: Path) -> dict[str, str]:
    try:
        before = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(
            f"'{file}' is not JSON ({error}). Remove '{file.parent}' to write all shards again."
        ) from error
    assert isinstance(before, dict), "nobody else writes it"
    return before


def _state(samples: Sequence[_Sample]) -> str:
    return hashlib.sha256("".join(sample.state for sample in samples).encode()).hexdigest()


def _write_shard(
    path: Path, samples: Sequence[_Sample], annotations: Annotations, advance: Callable[[int], object]
) -> None:
    """Write a tar file in one step."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with partial.open("wb") as file:
        for sample in samples:
            members = list(_members(sample, annotations))
            if _measure(sample, members) != sample:
                raise DataError(_changed(sample.source))
            for member in members:
                file.write(member.header)
                _copy(member, file)
                file.write(bytes(_padded(member.size) - member.size))
            advance(1)
        file.write(END)
    os.replace(partial, path)


def _copy(member: _Member, file: BinaryIO) -> None:
    if member.file is None:
        file.write(member.content or b"")
        return
    with member.file.open("rb") as source:
        before = file.tell()
        shutil.copyfileobj(source, file, CHUNK)
    if file.tell() - before != member.size:
        raise DataError(_changed(member.file))


def _finish(annotations: Annotations, out: Path, shards: Mapping[str, Sequence[_Sample]]) -> Annotations:
    """Write index, lists and dataset.json, by which the shards are a dataset."""
    places = {}
    for name, samples in shards.items():
        offset = 0
        for sample in samples:
            places[sample.part] = Place(name, offset, sample.size)
            offset += sample.size
    written = replace(
        annotations,
        root=out,
        frame_template=None,  # frames are named anew
        flow=None,
        shards=Shards(str(out), places),
    )
    write_text(out / INDEX, format_index(places))
    write_annotations(written, out)
    return written


def _padded(size: int) -> int:
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _changed(path: Path) -> str:
    return f"'{path}' changed while it was read. Let it be, and give the same command again."
