"""Whether training would wait for its videos: what one process reads of them, and what a training step takes.

measure_reading (some training clips, in a process of its own) ---+
measure_training (forward, backward and step, on the device) -----+--> advise -> workers, proxy, a sentence
"""

import math
import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from gateshift.data.augment import parse_augment
from gateshift.data.dataset import TrainClips
from gateshift.data.records import Annotations, VideoRecord
from gateshift.data.transforms import train_transform
from gateshift.data.worker_pool import run_tasks
from gateshift.engine.config import TrainConfig
from gateshift.engine.learner import build_learner, forward_backward, set_train_mode, step_optimizer
from gateshift.engine.run import Run
from gateshift.engine.waiting import available_cores
from gateshift.errors import VideoError
from gateshift.spec import InputSpec

SECONDS = 4.0  # of each measurement, where the videos and the network are quick enough
FEWEST_CLIPS, MOST_CLIPS = 3, 400
FEWEST_STEPS, MOST_STEPS = 3, 30
PATIENCE = 120.0  # seconds after which reading counts as hanging
RESERVE = 1.2  # workers for this much more than is needed: videos are not alike
PROXIES = (128, 160, 192, 224, 256, 320, 384, 512, 720)  # short sides to choose from


@dataclass(frozen=True)
class Reading:
    """What some training clips took one process.

    Attributes:
        clips: how many were read.
        reading: seconds a clip for its frames.
        changing: seconds a clip for crops, sizes and augmentation.
        short_side: pixels on the short side of the frames, of the middle one of these videos.
    """

    clips: int
    reading: float
    changing: float
    short_side: int

    @property
    def seconds(self) -> float:
        """Seconds a clip."""
        return self.reading + self.changing

    def with_proxy(self, proxy: int) -> "Reading":
        """Return what is to be expected of copies with ``proxy`` pixels: decoding goes with the pixels."""
        return replace(self, reading=self.reading * (proxy / self.short_side) ** 2, short_side=proxy)


@dataclass(frozen=True)
class Advice:
    """How training gets its videos in time.

    Attributes:
        workers: processes to read with.
        proxy: short side of the copies to make first; None where none are needed, or would help.
        waiting: share of its time that training would wait with every core reading.
        waiting_then: the same after this advice.
    """

    workers: int
    proxy: int | None
    waiting: float
    waiting_then: float


def measure_speed(
    annotations: Annotations,
    records: Sequence[VideoRecord],
    config: TrainConfig,
    spec: InputSpec,
    device: torch.device,
    data: str,
    *,
    in_process: bool = False,
) -> dict[str, Any]:
    """Return both rates and the advice, as plain values; ``advice`` is one sentence.

    Args:
        annotations: the dataset.
        records: training videos that can be read.
        config: how they would be trained on.
        spec: what the config's network wants to see.
        device: where it would be trained.
        data: the dataset, as the advice names it.
        in_process: read in this process, where nothing catches its death.
    """
    facts = {
        "model": config.model,
        "device": str(device),
        "batch_size": config.batch_size,
        "cores": available_cores(),
        "read_clips_per_second": None,
        "needed_clips_per_second": None,
        "short_side": None,
        "workers": None,
        "proxy": None,
        "waiting": None,
    }
    reading = measure_reading(annotations, records, config, spec, in_process=in_process)
    if reading is None:
        said = "How fast these videos can be read was not measured: none of those that were tried can be."
        return facts | {"advice": said}
    facts |= {"read_clips_per_second": 1 / reading.seconds, "short_side": reading.short_side}
    needed = measure_training(annotations, config, device)
    if needed is None:
        said = f"A batch of {config.batch_size} does not fit into the memory of {device}: lower --batch-size."
        return facts | {"advice": said}
    advice = advise(reading, needed, available_cores(), spec)
    return facts | {
        "needed_clips_per_second": needed,
        "workers": advice.workers,
        "proxy": advice.proxy,
        "waiting": advice.waiting,
        "advice": sentence(reading, needed, available_cores(), config.model, str(device), data, advice),
    }


def measure_reading(
    annotations: Annotations,
    records: Sequence[VideoRecord],
    config: TrainConfig,
    spec: InputSpec,
    *,
    in_process: bool = False,
) -> Reading | None:
    """Read some of the records as training does, in one process; None where none could be read."""
    order = np.random.default_rng(config.seed).permutation(len(records))[:MOST_CLIPS]
    chosen = replace(annotations, splits={"train": tuple(records[i] for i in order)})
    task = _ReadClips(chosen, config, spec)
    with closing(run_tasks([task], 0 if in_process else 1, _lost, most_seconds=PATIENCE)) as answers:
        return next(answers)


