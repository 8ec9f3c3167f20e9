"""Draw the embedded dataset: small scenes in which only the order of the frames tells the class.

Six motions, each with its exact time reversal as a class of its own. A thing is a radius per angle, so
that any shape is painted by one lookup; it wears a cap of a second colour, so that its orientation shows.
Lengths are in frame widths, x to the right, y down, and so angles grow clockwise as seen on the screen.

Letters: F frames, S side of a frame in pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gateshift.errors import lookup

PAIRS: tuple[tuple[str, str], ...] = (
    ("pushing something from left to right", "pushing something from right to left"),
    ("lifting something up", "lowering something down"),
    ("approaching the camera with something", "moving something away from the camera"),
    ("rotating something clockwise", "rotating something counter-clockwise"),
    ("something appearing from behind something", "something vanishing behind something"),
    (
        "putting something similar to other things that are already there",
        "taking one of many similar things away",
    ),
)
CLASSES: tuple[str, ...] = tuple(sorted(name for pair in PAIRS for name in pair))
LABEL_SWAPS: tuple[tuple[str, str], ...] = (PAIRS[0], PAIRS[3])  # what a mirror exchanges

ANGLES = np.linspace(-np.pi, np.pi, 720, endpoint=False)
MARGIN = 0.06  # the background is drawn larger than a frame by this, for the camera's shake


def _regular(corners: int) -> np.ndarray:
    sector = np.pi / corners
    return np.cos(sector) / np.cos((ANGLES + np.pi) % (2 * sector) - sector)


def _bar(length: float, width: float) -> np.ndarray:
    return np.minimum(
        length / np.maximum(np.abs(np.cos(ANGLES)), 1e-6), width / np.maximum(np.abs(np.sin(ANGLES)), 1e-6)
    )


def _star(points: int, inner: float) -> np.ndarray:
    return inner + (1 - inner) * np.abs((ANGLES * points / np.pi) % 2 - 1)


# name -> radius at each of ANGLES; the widest reaches about 1
TRAIN_SHAPES: dict[str, np.ndarray] = {
    "disc": np.full(ANGLES.shape, 0.9),
    "triangle": _regular(3),
    "square": _regular(4),
    "hexagon": _regular(6),
    "bar": _bar(1.0, 0.5),
    "cross": np.maximum(_bar(1.0, 0.4), _bar(0.4, 1.0)),
    "star": _star(5, 0.5),
    "flower": 0.8 + 0.2 * np.cos(4 * ANGLES),
    "drop": 0.6 + 0.4 * np.maximum(np.cos(ANGLES), 0) ** 3,
}
TEST_SHAPES: dict[str, np.ndarray] = {
    "pentagon": _regular(5),
    "egg": 0.8 + 0.2 * np.cos(ANGLES),
    "heart": 0.45 + 0.55 * np.abs(np.cos(ANGLES / 2)) ** 0.5,
    "gear": 0.85 + 0.13 * np.sign(np.cos(8 * ANGLES)),
    "clover": 0.75 + 0.25 * np.cos(3 * ANGLES),
    "plank": _bar(1.0, 0.65),
}


def _ramp(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return 0.5 + 0.5 * x


def _stripes(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return 0.5 + 0.5 * np.sin(rng.uniform(8, 25) * x + rng.uniform(0, 6))


def _planks(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    boards = np.floor(x * rng.uniform(2, 5) + 20).astype(int)
    return rng.uniform(0, 1, 64)[boards]


def _clouds(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    waves = rng.normal(0, 6, (6, 3))
    return 0.5 + sum(np.sin(a * x + b * y + c) for a, b, c in waves) / 8


def _weave(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    across, down = rng.uniform(6, 20, 2)
    return 0.5 + 0.25 * (np.sin(across * x) + np.sin(down * y))


def _rings(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    centre = rng.uniform(-0.6, 0.6, 2)
    return 0.5 + 0.5 * np.sin(rng.uniform(10, 25) * np.hypot(x - centre[0], y - centre[1]))


def _checks(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    count = rng.uniform(2, 5)
    return (np.floor(x * count) + np.floor(y * count)) % 2


def _rays(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    centre = rng.uniform(-0.6, 0.6, 2)
    return 0.5 + 0.5 * np.sin(rng.integers(6, 14) * np.arctan2(y - centre[1], x - centre[0]))


Field = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]
TRAIN_BACKGROUNDS: tuple[Field, ...] = (_ramp, _stripes, _planks, _clouds, _weave)
TEST_BACKGROUNDS: tuple[Field, ...] = (_rings, _checks, _rays)


@dataclass(frozen=True, kw_only=True)
class Thing:
    """What is painted: a shape (radius per angle), its colour and its cap's, RGB 0-255."""

    shape: np.ndarray
    colour: np.ndarray
    cap: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Track:
    """Where a thing is in each frame: centre (F, 2), radius (F,) in frame widths, angle (F,) in radians."""

    centre: np.ndarray
    radius: np.ndarray
    angle: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The still part of a scene and the track of the one thing that moves."""

    track: Track
    beside: tuple[tuple[float, float, float], ...] = ()  # x, y, radius of things like the moving one
    cover: tuple[float, float, float] | None = None  # x, y, radius of what hides the moving thing


def render(
    class_name: str, rng: np.random.Generator, *, size: int = 96, num_frames: int = 24, unseen: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one video of a class; the partner class from an equal ``rng`` is the same frames in reverse.

    Args:
        class_name: one of CLASSES.
        rng: decides everything else.
        size: side of the square frames in pixels.
        num_frames: length of the video.
        unseen: draw from the shapes and backgrounds kept for the test split.

    Returns:
        Frames (F, S, S, 3) uint8, and masks (F, S, S) bool of the visible part of the moving thing.
    """
    motion, reverse = lookup("class", class_name, _DIRECTIONS)
    frames, masks = _draw(motion(rng, num_frames), rng, size, unseen)
    return (frames[::-1], masks[::-1]) if reverse else (frames, masks)


