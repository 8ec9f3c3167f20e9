"""A video that was extracted to a folder of images, one a frame."""

import re
import string
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gateshift.data.frame_image import decode_rgb
from gateshift.errors import DataError, VideoError

FRAME_EXTENSIONS = frozenset((".bmp", ".jpeg", ".jpg", ".png", ".webp"))
NUMBERED = re.compile(r"^(.*?)(\d+)(\D*)$")  # the last number of a name counts the frames


class FrameNames(NamedTuple):
    """How the frames of a folder are named: ``template.format(first)`` and ``num_frames - 1`` more."""

    template: str
    first: int
    num_frames: int


class FrameFolder:
    """A folder of frames, numbered without a gap from 0, 1 or any other number.

    Args:
        path: the folder.
        frame_template: names of its frames, such as ``{:05d}.jpg``. Without it the names themselves tell.

    Raises:
        DataError: the template does not number frames.
        VideoError: the folder, or (from ``num_frames`` and ``read``) one of its frames cannot be read.
    """

    def __init__(self, path: str | Path, frame_template: str | None = None) -> None:
        self.path = Path(path)
        self.frame_template = frame_template
        if not self.path.is_dir():
            raise VideoError(
                f"there is no frame folder '{self.path}'. Give the path of an existing folder.",
                "missing-file",
            )
        if frame_template is not None:
            template_pattern(frame_template)  # refuses what cannot be filled in

    def __enter__(self) -> "FrameFolder":
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    @property
    def num_frames(self) -> int:
        """Frames that lie in the folder."""
        return self._names.num_frames

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return the frames at ``indices``, in that order and with repeats: uint8 (len(indices), H, W, 3)."""
        wanted = sorted(set(map(int, indices)))
        start = self._read_frame(wanted[0], self.file(wanted[0]))
        frames = np.empty((len(wanted), *start.shape), np.uint8)
        frames[0] = start
        for frame, i in zip(frames[1:], wanted[1:], strict=True):
            pixels = self._read_frame(i, self.file(i), frame)
            if pixels.shape != frame.shape:
                raise VideoError(
                    f"frame {i} of '{self.path}' has another size than those before it. "
                    "Extract the frames again.",
                    "frame-size",
                )
            if pixels is not frame:
                frame[...] = pixels
        return take(frames, np.searchsorted(wanted, indices))

    @cached_property
    def _names(self) -> FrameNames:
        return find_frame_names(self.path, self.frame_template)

    @cached_property
    def _start(self) -> tuple[str, int]:
        """Template and number of the first frame; a known template spares listing a long folder."""
        if self.frame_template is not None:
            for first in (0, 1):
                if (self.path / self.frame_template.format(first)).exists():
                    return self.frame_template, first
        return self._names.template, self._names.first

    def file(self, i: int) -> Path:
        """Return the image of frame ``i``, which may be missing."""
        template, first = self._start
        return self.path / template.format(first + i)

    def _read_frame(self, i: int, file: Path, into: np.ndarray | None = None) -> np.ndarray:
        try:
            return self._decode(self._load(file), file, into)
        except FileNotFoundError as error:
            raise VideoError(
                f"frame {i} of '{self.path}' is missing: '{file}'. "
                "Extract the video again, or correct the frame numbers in its list.",
                "missing-frame",
            ) from error
        except (OSError, ValueError) as error:
            raise VideoError(
                f"frame {i}, '{file}', cannot be read ({error}). Extract the video again.", "frame-file"
            ) from error

    def _load(self, file: Path) -> bytes:
        return file.read_bytes()

    def _decode(self, content: bytes, file: Path, into: np.ndarray | None) -> np.ndarray:
        return decode_rgb(content, into)


def take(frames: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return ``frames[places]``, without a copy where that is all of them in their order."""
    return frames if np.array_equal(places, np.arange(len(frames))) else frames[places]


