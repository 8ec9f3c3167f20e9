"""The choices within a kind of temporal module as one text: ``gate=sigmoid,num_modules=5,interleave=off``."""

from collections.abc import Callable, Mapping
from typing import Any

from gateshift.errors import ConfigError, UnknownName, lookup


def parse_options(text: str) -> dict[str, Any]:
    """Return the arguments of ``create_model`` that a text stands for.

    Whether a model has the option, and the branch or gate function of this name, is for ``create_model``.

    >>> parse_options("gate=sigmoid, num_modules=5,interleave=off,branch=3x3")
    {'gate': 'sigmoid', 'num_modules': 5, 'interleave': False, 'branch': '3x3'}
    >>> parse_options("num_modules=all")
    {'num_modules': -1}

    Raises:
        ConfigError: a part is no ``option=value``, or comes twice, or its value is none of this option.
        UnknownName: there is no such option.
    """
    options: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        parse, expected = lookup("temporal option", name, OPTIONS)
        if not equals or not value:
            raise ConfigError(
                f"{part!r} among the temporal options has no value. Expected {name}={expected}."
            )
        if name in options:
            raise ConfigError(f"{name} comes twice in the temporal options {text!r}. Give it once.")
        try:
            options[name] = parse(value)
        except (ValueError, UnknownName) as error:
            raise ConfigError(f"{part!r} is no temporal option. Expected {name}={expected}.") from error
    return options


def _switch(value: str) -> bool:
    return lookup("switch", value, {"on": True, "off": False})


def _count(value: str) -> int:
    number = -1 if value == "all" else int(value)
    if value != "all" and number < 0:
        raise ValueError(value)
    return number


OPTIONS: Mapping[str, tuple[Callable[[str], Any], str]] = {  # option -> what reads its value, what it may be
    "gate": (str, "tanh, sigmoid or none"),
    "branch": (str, "a branch of the backbone, such as 3x3_reduce"),
    "num_modules": (_count, "a number from 0, or all"),
    "interleave": (_switch, "on or off"),
    "channel_ratio": (float, "a fraction such as 0.25"),
}
