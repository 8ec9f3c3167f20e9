"""Videos of shards as files, one at a time, for what looks at files."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from gateshift.data.check.fingerprint import Stamp
from gateshift.data.records import Part, Place, Shards
from gateshift.data.shards import read_sample


@dataclass(frozen=True)
class PackedVideo:
    """One video in shards: its file, or the frames of each of its actions.

    Attributes:
        video: path relative to the dataset's root.
        shards: the shards, with the places of this video only.
    """

    video: str
    shards: Shards

    @property
    def stamp(self) -> Stamp:
        """The bytes of its samples, and when a shard of them changed last: 0 of a URL, where nobody knows."""
        files = {Path(self.shards.location, place.shard) for place in self.shards.places.values()}
        changed = [file.stat().st_mtime_ns for file in files if file.is_file()]
        return Stamp(sum(place.size for place in self.shards.places.values()), max(changed, default=0))

    @contextmanager
    def unpacked(self) -> Iterator[Path]:
        """Write it to a file, or to a folder of frames that are numbered from 0, while the block runs.

        Raises:
            VideoError: its bytes cannot be read.
        """
        with TemporaryDirectory() as room:
            path = Path(room, PurePosixPath(self.video).name)
            number = 0
            for part in sorted(self.shards.places, key=lambda part: part.start_frame):
                sample = read_sample(self.shards, part)
                if sample.video:
                    path.write_bytes(sample.read(sample.video))
                    continue
                path.mkdir(exist_ok=True)
                for frame in sample.frames:
                    image = "".join(frame.extension.rpartition(".")[1:])
                    (path / f"{number:07d}{image}").write_bytes(sample.read(frame))
                    number += 1
            yield path


def packed_videos(shards: Shards) -> Mapping[str, PackedVideo]:
    """Return each video of shards, by its path."""
    together: dict[str, dict[Part, Place]] = {}
    for part, place in shards.places.items():
        together.setdefault(part.video, {})[part] = place
    return {video: PackedVideo(video, Shards(shards.location, places)) for video, places in together.items()}