def find_frame_names(folder: Path, frame_template: str | None = None) -> FrameNames:
    """Return how the frames of a folder are named, or refuse a gap in their numbers.

    Args:
        folder: the frames; other files beside them are ignored.
        frame_template: the names to look for. Without it all numbered images must follow one template.
    """
    names = [entry.name for entry in folder.iterdir() if is_frame(entry)]
    if frame_template is None:
        frame_template = find_template(folder, names)
    pattern = template_pattern(frame_template)
    numbers = sorted(int(match[1]) for name in names if (match := pattern.fullmatch(name)))
    if not numbers:
        raise VideoError(
            f"no file in '{folder}' is named like '{frame_template}'. "
            "Correct 'frame_template' in dataset.json.",
            "frame-names",
        )
    for number, following in zip(numbers, numbers[1:], strict=False):
        if following != number + 1:
            raise VideoError(
                f"frame '{frame_template.format(number + 1)}' of '{folder}' is missing: its frames go from "
                f"{numbers[0]} to {numbers[-1]}. Extract the video again, or leave it out.",
                "missing-frame",
            )
    return FrameNames(frame_template, numbers[0], len(numbers))


def find_template(folder: Path, names: Sequence[str]) -> str:
    """Return the one template that all numbered names follow, such as ``img_{:05d}.jpg``.

    The last number counts the frames, or one before it where that is the only one to change, as in
    ``img_00001_720p.jpg``.
    """
    numbered = [name for name in names if NUMBERED.match(name)]
    if not numbered:
        raise VideoError(
            f"'{folder}' has no numbered images. Give a folder of frames such as '00001.jpg'.", "frame-names"
        )
    templates = _templates(numbered, 0)
    places = min(len(re.findall(r"\d+", name)) for name in numbered)
    earlier = (_templates(numbered, place) for place in range(1, places)) if len(templates) > 1 else ()
    templates = next((found for found in earlier if len(found) == 1), templates)
    if len(templates) > 1:
        raise VideoError(
            f"the frames of '{folder}' follow {len(templates)} templates: {', '.join(templates[:4])}. "
            "Say which are the video with 'frame_template' in dataset.json.",
            "frame-names",
        )
    return templates[0]


def _templates(names: Sequence[str], place: int) -> list[str]:
    """Return the templates of names whose last number, or the one ``place`` before it, counts the frames."""
    digits: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in names:
        number = list(re.finditer(r"\d+", name))[-1 - place]
        digits[name[: number.start()], name[number.end() :]].append(number[0])
    templates = []
    for (before, after), numbers in sorted(digits.items()):
        width = min(map(len, numbers))
        field = f"{{:0{width}d}}" if width > 1 else "{:d}"
        templates.append(_escape(before) + field + _escape(after))
    return templates


def template_pattern(frame_template: str) -> re.Pattern[str]:
    """Return the expression that a template's names match, with the number as its group.

    >>> bool(template_pattern("img_{:05d}.jpg").fullmatch("img_00012.jpg"))
    True
    """
    try:
        parts = list(string.Formatter().parse(frame_template))
        frame_template.format(1)
    except (ValueError, IndexError, KeyError) as error:
        raise DataError(_template_help(frame_template)) from error
    if sum(field is not None for _, field, _, _ in parts) != 1:
        raise DataError(_template_help(frame_template))
    pieces = (re.escape(text) + (r"(\d+)" if field is not None else "") for text, field, _, _ in parts)
    return re.compile("".join(pieces))


def is_frame(path: Path) -> bool:
    """Tell whether a path names an image that may be a frame; hidden files are not."""
    return path.suffix.lower() in FRAME_EXTENSIONS and not path.name.startswith(".")


def _escape(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _template_help(frame_template: str) -> str:
    return (
        f"frame_template '{frame_template}' does not number the frames. "
        "Write one field, such as '{:05d}.jpg' for 00001.jpg."
    )
