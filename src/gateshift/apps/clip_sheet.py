"""Draw augmented clips: one column per frame, the frames as they were above what became of them."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gateshift.apps.shown_clips import ShownClip

INK, SOFT, PAPER = (22, 25, 29), (92, 101, 112), (255, 255, 255)
TEXT_WIDTH, GAP, MARGIN, HEAD, LINE = 300, 4, 16, 48, 18
WIDEST = 1.8  # columns, over their height


def draw_strip(clip: ShownClip) -> Image.Image:
    """Return both rows of a clip: its frames as they were, and below what the network is given."""
    num_frames, height, width = clip.before.shape[:3]
    cell = 112 if num_frames <= 8 else 84 if num_frames <= 12 else 64
    column = round(cell * min(max(width / height, 1.0), WIDEST))
    strip = Image.new("RGBA", (num_frames * (column + GAP) - GAP, 2 * cell + GAP))  # nothing between frames
    for row, frames in enumerate((clip.before, clip.after)):
        for i, frame in enumerate(frames):
            picture = fit(frame, column, cell)
            left = i * (column + GAP) + (column - picture.width) // 2
            strip.paste(picture, (left, row * (cell + GAP) + (cell - picture.height) // 2))
    return strip


def fit(frame: np.ndarray, width: int, height: int) -> Image.Image:
    """Return a frame (H, W, 3) as large as fits, in its proportions."""
    scale = min(width / frame.shape[1], height / frame.shape[0])
    size = max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale))
    return Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC)


def draw_sheet(clips: Sequence[ShownClip], title: str) -> Image.Image:
    """Return all clips below each other, with words at their left."""
    strips = [draw_strip(clip) for clip in clips]
    texts = [words_of(clip) for clip in clips]
    heights = [
        max(strip.height, LINE * len(text)) + 3 * GAP for strip, text in zip(strips, texts, strict=True)
    ]
    width = TEXT_WIDTH + max(strip.width for strip in strips) + 2 * MARGIN
    sheet = Image.new("RGB", (width, HEAD + sum(heights) + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, 12), title, INK, ImageFont.load_default(20))
    top = HEAD
    for strip, text, height in zip(strips, texts, heights, strict=True):
        for i, (line, ink) in enumerate(text):
            draw.text((MARGIN, top + i * LINE), line, ink, ImageFont.load_default(13))
        sheet.paste(strip, (MARGIN + TEXT_WIDTH, top), strip)
        top += height
    return sheet


def words_of(clip: ShownClip) -> list[tuple[str, tuple[int, int, int]]]:
    """Return the lines beside a clip, with their colours."""
    learnt = [] if clip.learnt_as == clip.class_name else [f"learnt as {clip.learnt_as}"]
    return [
        *((line, INK) for line in wrap(clip.class_name)),
        *((line, SOFT) for line in wrap(clip.video)),
        ("", SOFT),
        *((line, INK) for text in learnt for line in wrap(text)),
        *((line, SOFT) for text in clip.drawn for line in wrap(text)),
    ]


def wrap(text: str) -> list[str]:
    """Cut a text into lines that fit beside the strips, between words where it has some."""
    font = ImageFont.load_default(13)
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if not lines[-1] or font.getlength(longer) <= TEXT_WIDTH - MARGIN:
            lines[-1] = longer
        else:
            lines.append(word)
    return [piece for line in lines for piece in _cut(line, font)]


def _cut(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """Cut a line that is a single long word, such as a path."""
    pieces = [""]
    for letter in line:
        if font.getlength(pieces[-1] + letter) > TEXT_WIDTH - MARGIN:
            pieces.append("")
        pieces[-1] += letter
    return pieces
