"""Draw gates over the frames they belong to: one row per plane, one column per frame.

Letters: T frames, H W pixels of a frame, h w of a gate plane.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

POSITIVE, NEGATIVE = np.array([255, 122, 0]), np.array([40, 110, 255])  # orange, blue
INK, SOFT, PAPER = (22, 25, 29), (92, 101, 112), (255, 255, 255)
LABEL_WIDTH, GAP, HEAD, MARGIN = 236, 4, 74, 14
FULL_COLOUR_FROM = (
    0.05  # a row whose gates all stay below this is drawn pale and not stretched to full colour
)


@dataclass(frozen=True)
class GateRow:
    """One gate plane over time: (T, h, w) in (-1, 1), and up to three lines that say what it is."""

    gates: np.ndarray
    label: tuple[str, ...]


def draw_gates(frames: np.ndarray, rows: Sequence[GateRow], title: str) -> Image.Image:
    """Return a contact sheet: the frames (T, H, W, 3) uint8, and below them each row of gates.

    Orange is a gate above 0 and blue one below; the colour is full at the largest gate of its row.
    """
    num_frames = len(frames)
    cell = 112 if num_frames <= 8 else 84 if num_frames <= 12 else 64
    width = LABEL_WIDTH + num_frames * (cell + GAP) + 2 * MARGIN
    sheet = Image.new("RGB", (width, HEAD + (len(rows) + 1) * (cell + GAP) + 2 * MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    _write_head(sheet, draw, title)
    pictures = [Image.fromarray(frame).resize((cell, cell), Image.Resampling.BICUBIC) for frame in frames]
    lines = ("what the network sees", f"{num_frames} frames, first to last")
    _draw_row(sheet, draw, HEAD + MARGIN, lines, pictures)
    for i, row in enumerate(rows, start=1):
        scale = max(float(np.abs(row.gates).max()), FULL_COLOUR_FROM)
        tinted = [tint(picture, plane / scale) for picture, plane in zip(pictures, row.gates, strict=True)]
        _draw_row(sheet, draw, HEAD + MARGIN + i * (cell + GAP), row.label, tinted)
    return sheet


def tint(picture: Image.Image, plane: np.ndarray) -> Image.Image:
    """Lay a plane (h, w) in -1..1 over a frame that is turned grey and pale."""
    grey = np.asarray(picture.convert("L"), dtype=np.float32)[..., None] * 0.45 + 140
    strength = np.asarray(
        Image.fromarray(plane.astype(np.float32)).resize(picture.size, Image.Resampling.BILINEAR)
    )[..., None]
    colour = np.where(strength > 0, POSITIVE, NEGATIVE)
    opacity = 0.9 * np.abs(strength).clip(0, 1)
    return Image.fromarray((grey + (colour - grey) * opacity).clip(0, 255).astype(np.uint8))


def write_text(
    sheet: Image.Image,
    place: tuple[int, int],
    text: str,
    ink: tuple[int, int, int],
    width: int,
    size: int = 13,
) -> None:
    """Write one line, cut short where it would be wider than ``width`` pixels."""
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    while draw.textlength(text, font) > width and len(text) > 1:
        text = text[:-2].rstrip() + "…"
    draw.text(place, text, ink, font)


def _draw_row(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, top: int, label: Sequence[str], pictures: list[Image.Image]
) -> None:
    cell = pictures[0].height
    for i, line in enumerate(label):
        size, ink = (15, INK) if i == 0 else (13, SOFT)
        draw.text((MARGIN, top + cell // 2 - 28 + 19 * i), line, ink, ImageFont.load_default(size))
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (MARGIN + LABEL_WIDTH + i * (cell + GAP), top))


def _write_head(sheet: Image.Image, draw: ImageDraw.ImageDraw, title: str) -> None:
    """Write the title and the legend of colours."""
    draw.text((MARGIN, 12), title, INK, ImageFont.load_default(20))
    level = np.linspace(-1, 1, 160, dtype=np.float32)[None].repeat(14, axis=0)
    white = Image.new("RGB", (160, 14), PAPER)
    x, y = MARGIN, 50
    font = ImageFont.load_default(13)
    for text, picture in (
        ("gate below 0", None),
        ("", tint(white, level)),
        ("above 0: the features there move to the neighbouring frame; grey: they stay", None),
    ):
        if picture is not None:
            sheet.paste(picture, (x, y + 2))
            x += picture.width + 8
        draw.text((x, y), text, SOFT, font)
        x += int(draw.textlength(text, font)) + (8 if text else 0)
