"""Recognise actions in video with Gate-Shift Networks.

Names are loaded when they are first used, so importing the package costs nothing.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

PUBLIC = {  # public name -> "module:name"; the commands have the names of these functions, with - for _
    "GateshiftError": "gateshift.errors:GateshiftError",
    "InputSpec": "gateshift.spec:InputSpec",
    "bench": "gateshift.apps.bench:bench",
    "check": "gateshift.apps.check:check",
    "compare": "gateshift.apps.compare:compare",
    "convert": "gateshift.apps.convert:convert",
    "create_model": "gateshift.models.registry:create_model",
    "datasets": "gateshift.data.catalog:datasets",
    "demo": "gateshift.apps.demo:demo",
    "download": "gateshift.apps.download:download",
    "ensemble": "gateshift.apps.ensemble:ensemble",
    "explain": "gateshift.apps.explain:explain",
    "find_lr": "gateshift.apps.find_lr:find_lr",
    "info": "gateshift.apps.info:info",
    "list_models": "gateshift.models.registry:list_models",
    "load": "gateshift.models.weights:load",
    "predict": "gateshift.apps.predict:predict",
    "prepare": "gateshift.apps.prepare:prepare",
    "recipes": "gateshift.engine.recipes:recipes",
    "report": "gateshift.apps.report:report",
    "reproduce": "gateshift.apps.reproduce:reproduce",
    "save_weights": "gateshift.models.weights_file:save_weights",
    "show": "gateshift.apps.show:show",
    "test": "gateshift.engine.test:test",
    "train": "gateshift.engine.train:train",
}

__all__ = ["__version__", *PUBLIC]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in PUBLIC:
        raise AttributeError(f"module 'gateshift' has no attribute {name!r}")
    module, _, attribute = PUBLIC[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