def _draw(stage: Stage, rng: np.random.Generator, size: int, unseen: bool) -> tuple[np.ndarray, np.ndarray]:
    shapes = list((TEST_SHAPES if unseen else TRAIN_SHAPES).values())
    backgrounds = TEST_BACKGROUNDS if unseen else TRAIN_BACKGROUNDS
    scene, ground = _background(backgrounds[rng.integers(len(backgrounds))], rng, size)
    mover = _thing(shapes, rng, avoid=ground)
    for _ in range(rng.integers(0, 3)):  # clutter
        spot = rng.uniform(0, 1, 2)
        _paint(
            scene,
            _thing(shapes, rng, avoid=[*ground, mover.colour]),
            spot,
            rng.uniform(0.03, 0.06),
            0.0,
            size,
            MARGIN,
        )
    for x, y, radius in stage.beside:
        _paint(scene, mover, np.array([x, y]), radius, rng.uniform(-np.pi, np.pi), size, MARGIN)
    cover = _thing([_bar(0.95, 0.95)], rng, avoid=[*ground, mover.colour, mover.cap])

    num_frames = len(stage.track.radius)
    shake = _shake(num_frames, rng)
    frames = np.empty((num_frames, size, size, 3), dtype=np.uint8)
    masks = np.empty((num_frames, size, size), dtype=bool)
    track = stage.track
    for i, offset in enumerate(np.round(shake * size).astype(int)):
        top, left = int(MARGIN * size) + offset[1], int(MARGIN * size) + offset[0]
        frame = scene[top : top + size, left : left + size].copy()
        seen = _paint(frame, mover, track.centre[i] - offset / size, track.radius[i], track.angle[i], size)
        if stage.cover is not None:
            x, y, radius = stage.cover
            seen *= 1 - _paint(frame, cover, np.array([x, y]) - offset / size, radius, 0.0, size)
        frames[i] = frame + 0.5
        masks[i] = seen > 0.5
    return frames, masks


