"""RELEASED: the authors' trained GSM and GSF checkpoints by name; fetched, checked and converted once.

Nobody published checksums. The one of each checkpoint is written down when it has come and has been converted
for the first time, and a file with another one is refused from then on.
"""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

from gateshift.errors import WeightsError, lookup
from gateshift.models.download import file_sha256
from gateshift.models.drive import VIEW, fetch_drive
from gateshift.models.legacy import build_original, read_original
from gateshift.models.weights_file import save_weights
from gateshift.spec import cache_dir

CHECKSUMS = "checksums.json"


@dataclass(frozen=True, kw_only=True)
class ReleasedWeights:
    """A checkpoint that the authors released.

    Attributes:
        model: its name here.
        num_segments: frames per clip it was trained with.
        dataset: what it was trained on, a name of the catalogue.
        num_classes: classes of that dataset.
        drive_id: the file's id on Google Drive.
        file_name: the authors' name of the file; where that is not known, the one to give it.
        top1: published accuracy as a fraction, or None where nobody published one.
        views: clips and crops per video of that accuracy; None where the source does not say.
        source: who published that accuracy.
        licence: of the weights.
    """

    model: str
    num_segments: int
    dataset: str
    num_classes: int
    drive_id: str
    file_name: str
    top1: float | None
    views: tuple[int, int] | None
    source: str
    licence: str


GSM_README = "README of github.com/swathikirans/GSM"
GSM_INCEPTIONV3 = ReleasedWeights(
    model="gsm_inceptionv3",
    num_segments=8,
    dataset="something-v1",
    num_classes=174,
    drive_id="14OplsnndeyUx7Uf4Hy82enPrhodEYXgo",
    file_name="something-v1_RGB_InceptionV3_avg_segment8_checkpoint.pth.tar",
    top1=0.4901,
    views=(1, 1),
    source=GSM_README,
    licence="not stated; the code is BSD-2-Clause",
)
GSM_BNINCEPTION = replace(
    GSM_INCEPTIONV3,
    model="gsm_bninception",
    drive_id="1rPma02uIiNI-TmL50rOyDDL1JOZeYPzT",
    file_name="something-v1_RGB_BNInception_avg_segment8_checkpoint.pth.tar",
    top1=0.47,
    views=None,
    source="github.com/swathikirans/GSM, issue 2: 47 %",
)
GSF_BNINCEPTION = replace(
    GSM_BNINCEPTION,
    model="gsf_bninception",
    num_segments=16,
    drive_id="1O7uEEYXr333YAnh8T5FPg_w2ejEbDqtK",
    file_name="gsf_bninception_something-v1_16.pth.tar",
    top1=0.5063,
    source="README of github.com/swathikirans/GSF",
    licence="none stated",
)
RELEASED: dict[str, ReleasedWeights] = {
    "gsm_bninception_something-v1_8": GSM_BNINCEPTION,
    "gsm_bninception_something-v1_16": replace(
        GSM_BNINCEPTION,
        num_segments=16,
        drive_id="1anqY7A1PuUq_qleesy8OtTTkm_UoK23r",
        file_name="something-v1_RGB_BNInception_avg_segment16_checkpoint.pth.tar",
        top1=None,
        source="",
    ),
    "gsm_inceptionv3_something-v1_8": GSM_INCEPTIONV3,
    "gsm_inceptionv3_something-v1_12": replace(
        GSM_INCEPTIONV3,
        num_segments=12,
        drive_id="1t_NAC4WNEqA2XMm7bK3TUVByNLgnM5wJ",
        file_name="something-v1_RGB_InceptionV3_avg_segment12_checkpoint.pth.tar",
        top1=0.5158,
    ),
    "gsm_inceptionv3_something-v1_16": replace(
        GSM_INCEPTIONV3,
        num_segments=16,
        drive_id="1JCHJZK7r15yHCUiHKh3XJrrvibEGZhu4",
        file_name="something-v1_RGB_InceptionV3_avg_segment16_checkpoint.pth.tar",
        top1=0.5063,
    ),
    "gsm_inceptionv3_something-v1_24": replace(
        GSM_INCEPTIONV3,
        num_segments=24,
        drive_id="14uqOw9yAAuk9HDIsm-2NI7zEKKf4gstF",
        file_name="something-v1_RGB_InceptionV3_avg_segment24_checkpoint.pth.tar",
        top1=0.4963,
    ),
    "gsm_inceptionv3_diving48_16": replace(
        GSM_INCEPTIONV3,
        num_segments=16,
        dataset="diving48-v1",  # V2 labels the same videos anew
        num_classes=48,
        drive_id="1gbtufj34TA-2Pwxn7RGPWwkvtyK98Zx5",
        file_name="diving48_RGB_InceptionV3_avg_segment16_checkpoint.pth.tar",
        top1=0.3903,
    ),
    "gsf_bninception_something-v1_16": GSF_BNINCEPTION,
    "gsf_inceptionv3_something-v1_16": replace(
        GSF_BNINCEPTION,
        model="gsf_inceptionv3",
        drive_id="1jIymBjJChK5Auj7DRKQuMxGAznJ3pYh9",
        file_name="gsf_inceptionv3_something-v1_16.pth.tar",
        top1=0.5313,
    ),
    "gsf_resnet50_something-v1_16": replace(
        GSF_BNINCEPTION,
        model="gsf_resnet50",
        drive_id="1nSjhYvsu56e7a9d9VasGo7bxOrJ5j05f",
        file_name="gsf_resnet50_something-v1_16.pth.tar",
        top1=0.5154,
    ),
}


