"""Recipes: named training configs, each with its source and the accuracy it should reach.

The names say model, dataset and frames per clip, as those of the released weights do:
``gsm_inceptionv3_something-v1_16``.
"""

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from gateshift.data.annotations import DESCRIPTION, read_description
from gateshift.engine.config import TrainConfig
from gateshift.errors import DataError, lookup
from gateshift.models.released import RELEASED


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A published or measured way to train.

    Attributes:
        config: the values.
        source: where they come from, and the published accuracy with them.
        dataset: name in the catalog of what it is for; "any" for any data.
        published_top1: accuracy that its authors state for a network so trained, as a fraction, with one
            clip and crop of each video; None where nobody published one.
        differs: what the authors did otherwise than ``config``; empty where nothing is known to differ.
    """

    config: TrainConfig
    source: str
    dataset: str = "any"
    published_top1: float | None = None
    differs: str = ""

    @property
    def expected_top1(self) -> float | None:
        """The accuracy to expect: the published one where this is the published way to train, else None."""
        return None if self.differs else self.published_top1


FINETUNE = TrainConfig(
    size=112,  # a laptop's CPU trains on a few hundred clips in minutes; more is a flag away
    epochs=6,
    batch_size=8,
    lr=3e-3,  # of gates and head; pretrained layers move at a tenth of it
    backbone_lr=0.1,
    warmup_epochs=1,
    label_smoothing=0.1,
)

# Differences of consecutive frames: what stands still is grey, and tens of videos cannot teach scenes. The
# average of the weights steadies what so few steps arrive at. Gates and head move at the backbone's rate, or
# all gates are at 1 or -1 after two epochs.
SMALL_DATA = replace(FINETUNE, modality="rgbdiff", ema=0.98, lr=3e-4, backbone_lr=1.0)

SHAPES = TrainConfig(
    size=48,
    epochs=5,
    batch_size=16,
    lr=4e-3,
    gate_lr=0.05,  # at the full rate gates end at -1, whatever moves
    label_smoothing=0.1,
    dropout=0.0,
    clip_grad=5.0,
    precision="float32",
)

# Batch 16 x 2, learning rate moved once an epoch, weight decay on everything: what the released code did.
PAPER = TrainConfig(
    model="gsm_bninception",
    epochs=60,
    batch_size=16,
    accumulate=2,
    optimizer="sgd",
    lr=0.01,
    weight_decay=5e-4,
    warmup_epochs=10,
    schedule="epoch",
    dropout=0.5,
    clip_grad=20.0,
    precision="float32",
)

GSF = replace(PAPER, batch_size=32, accumulate=1, precision="float16", augment="rand-m9-mstd0.5")

TSM = replace(PAPER, batch_size=64, accumulate=1, epochs=50, warmup_epochs=0, flip=False)

GSM_PAPER = "Sudhakaran et al., CVPR 2020, and the released training command"
GSF_PAPER = "Sudhakaran et al., TPAMI 2023, and the released training code"
TSM_README = "Lin et al., ICCV 2019; accuracy from the README of github.com/mit-han-lab/temporal-shift-module"
TSM_BASELINE = "what TSM's authors train a ResNet-50 with; no accuracy of this backbone is published"
TSM_DIFFERS = (
    "The authors divide the learning rate by 10 after epochs 20 and 40, where this is a cosine, and give "
    "biases and norms rates and weight decay of their own."
)
TSN_BASELINE = "what GSM is trained with, without its modules; no accuracy with these settings is published"


def _of_released(name: str, config: TrainConfig, paper: str) -> Recipe:
    """Return the recipe of released weights, whose record says model, frames, dataset and accuracy."""
    record = RELEASED[name]
    return Recipe(
        config=replace(config, model=record.model, num_segments=record.num_segments),
        source=f"{paper}; accuracy from {record.source}" if record.source else paper,
        dataset=record.dataset,
        published_top1=record.top1,
    )


def _baseline(
    config: TrainConfig,
    model: str,
    num_segments: int,
    source: str,
    top1: float | None = None,
    differs: str = "",
) -> Recipe:
    """Return a recipe on Something-Something V1 of a network that nobody released here."""
    config = replace(config, model=model, num_segments=num_segments)
    return Recipe(config=config, source=source, dataset="something-v1", published_top1=top1, differs=differs)


GENERAL = {
    "finetune": Recipe(config=FINETUNE, source="this project: small data, pretrained backbone"),
    "scratch": Recipe(
        config=replace(FINETUNE, pretrained=False, model="gsm_resnet18", epochs=40, warmup_epochs=4),
        source="this project: no pretrained weights",
    ),
    "small-data": Recipe(
        config=SMALL_DATA,
        source="this project: tens to hundreds of videos in which scenes mislead; tuned on the Surveillance "
        "Camera Fight Dataset",
    ),
    "shapes": Recipe(config=SHAPES, source="this project: the embedded dataset of `gateshift demo`"),
    "paper": _of_released("gsm_bninception_something-v1_8", PAPER, GSM_PAPER),
}

GSM_RECIPES = {name: _of_released(name, PAPER, GSM_PAPER) for name in RELEASED if name.startswith("gsm_")}

GSF_RECIPES = {name: _of_released(name, GSF, GSF_PAPER) for name in RELEASED if name.startswith("gsf_")}

TSM_RECIPES = {
    "tsm_resnet50_something-v1_8": _baseline(TSM, "tsm_resnet50", 8, TSM_README, 0.456, TSM_DIFFERS),
    "tsm_resnet50_something-v1_16": _baseline(TSM, "tsm_resnet50", 16, TSM_README, 0.472, TSM_DIFFERS),
} | {
    f"tsm_bninception_something-v1_{frames}": _baseline(
        TSM, "tsm_bninception", frames, TSM_BASELINE, differs=TSM_DIFFERS
    )
    for frames in (8, 16)
}

TSN_RECIPES = {
    f"tsn_{backbone}_something-v1_{frames}": _baseline(PAPER, f"tsn_{backbone}", frames, TSN_BASELINE)
    for backbone in ("bninception", "inceptionv3", "resnet50")
    for frames in (8, 16)
}

DEFAULT_RECIPE = "finetune"
RECIPES: dict[str, Recipe] = GENERAL | GSM_RECIPES | GSF_RECIPES | TSM_RECIPES | TSN_RECIPES


def choose_recipe(recipe: str | None, data: Path) -> str:
    """Return the name of the recipe that is asked for, else the one that the data's dataset.json names.

    Raises:
        UnknownName: the one that is asked for does not exist.
        DataError: dataset.json names one that is not known.
    """
    if recipe is not None:
        lookup("recipe", recipe, RECIPES)
        return recipe
    description = data / DESCRIPTION
    named = read_description(description).get("recipe") if description.is_file() else None
    if named is not None and named not in RECIPES:
        raise DataError(
            f"'recipe' in '{description}' is {named!r}, which is none of `gateshift recipes`. "
            "Correct it, or give another one with --recipe."
        )
    return named or DEFAULT_RECIPE


def recipes(pattern: str = "*") -> dict[str, Any]:
    """List the recipes, with their values, sources and accuracies; a name alone shows all of one.

    Example: `gateshift recipes "gsm_*"`

    Args:
        pattern: a name, or a shell pattern of names.

    Returns:
        ``recipes``: for each ``recipe``, ``source``, ``dataset``, ``expected_top1`` (of the very same way to
        train), ``published_top1``, ``differs`` (what the published way does otherwise) and every setting.

    Raises:
        UnknownName: no recipe has this name.
    """
    names = [name for name in RECIPES if fnmatchcase(name, pattern)]
    if not names:
        lookup("recipe", pattern, RECIPES)
    return {"recipes": [_to_json(name, RECIPES[name]) for name in names]}


def _to_json(name: str, recipe: Recipe) -> dict[str, Any]:
    return {
        "recipe": name,
        "source": recipe.source,
        "dataset": recipe.dataset,
        "expected_top1": recipe.expected_top1,
        "published_top1": recipe.published_top1,
        "differs": recipe.differs,
        **recipe.config.to_json(),
    }
