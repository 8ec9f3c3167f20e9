"""TrainConfig: every value that decides the outcome of a training run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from gateshift.data.augment import Augment, parse_augment
from gateshift.errors import ConfigError, lookup
from gateshift.models.temporal_options import parse_options
from gateshift.spec import MODALITIES, ModalityName

AT_LEAST_0 = (
    *("size", "warmup_epochs", "weight_decay", "clip_grad", "max_bad_videos", "seed"),
    *("freeze_epochs", "early_stop"),
)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides the outcome of a training run; saved as JSON in the run directory."""

    model: str = "gsm_efficientnet_lite0"
    """Name of the model; see `gateshift models`."""
    temporal_options: str = ""
    """Of the temporal modules, such as gate=sigmoid,num_modules=5,interleave=off,branch=3x3."""
    modality: ModalityName = "rgb"
    """What the network sees: rgb, optical flow from prepared frames, or rgbdiff, differences of frames."""
    pretrained: bool = True
    """Start from the backbone's ImageNet weights."""
    num_segments: int = 8
    """Frames per clip (T)."""
    size: int = 0
    """Side of the square crop in pixels; 0 keeps the backbone's own."""
    epochs: int = 12
    """Passes over the training videos."""
    batch_size: int = 8
    """Clips per forward pass, over all processes together."""
    accumulate: int = 1
    """Batches per optimiser step; the effective batch is batch_size x accumulate."""
    optimizer: Literal["sgd", "adamw"] = "adamw"
    """SGD with momentum 0.9, or AdamW."""
    lr: float = 1e-3
    """Learning rate at the end of the warm-up, for one effective batch."""
    backbone_lr: float = 1.0
    """Factor on the learning rate of pretrained layers; the head has 1."""
    gate_lr: float = 1.0
    """Factor on the learning rate of gates; with AdamW, one below 1 keeps them from their ends."""
    weight_decay: float = 0.02
    """On every parameter, norms and biases included, as the released code applies it."""
    warmup_epochs: int = 1
    """Epochs of linear warm-up, from a tenth of the learning rate, before the cosine."""
    schedule: Literal["epoch", "step"] = "step"
    """When the learning rate moves: once an epoch, as the released code does, or at every step."""
    dropout: float = 0.5
    """Before the head."""
    label_smoothing: float = 0.0
    """Share of the target spread over all classes."""
    clip_grad: float = 20.0
    """Largest gradient norm at an optimiser step; 0 for no clipping."""
    partial_bn: bool = False
    """Freeze every 2D batch-norm of the backbone but the first."""
    flip: bool = True
    """Mirror half of the training clips, exchanging the labels that a mirror exchanges."""
    augment: str = ""
    """Beyond crops and flips, such as rand-m9-mstd0.5,jitter=0.4,erase=0.25,mixup=0.2,cutmix=1."""
    val_fraction: float = 0.2
    """Share of the videos held out where the data has no split of its own."""
    precision: str = "auto"
    """auto, float32, bfloat16 or float16."""
    on_bad_video: Literal["error", "skip"] = "error"
    """Of a video that cannot be read: stop, or leave it out and list it; another never takes its place."""
    max_bad_videos: int = 20
    """Different videos left out of the whole run, for training and validation together, before it stops."""
    balance: Literal["none", "sampling", "loss"] = "none"
    """Of skewed classes: draw each as often, or weigh the loss of a video by how rare its class is."""
    freeze_epochs: int = 0
    """First epochs in which the backbone's own layers stay as they are; temporal modules and head learn."""
    linear_probe: bool = False
    """Only the head learns; backbone and temporal modules stay as they are, to the end."""
    layer_decay: float = 1.0
    """Factor on the learning rate from each stage of the backbone to the one before it; 1 for none."""
    ema: float = 0.0
    """Decay, per optimiser step, of an average of the weights, which is validated and kept; 0 for none."""
    early_stop: int = 0
    """Epochs without a better validation after which training ends; 0 for never."""
    distill: str = ""
    """Scores (.npz) of another model on the training videos, learnt beside the labels; empty for none."""
    distill_weight: float = 0.5
    """Share of what that model says in the loss; the labels have the rest."""
    distill_temperature: float = 2.0
    """What logits of teacher and student are divided by before they are compared."""
    sync_bn: bool = False
    """Batch-norms see the batch of all processes, so that the result does not depend on their number."""
    seed: int = 0
    """Decides the split, the initial weights, the order and every augmentation."""

    def __post_init__(self) -> None:
        """Refuse values out of range before any work is done."""
        for name in ("num_segments", "epochs", "batch_size", "accumulate"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in AT_LEAST_0:
            _require(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        for name in ("lr", "backbone_lr", "gate_lr", "distill_temperature"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "above 0")
        for name in ("dropout", "label_smoothing", "ema"):
            _require(0 <= getattr(self, name) < 1, name, getattr(self, name), "from 0 to below 1")
        for name in ("layer_decay", "distill_weight"):
            _require(0 < getattr(self, name) <= 1, name, getattr(self, name), "above 0, at most 1")
        _require(0 < self.val_fraction < 1, "val_fraction", self.val_fraction, "between 0 and 1")
        parse_options(self.temporal_options)
        lookup("optimizer", self.optimizer, {"sgd": 0, "adamw": 0})
        lookup("modality", self.modality, MODALITIES)
        augment = parse_augment(self.augment)
        augment.require_modality(self.modality)
        if augment == Augment():
            object.__setattr__(self, "augment", "")  # "none" is the same run as one without the setting
        lookup("on_bad_video", self.on_bad_video, {"error": 0, "skip": 0})
        lookup("schedule", self.schedule, {"epoch": 0, "step": 0})
        lookup("balance", self.balance, {"none": 0, "sampling": 0, "loss": 0})
        if self.warmup_epochs >= self.epochs:
            raise ConfigError(
                f"warmup_epochs ({self.warmup_epochs}) must be below epochs ({self.epochs}). "
                f"Give --warmup-epochs {max(self.epochs // 10, 0)}, or more epochs."
            )
        if self.freeze_epochs > self.epochs:
            raise ConfigError(
                f"freeze_epochs ({self.freeze_epochs}) is more than epochs ({self.epochs}). "
                f"Give --freeze-epochs {self.epochs} to freeze the backbone to the end, or fewer."
            )
        if self.linear_probe and (self.freeze_epochs or self.layer_decay != 1):
            raise ConfigError(
                f"linear_probe freezes the backbone to the end: freeze_epochs ({self.freeze_epochs}) and "
                f"layer_decay ({self.layer_decay}) have nothing to act on. "
                f"Give --freeze-epochs 0 --layer-decay 1, or leave out --linear-probe."
            )

    @property
    def effective_batch(self) -> int:
        """Clips per optimiser step."""
        return self.batch_size * self.accumulate

    def changed(self, changes: Mapping[str, Any]) -> "TrainConfig":
        """Return the config with those of ``changes`` that are not None."""
        return replace(self, **{name: value for name, value in changes.items() if value is not None})

    def to_json(self) -> dict[str, Any]:
        """Return plain values that ``from_json`` takes back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "TrainConfig":
        """Return the config among the values of a run's ``config.json``."""
        return cls(**{field.name: values[field.name] for field in fields(cls) if field.name in values})


def _require(ok: bool, name: str, value: object, expected: str) -> None:
    if not ok:
        raise ConfigError(f"{name} is {value}; it must be {expected}. Change --{name.replace('_', '-')}.")