def _paint(
    canvas: np.ndarray,
    thing: Thing,
    centre: np.ndarray,
    radius: float,
    angle: float,
    size: int,
    margin: float = 0.0,
) -> np.ndarray:
    """Blend a thing into a canvas (h, w, 3) in place; return its coverage (h, w) in 0..1."""
    coverage = np.zeros(canvas.shape[:2], dtype=np.float32)
    pixels = radius * size
    x, y = (centre + margin) * size
    rows = slice(max(0, int(y - pixels) - 2), max(0, int(y + pixels) + 3))
    columns = slice(max(0, int(x - pixels) - 2), max(0, int(x + pixels) + 3))
    box = canvas[rows, columns]
    if box.size == 0:
        return coverage
    dy = (np.arange(rows.start, rows.start + box.shape[0]) + 0.5 - y)[:, None]
    dx = (np.arange(columns.start, columns.start + box.shape[1]) + 0.5 - x)[None, :]
    direction = np.arctan2(dy, dx) - angle
    edge = thing.shape[np.floor((direction / (2 * np.pi) + 0.5) * len(ANGLES)).astype(int) % len(ANGLES)]
    distance = np.hypot(dx, dy)
    inside = np.clip(edge * pixels - distance + 0.5, 0, 1)
    capped = np.clip(distance * np.cos(direction) - 0.25 * pixels + 0.5, 0, 1)[..., None]
    colour = thing.colour + (thing.cap - thing.colour) * capped
    box += (colour - box) * inside[..., None]
    coverage[rows, columns] = inside
    return coverage


