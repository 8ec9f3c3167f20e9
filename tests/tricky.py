"""The files of tricky_videos, each with what PROBE.txt says of it."""

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from conftest import SHARED


@dataclass(frozen=True)
class Probed:
    """One line of PROBE.txt; a file that does not open has no container."""

    path: Path
    container: str = ""
    codec: str = ""
    size: tuple[int, int] | None = None
    pixel_format: str | None = None
    rate: Fraction | None = None
    declared: int = 0
    decoded: int = 0
    variable_rate: bool = False
    has_audio: bool = False
    fails: bool = True

    @property
    def num_pixels(self) -> int:
        """Pixels of all its frames together."""
        return self.decoded * math.prod(self.size or (0, 0))

    def __str__(self) -> str:
        return self.path.name.rpartition("__")[2]


def tricky_videos() -> list[Probed]:
    """Return all of them; none where the folder is not beside this checkout."""
    folder = SHARED / "data/tricky_videos"
    probe = folder / "PROBE.txt"
    return [_probed(folder, line) for line in probe.read_text().splitlines()] if probe.exists() else []


def _probed(folder: Path, line: str) -> Probed:
    words = line.replace("(", "").replace(")", "").replace(", ", "x").split(" ")
    path = folder / words[0]
    if "declared" not in words:
        return Probed(path)
    size, pixel_format, rate = words[4], words[5], words[words.index("fps") + 1]
    return Probed(
        path,
        container=words[2],
        codec=words[3],
        size=None if size == "None" else tuple(map(int, size.split("x")))[:2],  # type: ignore[arg-type]
        pixel_format=None if pixel_format == "None" else pixel_format,
        rate=None if rate == "None" else Fraction(rate),
        declared=int(words[words.index("declared") + 1]),
        decoded=int(words[words.index("decoded") + 1]),
        variable_rate="vfr" in words,
        has_audio="audio" in words,
        fails="Error:" in line or words[words.index("decoded") + 1] == "0",
    )
