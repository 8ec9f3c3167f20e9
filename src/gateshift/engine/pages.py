"""Pages for people: one self-contained HTML file each, which asks no network for anything."""

import base64
from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render_page(template: str, values: Mapping[str, Any]) -> str:
    """Fill in one of the templates of ``engine/templates``; what users named is escaped."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    """Return what keeps the templates once they are parsed: the page of a running run is written often."""
    return Environment(
        loader=PackageLoader("gateshift.engine", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def data_uri(content: bytes, media_type: str) -> str:
    """Return ``content`` as a link that carries it.

    >>> data_uri(b"hi", "text/plain")
    'data:text/plain;base64,aGk='
    """
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"