def _background(field: Field, rng: np.random.Generator, size: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return a canvas (S + margins, ..., 3) and the two colours it is made of."""
    side = size + 2 * int(MARGIN * size)
    axis = np.linspace(-1, 1, side)
    turn = rng.uniform(0, 2 * np.pi)
    x = np.cos(turn) * axis[None, :] - np.sin(turn) * axis[:, None]
    y = np.sin(turn) * axis[None, :] + np.cos(turn) * axis[:, None]
    first = rng.uniform(30, 225, 3)
    second = np.clip(first + rng.uniform(-45, 45, 3), 0, 255)
    level = np.clip(field(x, y, rng), 0, 1)[..., None]
    return first + (second - first) * level, [first, second]


def _thing(shapes: list[np.ndarray], rng: np.random.Generator, avoid: list[np.ndarray]) -> Thing:
    colour = _far_colour(rng, avoid)
    return Thing(
        shape=shapes[rng.integers(len(shapes))], colour=colour, cap=_far_colour(rng, [*avoid, colour])
    )


def _far_colour(rng: np.random.Generator, avoid: list[np.ndarray]) -> np.ndarray:
    """Of 12 random colours, the one whose nearest in ``avoid`` is farthest."""
    colours = rng.uniform(0, 255, (12, 3))
    nearest = np.min([np.abs(colours - other).sum(axis=1) for other in avoid], axis=0)
    return colours[nearest.argmax()]


def _shake(num_frames: int, rng: np.random.Generator) -> np.ndarray:
    """Return the camera's offset (F, 2): a slow sway of at most 2% of the frame."""
    time = np.linspace(0, 2 * np.pi, num_frames)[:, None]
    speed, phase = rng.uniform(0.5, 3, (2, 2)), rng.uniform(0, 2 * np.pi, (2, 2))
    return rng.uniform(0, 0.01) * sum(np.sin(s * time + p) for s, p in zip(speed, phase, strict=True))


def _progress(num_frames: int, rng: np.random.Generator) -> np.ndarray:
    """Return 0..1 over the video (F,): never still, with a varying speed."""
    time = np.linspace(0, 1, num_frames)
    return time + rng.uniform(-0.5, 0.5) * np.sin(2 * np.pi * time) / (2 * np.pi)


def _slide(
    start: np.ndarray, end: np.ndarray, radius: float, num_frames: int, rng: np.random.Generator
) -> Track:
    way = _progress(num_frames, rng)[:, None]
    angle = rng.uniform(-np.pi, np.pi)
    return Track(
        centre=start + (end - start) * way,
        radius=np.full(num_frames, radius),
        angle=np.full(num_frames, angle),
    )


def _push(rng: np.random.Generator, num_frames: int) -> Stage:
    reach, middle = rng.uniform(0.26, 0.38), rng.uniform(0.45, 0.55)
    y, slant = rng.uniform(0.25, 0.75), rng.uniform(-0.06, 0.06)
    start, end = np.array([middle - reach, y - slant]), np.array([middle + reach, y + slant])
    return Stage(track=_slide(start, end, rng.uniform(0.11, 0.18), num_frames, rng))


def _lift(rng: np.random.Generator, num_frames: int) -> Stage:
    reach, middle = rng.uniform(0.26, 0.38), rng.uniform(0.45, 0.55)
    x, slant = rng.uniform(0.25, 0.75), rng.uniform(-0.06, 0.06)
    start, end = np.array([x - slant, middle + reach]), np.array([x + slant, middle - reach])
    return Stage(track=_slide(start, end, rng.uniform(0.11, 0.18), num_frames, rng))


def _approach(rng: np.random.Generator, num_frames: int) -> Stage:
    far, near = rng.uniform(0.06, 0.1), rng.uniform(0.24, 0.36)
    start, end = rng.uniform(0.35, 0.65, (2, 2))
    track = _slide(start, (start + end) / 2, far, num_frames, rng)
    return Stage(
        track=Track(
            centre=track.centre, radius=far * (near / far) ** _progress(num_frames, rng), angle=track.angle
        )
    )


def _rotate(rng: np.random.Generator, num_frames: int) -> Stage:
    """Turn a thing about a point near its rim, so that half-way through it stands about on top of it."""
    pivot, arm = np.array([0.5, 0.58]) + rng.uniform(-0.04, 0.04, 2), rng.uniform(0.12, 0.18)
    turn, middle = rng.uniform(0.7, 1.2) * np.pi, -np.pi / 2 + rng.uniform(-0.5, 0.5)
    angle = middle + turn * (_progress(num_frames, rng) - 0.5)
    centre = pivot + arm * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    radius = np.full(num_frames, rng.uniform(0.2, 0.26))
    return Stage(track=Track(centre=centre, radius=radius, angle=angle))


def _appear(rng: np.random.Generator, num_frames: int) -> Stage:
    radius, cover = rng.uniform(0.1, 0.15), rng.uniform(0.18, 0.24)
    direction = rng.integers(4) * np.pi / 2
    way = np.array([np.cos(direction), np.sin(direction)])
    middle = 0.5 - 0.2 * way + rng.uniform(-0.06, 0.06, 2)
    start = middle + way * max(0.0, cover - radius - 0.02)
    end = middle + way * (cover + radius + rng.uniform(0.04, 0.16))
    return Stage(track=_slide(start, end, radius, num_frames, rng), cover=(*middle, cover))


def _put(rng: np.random.Generator, num_frames: int) -> Stage:
    radius = rng.uniform(0.1, 0.13)
    slots = rng.uniform(0, 2 * np.pi) + np.arange(5) * 2 * np.pi / 5
    ring = np.stack([np.cos(slots), np.sin(slots)], axis=1)
    middle = 0.5 - 0.12 * ring[0] + rng.uniform(-0.03, 0.03, 2)
    places = middle + 0.24 * ring
    others = rng.permutation(np.arange(1, 5))[: rng.integers(3, 5)]
    outside = 0.5 + ring[0] * (0.46 + radius) / np.abs(ring[0]).max()
    beside = tuple((*places[i], radius * rng.uniform(0.9, 1.1)) for i in others)
    return Stage(track=_slide(outside, places[0], radius, num_frames, rng), beside=beside)


Motion = Callable[[np.random.Generator, int], Stage]
_MOTIONS: tuple[Motion, ...] = (_push, _lift, _approach, _rotate, _appear, _put)
_DIRECTIONS: dict[str, tuple[Motion, bool]] = {
    name: (motion, reverse)
    for pair, motion in zip(PAIRS, _MOTIONS, strict=True)
    for name, reverse in zip(pair, (False, True), strict=True)
}
