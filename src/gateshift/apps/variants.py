"""What a comparison compares: kinds of temporal modules, or variants of one (an ablation), by backbone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from gateshift.errors import ConfigError, lookup
from gateshift.models.backbones import BACKBONES, Backbone
from gateshift.models.registry import TEMPORAL_KINDS, create_model
from gateshift.models.temporal_options import parse_options
from gateshift.nn import GATES

DEFAULT_KINDS = "tsn,tsm,gsm"
ABLATED = {"gsm": "gsm", "gsf": "gsf"}
ABLATIONS: Mapping[str, Callable[[Backbone], list[str]]] = {  # ablation -> temporal options to compare
    "modules": lambda backbone: [f"num_modules={count}" for count in (0, 1, 5, "all")],
    "branch": lambda backbone: [f"branch={name}" for name in backbone.branches],
    "gate": lambda backbone: [f"gate={name}" for name in GATES],
    "interleave": lambda backbone: ["interleave=on", "interleave=off"],
}


@dataclass(frozen=True)
class Variant:
    """One row of a comparison.

    Attributes:
        temporal: kind of its temporal modules.
        options: what sets it apart from others of this kind, as temporal options.
        changes: the options that it is trained with: none where ``options`` say what the kind has anyway.
        backbone: name of its 2D network.
        beside: whether others of the comparison have another backbone.
    """

    temporal: str
    options: str = ""
    changes: str = ""
    backbone: str = ""
    beside: bool = False

    @property
    def name(self) -> str:
        """What people call it."""
        return " ".join(filter(None, [self.temporal, self.options, self.backbone if self.beside else ""]))

    @property
    def model(self) -> str:
        """Name of its model."""
        return f"{self.temporal}_{self.backbone}"

    @property
    def folder(self) -> str:
        """Name of its run; variants that are the same network share one."""
        kind = f"{self.temporal}-{self.changes.replace('=', '-')}".strip("-")
        return f"{self.backbone}-{kind}" if self.beside else kind


def choose_variants(temporal: str | None, ablate: str | None, backbones: str) -> list[Variant]:
    """Return what to compare, every one of them checked; backbone by backbone.

    Args:
        temporal: comma list of kinds; with ``ablate``, the one kind to take variants of.
        ablate: comma list of ablations.
        backbones: comma list of 2D networks.

    Raises:
        UnknownName: a name is no temporal module, ablation or backbone.
        ConfigError: there is no name, or the kind or the backbone has no such variants.
    """
    names = chosen("backbone", backbones, {name: name for name in BACKBONES})
    return [
        replace(variant, backbone=name, beside=len(names) > 1)
        for name in names
        for variant in variants_of(temporal, ablate, name)
    ]


def variants_of(temporal: str | None, ablate: str | None, backbone: str) -> list[Variant]:
    """Return what to compare of one backbone, as ``choose_variants`` says."""
    record = BACKBONES[backbone]
    if ablate is None:
        table = {kind: kind for kind in TEMPORAL_KINDS}
        kinds = chosen("temporal module", DEFAULT_KINDS if temporal is None else temporal, table)
        return [Variant(kind) for kind in kinds]
    kinds = chosen("gated temporal module", temporal or "gsm", ABLATED)
    if len(kinds) != 1:
        raise ConfigError(
            f"ablate compares variants of one temporal module, not of {temporal}. Give gsm or gsf."
        )
    options = [option for make in chosen("ablation", ablate, ABLATIONS) for option in make(record)]
    if "branch" in ablate and not record.branches:
        inception = ", ".join(name for name, other in BACKBONES.items() if other.branches)
        raise ConfigError(f"{backbone} has no branches to choose from. Give --backbone one of: {inception}.")
    model = f"{kinds[0]}_{backbone}"
    plain = architecture(model, "")
    return [
        Variant(kinds[0], option, "" if architecture(model, option) == plain else option)
        for option in options
    ]


def chosen(kind: str, names: str, table: Mapping[str, Any]) -> list[Any]:
    """Return what a comma list of names stands for, each once.

    >>> chosen("number", "two, one,two", {"one": 1, "two": 2})
    [2, 1]

    Raises:
        UnknownName: a name is not in the table.
        ConfigError: there is no name.
    """
    given = dict.fromkeys(name.strip() for name in names.split(",") if name.strip())
    if not given:
        raise ConfigError(f"{names!r} names no {kind}. Give one or more of {', '.join(table)}.")
    return [lookup(kind, name, table) for name in given]


def architecture(model: str, options: str) -> tuple[object, ...]:
    """Return what tells two variants of a model apart: where modules are, and what they do."""
    with torch.device("meta"):
        built = create_model(model, 2, 2, **parse_options(options))
    points = tuple((point["name"], point["channels"]) for point in built.insertion_points)
    return points, built.spec.gate, built.spec.interleave
