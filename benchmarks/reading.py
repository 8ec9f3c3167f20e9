"""How fast clips are read: JPEG frames beside the released code's route, videos beside bare PyAV, workers.

    python benchmarks/reading.py                     # draws its own videos and frames
    python benchmarks/reading.py --videos DIR        # reads these videos, and makes the frames from them

Both routes of a comparison read the same files in one run, in turns; each figure is the median of the rounds,
and each ratio the median of the ratios of a round. A table goes to stderr, JSON to stdout.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import av
import numpy as np
import torch
from material import as_dataset, draw_videos, find_videos, write_frames
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gateshift.apps.measuring.plain_clips import PlainClips
from gateshift.data.dataset import TrainClips
from gateshift.data.reader import VideoFile
from gateshift.data.records import Annotations
from gateshift.data.sampling import segment_centres
from gateshift.data.transforms import normalize, train_transform
from gateshift.spec import InputSpec

SPEC = InputSpec(size=224, resize=256, mean=(104, 117, 128), std=(1, 1, 1), scale=255, channels="bgr")
NUM_SEGMENTS = 8
BATCH = 8
SIZES = ((176, 100), (320, 240), (427, 240), (340, 256), (455, 256))
QUALITIES = ((95, "4:4:4"), (95, "4:2:0"), (75, "4:2:0"))
WORKERS = (0, 1, 2)
PASSES = 10  # over the clips, so that the start of workers weighs little
Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> Row:
    """Run what the arguments ask for; return what is printed."""
    options = parse(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as room:
        folder = Path(room)
        videos = find_videos(options.videos, options.clips) if options.videos else []
        if options.videos and not videos:
            sys.exit(f"there is no readable video of 32 frames or more in '{options.videos}'.")
        videos = videos or draw_videos(folder / "videos", options.clips)
        answer = {
            "machine": machine(options),
            "frames": list(compare_frames(videos, folder, options)),
            "videos": [
                compare_videos(videos, options, "8 frames of each", NUM_SEGMENTS),
                compare_videos(videos, options, "every frame", None),
            ],
            "workers": compare_workers(videos, folder, options),
        }
        answer["machine"]["load_after"] = os.getloadavg()[0]
    show(answer)
    return answer


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--videos", type=Path, help="folder of videos, at any depth; drawn without it")
    parser.add_argument("--frames", type=Path, help="folder of folders of JPEG frames 00001.jpg and on")
    parser.add_argument("--clips", type=int, default=24, help="videos that are read")
    parser.add_argument("--rounds", type=int, default=7, help="times that each route reads all of them")
    parser.add_argument("--device", default="cpu", help="where clips are normalised, in gateshift's route")
    return parser.parse_args(arguments)


def machine(options: argparse.Namespace) -> Row:
    """Return what the figures depend on."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "device": torch.cuda.get_device_name() if options.device == "cuda" else options.device,
        "torch": torch.__version__,
        "av": av.__version__,
    }


