"""From videos to logits, the one way that test, predict and the validation of training share.

A video that cannot be read becomes an answer with an error; the callers decide what that means. The answers
do not depend on batch size, workers or processes: every video is computed from its own views only, and they
come back in the order of the videos.

What runs is a copy of the network that was optimised for inference, while other processes decode.

Letters: V views per video, T frames, S pixels, K classes.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gateshift.data.transforms import normalize
from gateshift.engine.kept_answers import Kept, KeptAnswers
from gateshift.engine.lost_workers import read_on
from gateshift.engine.meeting import meet
from gateshift.engine.progress import progress_bar
from gateshift.engine.stopping import ignore_interrupts
from gateshift.errors import ConfigError, VideoError, lookup
from gateshift.models.classifier import VideoClassifier
from gateshift.models.weights import find_weights, load

FEW_VIDEOS = 2  # starting processes takes longer than what they save on so few
CPU_PIXELS = 2**18  # of the frames that a CPU takes at once: more, and their maps are new memory each time
AVERAGES = {"logits": "logits", "softmax": "probabilities"}  # what is averaged -> the kind of scores it gives


def load_once(model: str | Path, device: torch.device) -> tuple[Path, VideoClassifier]:
    """Return a weights file and its network; one process of a machine fetches what is not there yet.

    Raises:
        WeightsError: there are no such weights.
    """
    meet(device)
    with PartialState(cpu=device.type == "cpu").local_main_process_first():
        weights = find_weights(model)
    return weights, load(weights)


Item = tuple[Tensor, int, int]  # views (V, T, 3, S, S) uint8, label, index


@dataclass(frozen=True)
class Answer:
    """What the network says of one video: (K,) logits averaged over its views, or why there are none.

    With ``average="softmax"`` what was averaged are probabilities.
    """

    index: int
    label: int
    logits: np.ndarray | None
    error: str | None = None


@dataclass(frozen=True)
class Unreadable:
    """A video, by its index, and why it cannot be read."""

    index: int
    reason: str


@dataclass(frozen=True)
class Inference:
    """How a network is run over videos.

    Attributes:
        device: where.
        precision: what the network computes in: torch.float32 for exact results, or a half precision.
        batch_size: clips in memory at once; a video with V views counts V. A CPU takes fewer at a time.
        workers: processes that decode; 0 decodes in this one, as do one or two videos anyway.
        average: what is averaged over views: "logits", or "softmax" for the probabilities of each view.
        progress: show a bar where stderr is a terminal.
    """

    device: torch.device
    precision: torch.dtype = torch.float32
    batch_size: int = 8
    workers: int = 2
    progress: bool = True
    average: str = "logits"

    def __post_init__(self) -> None:
        lookup("average", self.average, AVERAGES)
        if self.batch_size < 1:
            raise ConfigError(f"batch_size is {self.batch_size}; it must be at least 1. Change --batch-size.")
        if self.workers < 0:
            raise ConfigError(f"workers is {self.workers}; it must be at least 0. Change --workers.")


class _Share(Dataset[tuple[int, int, Tensor | None, str | None]]):
    """The videos of one process; an unreadable one has the reason in place of its views."""

    def __init__(self, videos: Dataset[Item], indices: Sequence[int]) -> None:
        self.videos = videos
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int) -> tuple[int, int, Tensor | None, str | None]:
        index = self.indices[place]
        try:
            views, label, _ = self.videos[index]
        except VideoError as error:
            return index, -1, None, str(error)
        return index, label, views, None


def infer(
    model: VideoClassifier,
    videos: Dataset[Item],
    total: int,
    how: Inference,
    *,
    flipped: Sequence[bool],
    label_swaps: Mapping[int, int],
    stop_at_error: bool = False,
    kept: KeptAnswers | None = None,
    each_view: bool = False,
) -> list[Answer]:
    """Return an answer for each of the ``total`` videos, in their order and in every process.

    The model stays as it is and where it is. Logits of a mirrored view are exchanged by ``label_swaps``
    before the mean.

    Args:
        model: the network.
        videos: item i is (views (V, T, 3, S, S) uint8, label, i).
        total: number of videos.
        how: device, precision, batch size and workers.
        flipped: which of the V views are mirrored.
        label_swaps: class index -> class index of the mirrored video, in both directions.
        stop_at_error: give up after the first unreadable video; the answers are then not complete.
        kept: answers on disk, which are taken from there and added to.
        each_view: leave the logits of the views apart, (V, K) in place of their mean.

    Raises:
        FaultError: a process that decodes died.
        KeyboardInterrupt: stopped; the message says what is kept.
    """
    state = PartialState(cpu=how.device.type == "cpu")
    own = range(state.process_index, total, state.num_processes)
    known = {index: answer for index, answer in (kept.read() if kept else {}).items() if index in own}
    share = _Share(videos, [index for index in own if index not in known])
    mirror = [label_swaps.get(index, index) for index in range(model.head.out_features)]
    answers = [Answer(index, *answer) for index, answer in known.items()]
    batches = read_on(_loader(share, how, len(flipped)))  # the workers fork before the bar starts its thread
    network = model.optimize_for_inference(how.precision).to(how.device)
    shown = how.progress and state.is_main_process
    with (
        progress_bar("videos", len(own), shown=shown) as bar,
        torch.inference_mode(),
        _keeping(answers, kept, state.process_index, len(own)) if kept else nullcontext(),
    ):
        bar.advance(len(known))
        for indices, labels, views, errors in batches:
            logits = iter(() if views is None else _ask(network, views, how, flipped, mirror, each_view))
            answers += [
                Answer(index, label, None if error else next(logits), error)
                for index, label, error in zip(indices, labels, errors, strict=True)
            ]
            bar.advance(len(indices))
            if kept and kept.due():
                kept.write(_to_keep(answers), state.process_index)
            if stop_at_error and any(errors):
                break
    return sorted(gather_object(answers), key=lambda answer: answer.index)


@contextmanager
def _keeping(answers: list[Answer], kept: KeptAnswers, process: int, total: int) -> Iterator[None]:
    """Whatever ends the block, keep the answers that there are by then."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(
            f"stopped after {len(answers)} of {total} videos. The same command goes on with the rest."
        ) from error
    finally:
        kept.write(_to_keep(answers), process)


