"""What a folder of lists says beside them: dataset.json, and how it is written with its lists."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateshift.data.frame_folder import template_pattern
from gateshift.data.lists import format_list
from gateshift.data.records import Annotations, Shards
from gateshift.data.remote import is_url
from gateshift.errors import DataError

DESCRIPTION = "dataset.json"
EXPECTED = {  # key -> what its value should be
    "root": "Expected a path, relative to the file or absolute.",
    "classes": "Expected a list of different names in the order of the labels.",
    "label_swaps": 'Expected pairs of names, such as [["Swipe left", "Swipe right"]]; each name in one pair.',
    "frame_template": "Expected a name such as '{:05d}.jpg'.",
    "source": "Expected a text.",
    "flow": 'Expected the folders of x and of y flow, such as ["flow_x", "flow_y"].',
    "dataset": "Expected a name, such as 'something-v1'.",
    "recipe": "Expected a name of `gateshift recipes`.",
    "shards": "Expected a folder, relative to the file or absolute, or a URL.",
}


def _checked_template(frame_template: str) -> str:
    template_pattern(frame_template)  # refuses a template that cannot be filled in
    return frame_template


FORMS: dict[str, Callable[[Any], Any]] = {  # key -> from JSON to the form that Annotations has
    "frame_template": _checked_template,
    "classes": tuple,
    "label_swaps": lambda pairs: tuple((a, b) for a, b in pairs),
    "flow": tuple,
}


def write_annotations(annotations: Annotations, folder: str | Path) -> Path:
    """Write ``dataset.json`` and a CSV a split, which ``read_annotations`` reads back; return the folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for split, records in annotations.splits.items():
        write_text(folder / f"{split}.csv", format_list(records, annotations.classes))
    values = {
        "root": _portable(annotations.root, folder),
        "classes": annotations.classes,
        "label_swaps": annotations.label_swaps,
        "frame_template": annotations.frame_template,
        "source": annotations.source,
        "flow": annotations.flow,
        "dataset": annotations.dataset,
        "recipe": annotations.recipe,
        "shards": annotations.shards and _place_of(annotations.shards, folder),
    }
    write_text(folder / DESCRIPTION, json.dumps(values, indent=2, ensure_ascii=False) + "\n")
    return folder


def _portable(root: Path, folder: Path) -> str:
    """Return a root as ``dataset.json`` in ``folder`` names it: relative where the two move together."""
    root, folder = root.resolve(), folder.resolve()
    return root.relative_to(folder).as_posix() if root.is_relative_to(folder) else str(root)


def _place_of(shards: Shards, folder: Path) -> str:
    """Return the location of shards as ``dataset.json`` in ``folder`` names it."""
    return shards.location if is_url(shards.location) else _portable(Path(shards.location), folder)


def read_description(file: Path) -> dict[str, Any]:
    """Return what a ``dataset.json`` says, its values in the form of ``Annotations``; keys may be missing.

    Raises:
        DataError: the file is no such description.
    """
    values, faults = examine_description(file)
    if faults:
        raise faults[0]
    return values


def examine_description(file: Path) -> tuple[dict[str, Any], list[DataError]]:
    """Return what of a ``dataset.json`` can be used, and what is wrong with the rest."""
    try:
        found = json.loads(file.read_text(encoding="utf-8-sig"))
    except ValueError as error:  # JSON and Unicode errors are both of this kind
        return {}, [_fault(f"'{file}' is not JSON ({error}). Correct it, or remove it.")]
    expected = f"Expected an object with the keys {', '.join(EXPECTED)}."
    if not isinstance(found, dict):
        return {}, [_fault(f"'{file}' holds no object. {expected}")]
    faults = [
        _fault(f"'{file}' holds the key '{key}'. {expected}") for key in sorted(set(found) - set(EXPECTED))
    ]
    values = {}
    for key, value in found.items():
        if key not in EXPECTED or value is None:
            continue
        if not _fits(key, value):
            faults.append(_fault(f"'{key}' in '{file}' is {json.dumps(value)[:60]}. {EXPECTED[key]}"))
            continue
        try:
            values[key] = FORMS.get(key, str)(value)
        except DataError as error:
            faults.append(_fault(str(error)))
    return values, faults


def _fault(message: str) -> DataError:
    return DataError(message, "bad-description")


def _fits(key: str, value: object) -> bool:
    """Tell whether a value of dataset.json has the form that its key wants."""
    if key not in ("classes", "label_swaps", "flow"):
        return isinstance(value, str)
    if not isinstance(value, list) or (key == "flow" and len(value) != 2):
        return False
    if key == "label_swaps":
        if not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
            return False
        value = [name for pair in value for name in pair]
    names = all(isinstance(name, str) for name in value) and len(set(value)) == len(value)
    return names and (key == "label_swaps" or bool(value))


def write_text(path: Path, text: str) -> None:
    """Write a file in one step, so that nobody reads half of it."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
