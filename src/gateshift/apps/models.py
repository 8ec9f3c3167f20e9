"""``gateshift models``: the networks that can be built, and the trained ones that were released."""

from fnmatch import fnmatchcase
from typing import Any

from gateshift.models.backbones import BACKBONES
from gateshift.models.registry import MODELS, list_models
from gateshift.models.released import RELEASED


def models(pattern: str = "*") -> dict[str, list[dict[str, Any]]]:
    """List the models, every temporal module in every backbone, and the released weights by name.

    Example: `gateshift models "gsm_*"`

    Args:
        pattern: shell pattern of names.

    Returns:
        ``models``: for each its ``model`` name, ``temporal`` module, ``backbone`` and crop ``size``;
        ``released``: for each its ``name``, ``dataset``, ``num_segments``, ``published_top1``, and ``file``,
        the name under which ``download --folder`` takes it.
    """
    return {
        "models": [
            {
                "model": name,
                "temporal": MODELS[name].kind,
                "backbone": MODELS[name].backbone,
                "size": BACKBONES[MODELS[name].backbone].input_spec.size,
            }
            for name in list_models(pattern)
        ],
        "released": [
            {
                "name": name,
                "dataset": record.dataset,
                "num_segments": record.num_segments,
                "published_top1": record.top1,
                "file": record.file_name,
            }
            for name, record in RELEASED.items()
            if fnmatchcase(name, pattern)
        ],
    }
