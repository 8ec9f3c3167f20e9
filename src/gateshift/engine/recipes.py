"""Recipes: named training configs, each with its source and the accuracy it should reach."""

from dataclasses import dataclass, replace
from typing import Any

from gateshift.engine.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A published or measured way to train.

    Attributes:
        config: the values.
        source: where they come from.
        dataset: what ``expected_top1`` was measured on.
        expected_top1: accuracy on the validation videos as a fraction, or None where nobody published one.
    """

    config: TrainConfig
    source: str
    dataset: str = "any"
    expected_top1: float | None = None


FINETUNE = TrainConfig(
    size=112,  # a laptop's CPU trains on a few hundred clips in minutes; more is a flag away
    epochs=6,
    batch_size=8,
    lr=3e-3,  # of gates and head; pretrained layers move at a tenth of it
    backbone_lr=0.1,
    warmup_epochs=1,
    label_smoothing=0.1,
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
)

RECIPES = {
    "finetune": Recipe(config=FINETUNE, source="this project: small data, pretrained backbone"),
    "scratch": Recipe(
        config=replace(FINETUNE, pretrained=False, model="gsm_resnet18", epochs=40, warmup_epochs=4),
        source="this project: no pretrained weights",
    ),
    "paper": Recipe(
        config=PAPER,
        source="Sudhakaran et al., CVPR 2020, and the released training script",
        dataset="something-v1",
    ),
}


def recipes() -> dict[str, Any]:
    """List the recipes, with their values and sources.

    Example: `gateshift recipes`
    """
    return {
        "recipes": [
            {
                "recipe": name,
                "source": recipe.source,
                "dataset": recipe.dataset,
                "expected_top1": recipe.expected_top1,
                **recipe.config.to_json(),
            }
            for name, recipe in RECIPES.items()
        ]
    }
