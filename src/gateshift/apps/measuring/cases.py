"""What `gateshift bench` measures: one case for each combination of what is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import torch

from gateshift.apps.measuring.places import temporal_places
from gateshift.engine.config import TrainConfig
from gateshift.engine.device import pick_precision
from gateshift.engine.loop import refuse_model
from gateshift.errors import ConfigError, lookup
from gateshift.models.registry import MODELS

BATCHES = {"data": (24,), "module": (4,), "train": (4,), "infer": (1, 8)}  # clips; infer: latency, throughput
WHOLE = ("train", "infer")  # steps of a whole network
ALL = "all"  # stands for every temporal module of a model, one after the other


@dataclass(frozen=True, kw_only=True)
class Case:
    """One thing to measure, on both sides.

    Attributes:
        what: a name of ``BATCHES``.
        num_segments: frames per clip, T.
        batch_size: clips of a step, or clips that are read.
        model: the network; empty where clips are read.
        part: of the temporal modules, ``ALL`` or the size "C x H x W" of what they see; of reading, "frames"
            or "videos"; else empty.
        precision: of this project's side; the plain side computes in float32. Empty where clips are read.
        device: where.
        size: side of the crop; 0 for the backbone's own.
        videos: folder of the videos to read; None for the embedded dataset.
    """

    what: str
    num_segments: int
    batch_size: int
    model: str = ""
    part: str = ""
    precision: str = ""
    device: str = ""
    size: int = 0
    videos: Path | None = None

    @property
    def tsn(self) -> "Case | None":
        """The same case without temporal modules, where a network has some."""
        if self.what not in WHOLE or self.model.startswith("tsn_"):
            return None
        return replace(self, model=f"tsn_{MODELS[self.model].backbone}")


def choose_cases(
    *,
    what: str,
    model: str,
    num_segments: str,
    batch_size: str | None,
    precision: str,
    device: str,
    size: int,
    videos: Path | None,
) -> list[Case]:
    """Return the cases of lists that are written with commas; all of them are checked before anything runs.

    Raises:
        UnknownName: a list names something that there is not.
        ConfigError: a number is out of its range, or nothing would be measured.
    """
    kinds, models = _words("what", what), _words("model", model)
    for kind in kinds:
        lookup("what", kind, BATCHES)
    for name in models:
        refuse_model(TrainConfig(model=name, size=size))
    types = [pick_precision(name, torch.device(device)) for name in _words("precision", precision)]
    precisions = [str(dtype).removeprefix("torch.") for dtype in dict.fromkeys(types)]  # auto is one of them
    segments = _numbers("num-segments", num_segments)
    batches = _numbers("batch-size", batch_size) if batch_size else None
    cases = []
    for kind in kinds:
        for batch, frames in product(batches or BATCHES[kind], segments):
            if kind == "data":
                case = Case(what=kind, num_segments=frames, batch_size=batch, videos=videos)
                cases += [replace(case, part=part) for part in ("frames", "videos")]
            else:
                case = Case(what=kind, num_segments=frames, batch_size=batch, device=device, size=size)
                cases += _of_models(case, models, precisions)
    if not cases:
        raise ConfigError(
            f"there is nothing to measure: no temporal module stands alone in {', '.join(models)}. "
            "Give another --model, such as gsm_bninception, or --what train,infer."
        )
    return cases


def _of_models(case: Case, models: Sequence[str], precisions: Sequence[str]) -> list[Case]:
    return [
        replace(case, model=model, part=part, precision=precision)
        for model in models
        for part in (_parts(model, case.num_segments, case.size) if case.what == "module" else [""])
        for precision in precisions
    ]


def _parts(model: str, frames: int, size: int) -> list[str]:
    """Return the sizes that a model's temporal modules see, and all of them; nothing where there are none."""
    sizes = dict.fromkeys(place.size for place in temporal_places(model, frames, size))
    return [ALL, *sizes] if len(sizes) > 1 else [ALL] if sizes else []


def _words(name: str, text: str) -> list[str]:
    """Take a list with commas apart.

    >>> _words("what", "train, infer")
    ['train', 'infer']
    """
    words = list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if not words:
        raise ConfigError(f"--{name} is empty. Give one name or several, with commas between.")
    return words


def _numbers(name: str, text: str) -> list[int]:
    """Take a list of counts apart.

    >>> _numbers("num-segments", "8,16")
    [8, 16]
    """
    words = _words(name, text)
    if not all(word.isdecimal() and int(word) for word in words):
        raise ConfigError(f"--{name} is {text!r}. Give counts from 1, with commas between, such as 8,16.")
    return [int(word) for word in words]