def released_weights(name: str, folder: Path | None = None) -> Path:
    """Return a released checkpoint as a weights file in the cache, made from the original once.

    Args:
        name: a name of ``RELEASED``.
        folder: holds originals that were fetched by hand, under their file names; from Google Drive without.

    Raises:
        UnknownName: nothing was released under this name.
        WeightsError: the original cannot be had, is not the one that came first, or is no such checkpoint.
    """
    record = lookup("released weights", name, RELEASED)
    weights = cache_dir() / f"{name}.safetensors"
    original = original_path(name, folder)
    known = read_checksums().get(name, {})
    if folder is not None and not original.is_file():
        raise WeightsError(
            f"{folder} has no {record.file_name}. Save {VIEW.format(record.drive_id)} there under this name."
        )
    made = weights.is_file() and file_sha256(weights) == known.get("weights")
    if made and not original.is_file():  # removed to save space, or never in the cache
        return weights
    fetch_drive(record.drive_id, original)
    digest = file_sha256(original)
    if digest != known.get("original", digest):
        raise WeightsError(
            f"{original} has the SHA-256 {digest}, and {name} had {known['original']} when it first came. "
            f"Remove the file and fetch it again; if it is to replace the first, remove {name} from "
            f"{cache_dir() / CHECKSUMS}."
        )
    if not made:
        convert_released(name, original, digest, weights)
        _write_checksums(read_checksums() | {name: {"original": digest, "weights": file_sha256(weights)}})
    return weights


def original_path(name: str, folder: Path | None = None) -> Path:
    """Return where the original of a released checkpoint is, or will be: in a folder, or in the cache."""
    return (cache_dir() / "originals" if folder is None else Path(folder)) / RELEASED[name].file_name


def convert_released(name: str, original: Path, sha256: str, weights: Path) -> None:
    """Write a released checkpoint, whose digest is known, as a weights file.

    Raises:
        WeightsError: it is no checkpoint, or one of another model than was released under this name.
    """
    record = RELEASED[name]
    try:
        found = read_original(original)
        if (found.model, found.num_classes) != (record.model, record.num_classes):
            raise WeightsError(
                f"{original} is a {found.model} of {found.num_classes} classes, and {name} a {record.model} "
                f"of {record.num_classes}."
            )
        model = build_original(found, record.num_segments, original)
    except WeightsError as error:
        raise WeightsError(f"{error} Remove the file to fetch {name} again.") from error
    save_weights(
        model,
        weights,
        recipe=name,
        accuracy={} if record.top1 is None else {"top1": record.top1},
        trained_on=record.dataset,
        origin={
            "original": record.file_name,
            "address": VIEW.format(record.drive_id),
            "sha256": sha256,
            "accuracy": record.source,
            "licence": record.licence,
        },
    )


def read_checksums() -> dict[str, dict[str, str]]:
    """Return the SHA-256 of every original and its weights, as they were when they first came.

    Raises:
        WeightsError: the file that keeps them is damaged.
    """
    path = cache_dir() / CHECKSUMS
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return {
            name: {"original": row["original"], "weights": row["weights"]} for name, row in values.items()
        }
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{path} is damaged ({error}). Remove it: the files in the cache are then taken as they are."
        ) from error


def _write_checksums(values: dict[str, dict[str, str]]) -> None:
    """Write the checksums, whole or not at all."""
    part = cache_dir() / f".{CHECKSUMS}.{os.getpid()}.part"
    part.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    part.replace(cache_dir() / CHECKSUMS)