def _to_keep(answers: Sequence[Answer]) -> dict[int, Kept]:
    return {answer.index: (answer.label, answer.logits) for answer in answers if answer.logits is not None}


Batch = tuple[list[int], list[int], Tensor | None, list[str | None]]


def _loader(share: _Share, how: Inference, num_views: int) -> DataLoader[Batch]:
    return DataLoader(
        share,  # type: ignore[arg-type]  # collate turns its items into batches
        batch_size=max(1, how.batch_size // num_views),
        num_workers=0 if len(share) <= FEW_VIDEOS else min(how.workers, len(share)),
        collate_fn=_collate,
        pin_memory=how.device.type == "cuda",
        worker_init_fn=ignore_interrupts,
        generator=torch.Generator(),  # or the loader would draw from the generator of training
    )


def _collate(items: Sequence[tuple[int, int, Tensor | None, str | None]]) -> Batch:
    """Stack the views of the readable videos: (n, V, T, 3, S, S), or None where there are none."""
    indices, labels, views, errors = zip(*items, strict=True)
    readable = [view for view in views if view is not None]
    return list(indices), list(labels), torch.stack(readable) if readable else None, list(errors)


def clips_at_once(how: Inference, clips: Tensor) -> int:
    """Return how many of the clips (B, T, 3, S, S) go through the network together.

    >>> clips_at_once(Inference(torch.device("cpu"), batch_size=8), torch.zeros(20, 8, 3, 112, 112))
    2
    """
    if how.device.type != "cpu":
        return how.batch_size
    _, num_frames, _, height, width = clips.shape
    return max(1, min(how.batch_size, CPU_PIXELS // (num_frames * height * width)))


def _ask(
    network: VideoClassifier,
    views: Tensor,
    how: Inference,
    flipped: Sequence[bool],
    mirror: list[int],
    each_view: bool,
) -> np.ndarray:
    """Return what the network says of n videos, from views (n, V, T, 3, S, S).

    That is the mean over V, (n, K), or of each view, (n, V, K).
    """
    clips = views.flatten(0, 1)
    parts = [
        network(normalize(part.to(how.device, non_blocking=True), network.input_spec))
        for part in clips.split(clips_at_once(how, clips))  # bounded memory, however many views
    ]
    said = torch.cat(parts).unflatten(0, views.shape[:2])  # (n, V, K)
    if how.average == "softmax":
        said = said.softmax(dim=-1)
    mirrored = torch.tensor(list(flipped), device=how.device)[:, None]  # (V, 1)
    said = torch.where(mirrored, said[..., mirror], said)
    return (said if each_view else said.mean(dim=1)).cpu().numpy()
