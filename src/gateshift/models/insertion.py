"""Put temporal modules into a 2D network, at convolutions that are named by patterns."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Literal

from torch import nn

Where = Literal["after", "before", "replace"]


def find_convs(net: nn.Module, patterns: Iterable[str]) -> list[str]:
    """Return the names of the convolutions that match any of the patterns, in the order of the network.

    Raises:
        ValueError: a pattern matches no convolution.
    """
    convs = [name for name, module in net.named_modules() if isinstance(module, nn.Conv2d)]
    found = set()
    for pattern in patterns:
        matches = {name for name in convs if fnmatchcase(name, pattern)}
        if not matches:
            raise ValueError(f"no convolution of {type(net).__name__} matches {pattern!r}")
        found |= matches
    return [name for name in convs if name in found]


def insert_temporal(
    net: nn.Module,
    patterns: Iterable[str],
    make: Callable[[nn.Conv2d], nn.Module],
    where: Where = "after",
) -> list[str]:
    """Put ``make(conv)`` after, before or in place of every matching convolution; return their names.

    Load the weights of ``net`` first: afterwards its convolutions have other names.

    Args:
        net: the network to change in place.
        patterns: shell patterns of convolution names, such as "layer?.*.conv3".
        make: gives the temporal module for a convolution.
        where: its place; "after" comes before the norm that follows the convolution.
    """
    names = find_convs(net, patterns)
    for name in names:
        conv = net.get_submodule(name)
        assert isinstance(conv, nn.Conv2d)
        temporal = make(conv)
        if where == "after":
            temporal = nn.Sequential(OrderedDict(conv=conv, temporal=temporal))
        elif where == "before":
            temporal = nn.Sequential(OrderedDict(temporal=temporal, conv=conv))
        net.set_submodule(name, temporal)
    return names