@dataclass(frozen=True)
class _ReadClips:
    """Reading of training clips for a few seconds."""

    annotations: Annotations
    config: TrainConfig
    spec: InputSpec

    def run(self, stopped: Callable[[], bool]) -> Reading | None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # as in the workers of training
        try:
            return self._read(stopped)
        finally:
            torch.set_num_threads(threads)

    def _read(self, stopped: Callable[[], bool]) -> Reading | None:
        config, augment = self.config, parse_augment(self.config.augment)
        transform = train_transform(
            self.spec, self.annotations.swap_indices, flip=config.flip, augment=augment
        )
        clips = TrainClips(self.annotations, "train", config.num_segments, transform, config.seed)
        times: list[tuple[float, float, int]] = []
        since = time.monotonic()
        for index in (*range(len(clips)), *range(len(clips))):  # the second time, files lie in memory
            if stopped() or (len(times) > FEWEST_CLIPS and time.monotonic() - since > SECONDS):
                break
            try:
                times.append(time_clip(clips, index))
            except VideoError:
                continue  # what is wrong with it is for the scan to say
        times = times[1:] or times  # the first also sets things up
        if not times:
            return None
        reading, changing, sides = (np.array(column) for column in zip(*times, strict=True))
        return Reading(len(times), float(reading.mean()), float(changing.mean()), int(np.median(sides)))


def time_clip(clips: TrainClips, index: int) -> tuple[float, float, int]:
    """Return the seconds for the frames of one clip, those for its changes, and the frames' short side."""
    started = time.perf_counter()
    clip, rng = clips.read(index)
    read = time.perf_counter()
    clips.transform(clip, clips.records[index].label, rng)
    return read - started, time.perf_counter() - read, min(clip.shape[-2:])


def _lost(task: _ReadClips, how: str) -> None:
    """Answer for a process that a decoder ended or held up: nothing was measured."""


def measure_training(annotations: Annotations, config: TrainConfig, device: torch.device) -> float | None:
    """Return the clips a second of training steps whose clips are there; None where memory is too small."""
    quick = replace(config, pretrained=False, lr=1e-9)  # the same work, and nothing to fetch
    accelerator = Accelerator(cpu=device.type == "cpu")
    learner = build_learner(Run(Path(), quick, Path(), annotations), accelerator, 0)
    spec = learner.model.input_spec
    shape = (config.batch_size, config.num_segments, spec.in_channels, spec.size, spec.size)
    clips = torch.randint(0, 256, shape, dtype=torch.uint8).to(learner.device)
    labels = torch.arange(len(clips), device=learner.device) % len(annotations.classes)
    set_train_mode(learner)
    seconds: list[float] = []
    since = time.monotonic()
    try:
        while len(seconds) < FEWEST_STEPS or (
            len(seconds) < MOST_STEPS and time.monotonic() - since < SECONDS
        ):
            started = time.perf_counter()
            loss, _ = forward_backward(learner, clips, labels, len(labels))
            step_optimizer(learner)
            loss.item()  # waits for the device
            seconds.append(time.perf_counter() - started)
    except torch.OutOfMemoryError:
        return None
    return len(clips) / median(seconds[1:])


def advise(reading: Reading, needed: float, cores: int, spec: InputSpec) -> Advice:
    """Return the fewest workers that are fast enough, with the largest proxies where it takes these.

    >>> spec = InputSpec(size=224, resize=256, mean=(0, 0, 0), std=(1, 1, 1))
    >>> advise(Reading(50, 0.09, 0.01, 720), needed=100.0, cores=8, spec=spec)
    Advice(workers=7, proxy=512, waiting=0.2, waiting_then=0.0)
    """
    waiting = waiting_share(reading, needed, cores)
    alone = enough_workers(reading, needed)
    if alone <= cores:
        return Advice(alone, None, waiting, 0.0)
    useful = [side for side in PROXIES if spec.resize <= side < reading.short_side]
    for side in reversed(useful):
        if (workers := enough_workers(reading.with_proxy(side), needed)) <= cores:
            return Advice(workers, side, waiting, 0.0)
    if not useful:
        return Advice(cores, None, waiting, waiting)
    return Advice(cores, useful[0], waiting, waiting_share(reading.with_proxy(useful[0]), needed, cores))


def enough_workers(reading: Reading, needed: float) -> int:
    """Return the workers that read ``needed`` clips a second, with some in reserve."""
    return max(1, math.ceil(needed * reading.seconds * RESERVE))


def waiting_share(reading: Reading, needed: float, workers: int) -> float:
    """Return the share of its time that training waits while so many workers read."""
    return round(max(0.0, 1 - workers / (reading.seconds * needed)), 4)


def sentence(
    reading: Reading, needed: float, cores: int, model: str, device: str, data: str, advice: Advice
) -> str:
    """Return the advice for people."""
    rates = (
        f"One process reads {figure(1 / reading.seconds)} clips a second of these videos, and training "
        f"{model} on {device} takes {figure(needed)}"
    )
    if advice.proxy is None and not advice.waiting_then:
        return f"{rates}: train with --workers {advice.workers}."
    wanted = enough_workers(reading, needed)
    short = f"{rates}: that is work for {wanted} processes, and this machine has {cores} cores"
    if advice.proxy is None:
        return (
            f"{short}. The videos are no larger than training needs; with --workers {cores} it waits "
            f"{advice.waiting:.0%} of its time, and only more cores or frames on disk change that."
        )
    then = f"`gateshift prepare {shlex.quote(data)} --proxy {advice.proxy}` and --workers {advice.workers}"
    if advice.waiting_then:
        return (
            f"{short}. With {then} training should wait {advice.waiting_then:.0%} of its time, "
            f"instead of {advice.waiting:.0%}."
        )
    return f"{short}. {then} should be enough."


def figure(value: float) -> str:
    """Return a rate as people read it.

    >>> [figure(value) for value in (0.84, 8.42, 842.1)]
    ['0.8', '8.4', '842']
    """
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"