def in_turns(routes: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each route in each round; the first round, which warms up, is left out."""
    seconds: dict[str, list[float]] = {name: [] for name in routes}
    for _ in range(rounds + 1):
        for name, route in routes.items():
            started = time.perf_counter()
            route()
            seconds[name].append(time.perf_counter() - started)
    return {name: times[1:] for name, times in seconds.items()}


def ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """Return how many times longer one route took, the median over the rounds."""
    return median(one / other for one, other in zip(slow, fast, strict=True))


def train_clips(annotations: Annotations) -> TrainClips:
    """Return the clips as training draws them."""
    return TrainClips(annotations, "train", NUM_SEGMENTS, train_transform(SPEC, {}), seed=0)


def load_all(clips: Dataset[Any], workers: int = 0) -> None:
    """Read all clips in batches, as far as the workers of a loader go."""
    for _ in DataLoader(clips, batch_size=BATCH, num_workers=workers):
        pass


def normalize_all(clips: Dataset[Any], device: str, finish: Callable[[Tensor], object]) -> None:
    """Read clip after clip, bring each to the device, and ``finish`` it there."""
    for index in range(len(clips)):  # type: ignore[arg-type]
        finish(clips[index][0].to(device))
    if device == "cuda":
        torch.cuda.synchronize()


def compare_frames(videos: list[Path], room: Path, options: argparse.Namespace) -> list[Row]:
    """Compare the routes from JPEG frames to normalised clips."""
    if options.frames:
        names = sorted(path.name for path in options.frames.iterdir() if path.is_dir())[: options.clips]
        shortest = min(len(list((options.frames / name).glob("*.jpg"))) for name in names)
        given = as_dataset(options.frames, names, "{:05d}.jpg", shortest)
        return [compare_routes(given, options) | {"size": "as they are", "quality": "as they are"}]
    rows = []
    for size in SIZES:
        for quality, subsampling in QUALITIES:
            folder = room / f"{size[0]}x{size[1]}-{quality}-{subsampling.replace(':', '')}"
            row = compare_routes(write_frames(videos, folder, size, quality, subsampling), options)
            rows.append(row | {"size": f"{size[0]} x {size[1]}", "quality": f"{quality}, {subsampling}"})
    return rows


def compare_routes(annotations: Annotations, options: argparse.Namespace) -> Row:
    """Compare the plain route and ours on one set of frames, after a look at whether they agree."""
    ours = train_clips(annotations)
    plain = PlainClips(ours, SPEC)
    there = plain[0][0].unflatten(0, (NUM_SEGMENTS, 3))
    difference = (normalize(ours[0][0], SPEC)[0] - there).abs().mean().item()
    if difference > 1:
        raise RuntimeError(
            f"the routes do not read the same clip: they differ by {difference:.1f} grey levels"
        )
    device = options.device
    seconds = in_turns(
        {
            "plain": lambda: normalize_all(plain, device, lambda clip: clip),
            "ours": lambda: normalize_all(ours, device, lambda clip: normalize(clip, SPEC)),
            "plain_loader": lambda: load_all(plain),
            "ours_loader": lambda: load_all(ours),
        },
        options.rounds,
    )
    return {
        **{f"{name}_ms": 1000 * median(times) / len(ours) for name, times in seconds.items()},
        "ratio": ratio(seconds["plain"], seconds["ours"]),
        "ratio_loader": ratio(seconds["plain_loader"], seconds["ours_loader"]),
        "difference": difference,
    }


def compare_videos(videos: list[Path], options: argparse.Namespace, what: str, count: int | None) -> Row:
    """Compare bare PyAV with ``VideoFile`` on ``count`` frames of each video, the centres of its segments."""
    pairs = []
    for path in videos:
        num_frames = VideoFile(path).num_frames
        pairs.append((path, segment_centres(num_frames, count or num_frames)))
    reshaped = 0
    for path, indices in pairs:
        bare, ours = read_bare(path, indices), read_video(path, indices)
        reshaped += bare.shape != ours.shape  # turned, or made square of pixels, which bare PyAV does not
        if bare.shape == ours.shape and not np.array_equal(bare, ours):
            raise RuntimeError(f"the routes do not read the same frames of '{path}'")
    seconds = in_turns(
        {
            "bare": lambda: [read_bare(path, indices) for path, indices in pairs],
            "ours": lambda: [read_video(path, indices) for path, indices in pairs],
        },
        options.rounds,
    )
    return {
        "what": what,
        "bare_ms": 1000 * median(seconds["bare"]) / len(videos),
        "ours_ms": 1000 * median(seconds["ours"]) / len(videos),
        "share_of_bare": ratio(seconds["bare"], seconds["ours"]),
        "videos": len(videos),
        "reshaped": reshaped,
    }


def read_bare(path: Path, indices: np.ndarray) -> np.ndarray:
    """Decode up to the last wanted frame on one thread; convert those that are wanted."""
    wanted = set(indices.tolist())
    frames = {}
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for i, frame in enumerate(container.decode(video=0)):
            if i in wanted:
                frames[i] = frame.to_ndarray(format="rgb24")
                if len(frames) == len(wanted):
                    break
    return np.stack([frames[i] for i in indices.tolist()])


def read_video(path: Path, indices: np.ndarray) -> np.ndarray:
    """Read the same frames as training does: the number of frames comes first."""
    with VideoFile(path) as video:
        if video.num_frames <= indices.max():
            raise RuntimeError(f"'{path}' has changed")
        return video.read(indices)


def compare_workers(videos: list[Path], room: Path, options: argparse.Namespace) -> list[Row]:
    """Compare numbers of workers."""
    frames = write_frames(videos, room / "workers", (340, 256), 95, "4:4:4")
    root = Path(os.path.commonpath([path.parent for path in videos]))
    files = as_dataset(root, [str(path.relative_to(root)) for path in videos], None, None)
    rows = []
    for what, annotations in (("frames 340 x 256", frames), ("videos", files)):
        many = torch.utils.data.ConcatDataset([train_clips(annotations)] * PASSES)
        seconds = in_turns(
            {str(workers): lambda workers=workers, many=many: load_all(many, workers) for workers in WORKERS},
            max(1, options.rounds // 2),
        )
        rows.append(
            {"what": what}
            | {f"clips_per_second_{name}": len(many) / median(times) for name, times in seconds.items()}
            | {f"gain_{name}": ratio(seconds["0"], times) for name, times in seconds.items()}
        )
    return rows


def show(answer: Row) -> None:
    """Print the table to stderr and the JSON to stdout."""
    lines = [
        f"{'JPEG frames, ms a clip':<32} {'normalised, on ' + answer['machine']['device']:>25} "
        f"{'in batches, in a loader':>28}",
        f"{'':<32} {'plain':>11} {'ours':>6} {'ratio':>6} {'plain':>14} {'ours':>6} {'ratio':>6}",
    ]
    for row in answer["frames"]:
        what = f"{row['size']}, quality {row['quality']}"
        clip = f"{row['plain_ms']:11.2f} {row['ours_ms']:6.2f} {row['ratio']:6.2f}"
        batch = f"{row['plain_loader_ms']:14.2f} {row['ours_loader_ms']:6.2f} {row['ratio_loader']:6.2f}"
        lines.append(f"  {what:<30} {clip} {batch}")
    lines += [
        "videos, ms each                                      bare   ours   speed of bare PyAV",
        *(
            f"  {row['what']:<46} {row['bare_ms']:8.2f} {row['ours_ms']:6.2f} {row['share_of_bare']:8.1%}"
            for row in answer["videos"]
        ),
        f"workers, clips/s{'':<33} {' '.join(f'{workers:6}' for workers in WORKERS)}   most over none",
    ]
    for row in answer["workers"]:
        speeds = " ".join(f"{row[f'clips_per_second_{workers}']:6.0f}" for workers in WORKERS)
        lines.append(f"  {row['what']:<47} {speeds} {row[f'gain_{WORKERS[-1]}']:8.2f}")
    print("\n".join(lines), file=sys.stderr)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
