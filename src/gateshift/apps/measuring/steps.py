"""The two sides of what is measured: this project's way of a step, and the plain one.

Plain is the published description as it stands: float32, planes before pixels (NCHW), every operator by
itself, `nn.Conv3d` gates. Both sides of training begin with the bytes of clips, as they come to the device.
All networks have random weights.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F

from gateshift.apps.measuring.cases import ALL, Case
from gateshift.apps.measuring.places import Place, temporal_places
from gateshift.data.records import Annotations, VideoRecord
from gateshift.data.transforms import normalize
from gateshift.engine.config import TrainConfig
from gateshift.engine.device import autocast, pick_precision, prepare_for_speed
from gateshift.engine.learner import build_learner, forward_backward, set_train_mode, step_optimizer
from gateshift.engine.run import Run
from gateshift.models.classifier import VideoClassifier
from gateshift.models.registry import create_model

Step = Callable[[], object]
NUM_CLASSES = 174  # as many as Something-Something has
LR = 1e-6  # so that weights stay what they are, however many steps are taken


def infer_ours(case: Case) -> Step:
    """Return one forward pass of the network that is optimised for inference."""
    device = torch.device(case.device)
    network = _network(case).to(device)
    optimized = network.optimize_for_inference(precision=pick_precision(case.precision, device))
    return _forward(optimized, _clips(case, network))


def infer_plain(case: Case) -> Step:
    """Return one forward pass of the network as it is built."""
    network = _network(case).to(case.device).eval()
    return _forward(network, _clips(case, network))


def _forward(network: nn.Module, clips: Tensor) -> Step:
    inputs = normalize(clips, network.input_spec).contiguous()  # type: ignore[arg-type]

    def step() -> None:
        with torch.inference_mode():
            network(inputs)

    return step


def train_ours(case: Case) -> Step:
    """Return one step of training, by what `gateshift train` trains with."""
    config = TrainConfig(
        model=case.model,
        pretrained=False,
        num_segments=case.num_segments,
        size=case.size,
        batch_size=case.batch_size,
        optimizer="sgd",
        lr=LR,
        precision=case.precision,
    )
    classes = tuple(f"class {number}" for number in range(NUM_CLASSES))
    no_videos: dict[str, tuple[VideoRecord, ...]] = {"train": (), "val": ()}
    annotations = Annotations(Path(), classes, (), None, "none", no_videos)
    accelerator = Accelerator(cpu=case.device == "cpu")
    learner = build_learner(Run(Path(), config, Path(), annotations), accelerator, 0)
    clips, labels = _clips(case, learner.model), _labels(case)
    set_train_mode(learner)

    def step() -> None:
        forward_backward(learner, clips, labels, len(labels))
        step_optimizer(learner)

    return step


def train_plain(case: Case) -> Step:
    """Return one step of training the network as it is built, with the same loss, clipping and optimiser."""
    config = TrainConfig()
    network = _network(case).to(case.device).train()
    clips, labels = _clips(case, network), _labels(case)
    optimizer = torch.optim.SGD(network.parameters(), LR, momentum=0.9, weight_decay=config.weight_decay)

    def step() -> None:
        logits = network(normalize(clips, network.input_spec).contiguous())
        F.cross_entropy(logits, labels).backward()
        nn.utils.clip_grad_norm_(network.parameters(), config.clip_grad)
        optimizer.step()
        optimizer.zero_grad()

    return step


def module_ours(case: Case) -> Step:
    """Return forward and backward of temporal modules as training has them: channels last, fast gates."""
    device = torch.device(case.device)
    precision = pick_precision(case.precision, device)
    modules = _modules(case)
    prepare_for_speed(modules)
    frames = [
        _frames(case, place).to(precision, memory_format=torch.channels_last) for place in _places(case)
    ]
    return _forward_backward(modules, frames, lambda: autocast(device, precision))


def module_plain(case: Case) -> Step:
    """Return forward and backward of temporal modules as they are built."""
    frames = [_frames(case, place) for place in _places(case)]
    device = torch.device(case.device)
    return _forward_backward(_modules(case), frames, lambda: autocast(device, torch.float32))


def _forward_backward(
    modules: nn.ModuleList, frames: list[Tensor], context: Callable[[], AbstractContextManager[None]]
) -> Step:
    inputs = [x.requires_grad_() for x in frames]
    gradients = [torch.randn_like(x) for x in frames]

    def step() -> None:
        for module, x, gradient in zip(modules, inputs, gradients, strict=True):
            with context():
                y = module(x)
            torch.autograd.grad(y, [x, *module.parameters()], gradient)

    return step


def _network(case: Case) -> VideoClassifier:
    torch.manual_seed(0)
    return create_model(case.model, NUM_CLASSES, case.num_segments, size=case.size or None)


def _clips(case: Case, network: VideoClassifier) -> Tensor:
    """Return the bytes of clips (B, T, 3, S, S)."""
    side = network.input_spec.size
    shape = (case.batch_size, case.num_segments, network.input_spec.frames_read * 3, side, side)
    numbers = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, generator=numbers, dtype=torch.uint8).to(case.device)


def _labels(case: Case) -> Tensor:
    return (torch.arange(case.batch_size) % NUM_CLASSES).to(case.device)


def _places(case: Case) -> list[Place]:
    places = temporal_places(case.model, case.num_segments, case.size)
    return [place for place in places if case.part in (ALL, place.size)]


def _modules(case: Case) -> nn.ModuleList:
    network = _network(case)
    chosen = [network.get_submodule(place.name) for place in _places(case)]
    return nn.ModuleList(chosen).to(case.device).train()


def _frames(case: Case, place: Place) -> Tensor:
    """Return what a temporal module sees, frames (N, C, H, W)."""
    shape = (case.batch_size * case.num_segments, place.channels, place.height, place.width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(case.device)
