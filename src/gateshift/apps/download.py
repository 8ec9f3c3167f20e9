"""``gateshift download``: the authors' released checkpoints, checked and converted into the cache."""

from pathlib import Path
from typing import Any

from gateshift.models.released import RELEASED, original_path, read_checksums, released_weights


def download(name: str, *, folder: Path | None = None) -> dict[str, Any]:
    """Put published weights into the cache, checked; test, predict and info then take them by name.

    Example: `gateshift download gsm_inceptionv3_something-v1_8`

    The original comes from the authors' Google Drive, is converted, and its SHA-256 is written down; from
    then on a file with another one is refused. The checkpoints hold no class names: predictions are numbers.
    For names, convert the original with `gateshift convert ... --classes`.

    Args:
        name: a name under `released` in `gateshift models`.
        folder: holds checkpoints that were fetched by hand, under the authors' file names; nothing is
            downloaded then.

    Raises:
        UnknownName: nothing was released under this name.
        WeightsError: the original cannot be had, is another than came first, or is no such checkpoint.
    """
    weights = released_weights(name, folder)
    record = RELEASED[name]
    return {
        "name": name,
        "weights": str(weights),
        "original": str(original_path(name, folder)),
        "sha256": read_checksums()[name]["original"],
        "model": record.model,
        "num_segments": record.num_segments,
        "dataset": record.dataset,
        "published_top1": record.top1,
        "source": record.source,
        "licence": record.licence,
    }
