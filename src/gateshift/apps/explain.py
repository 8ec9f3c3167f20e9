"""``gateshift explain``: where a network looks in one video, which frames decide, and what its gates do.

Letters: T frames, K classes, h w of maps and gate planes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gateshift.apps.explaining.gate_picture import GateRow, draw_gates
from gateshift.apps.explaining.looking import Look, class_map, evidence, look
from gateshift.apps.explaining.overlay import Layer, frame_uri, packed, write_overlay
from gateshift.apps.predict import best, class_names
from gateshift.data.dataset import read_views
from gateshift.engine.device import pick_device
from gateshift.engine.gate_statistics import DIRECTIONS
from gateshift.engine.pages import data_uri, render_page
from gateshift.errors import GateshiftError, lookup
from gateshift.evidence.calibration import calibrated
from gateshift.models.classifier import VideoClassifier
from gateshift.models.weights import load
from gateshift.writing import write_atomically, write_text

TOP = 5  # classes that are shown where none is named


def explain(
    model: str | Path,
    video: str | Path,
    *,
    classes: str | Sequence[str] | None = None,
    out: Path | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Show where a model looks in a video, which frames decide, and what its gates do: pictures and a page.

    Example: `gateshift explain runs/mine clip.mp4 --classes "pushing something,pulling something"`

    Of every model: where each class is seen, in space and time, and what each frame says. Of TSM, GSM and
    GSF: what the model would say if one of its modules, or all, let no frame reach another. Of GSM and GSF:
    how much of each place moves one frame earlier and later, module by module.

    Args:
        model: a run directory, a weights file, or the name of published weights.
        video: a video file or a folder of frames.
        classes: names of classes to show, with commas between; the five likeliest where not given.
        out: folder for `index.html`, `gates.png` and `overlay.mp4`; `explain` in a run directory, or beside
            you, without.
        device: auto, cpu, cuda, cuda:N or mps.

    Returns:
        ``page``, ``gates`` (the contact sheet) and ``overlay``, the files; ``labels`` with their
        probabilities; ``classes``: for each one shown its ``class``, ``probability`` and ``evidence`` of each
        frame; ``modules``: for each gate its module's ``name``, the ``direction`` it moves features in, its
        mean size ``open`` and its ``largest``; ``closed``: for each temporal module, and ``all``, the
        ``change`` of the first class's probability with it closed, and the ``label`` that is then first.

    Raises:
        GateshiftError: the model sees optical flow.
        UnknownName: it has no such class.
        VideoError: the video cannot be read.
    """
    network = load(model)
    if network.spec.modality == "flow":
        raise GateshiftError(
            f"'{model}' sees optical flow, and explain draws maps over the frames of a video. "
            "Explain a model made for rgb or rgbdiff."
        )
    names = class_names(network)
    asked = chosen_classes(classes, names)
    clip = read_views(video, network.num_segments, network.input_spec)[0]  # (T, 3, S, S)
    seen = look(network, clip, pick_device(device))
    labels = best(seen.logits, names, TOP, network.temperature)
    if not labels:
        raise GateshiftError(f"the output of '{model}' is not finite for '{video}'. Train or fetch it again.")
    shown = asked or [names.index(row["label"]) for row in labels]
    answer = {
        "model": network.spec.name,
        "video": str(video),
        "labels": labels,
        "classes": [as_class(seen, label, names, network) for label in shown],
        "modules": measure_gates(seen.gates),
        "closed": measure_closing(seen, names, network),
    }
    if out is None:
        out = (Path(model) if Path(model).is_dir() else Path()) / "explain"
    return answer | write_files(out, seen, shown, names, answer)


def chosen_classes(classes: str | Sequence[str] | None, names: Sequence[str]) -> list[int]:
    """Return the indices of named classes.

    Raises:
        UnknownName: there is no such class.
    """
    if classes is None:
        return []
    if isinstance(classes, str):
        whole = classes.strip()
        classes = [whole] if whole in names else whole.split(",")  # a name may have commas of its own
    index_of = {name: index for index, name in enumerate(names)}
    return [lookup("class", name.strip(), index_of) for name in classes]


def as_class(look: Look, label: int, names: Sequence[str], network: VideoClassifier) -> dict[str, Any]:
    """Return what there is to say of one class."""
    return {
        "class": names[label],
        "probability": float(calibrated(look.logits, network.temperature)[label]),
        "evidence": [float(share) for share in evidence(look, label)],
    }


def measure_gates(gates: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Return how open each gate is, module by module."""
    return [
        {
            "name": name,
            "direction": direction,
            "open": float(np.abs(plane).mean()),
            "largest": float(np.abs(plane).max()),
        }
        for name, planes in gates.items()
        for direction, plane in zip(DIRECTIONS, planes, strict=True)
    ]


def measure_closing(look: Look, names: Sequence[str], network: VideoClassifier) -> list[dict[str, Any]]:
    """Return what closing each temporal module, and all of them, does to the first class."""
    said = dict(look.closed)
    if look.all_closed is not None:
        said["all"] = look.all_closed
    first = int(look.logits.argmax())
    before = calibrated(look.logits, network.temperature)[first]
    return [
        {
            "name": name,
            "change": float(calibrated(logits, network.temperature)[first] - before),
            "label": names[int(logits.argmax())],
        }
        for name, logits in said.items()
    ]


def write_files(
    out: Path, look: Look, shown: Sequence[int], names: Sequence[str], answer: dict[str, Any]
) -> dict[str, str]:
    """Write the contact sheet, the video and the page; return their paths."""
    out.mkdir(parents=True, exist_ok=True)
    sheet_file, video_file, page = (out / name for name in ("gates.png", "overlay.mp4", "index.html"))
    first = answer["labels"][0]
    rows = sheet_rows(look, names)
    sheet = draw_gates(look.frames, rows, f"{answer['model']}: {first['label']} ({first['probability']:.0%})")
    write_atomically(sheet_file, lambda partial: sheet.save(partial, "PNG"))
    layers = page_layers(look, shown, names)
    beside = video_layers(layers)
    captions = ["what the network sees", *(f"{layer.group}: {layer.name}" for layer in beside)]
    write_overlay(video_file, look.frames, beside, captions)
    values = {
        **answer,
        "picture": data_uri(sheet_file.read_bytes(), "image/png"),
        "film": data_uri(video_file.read_bytes(), "video/mp4"),
        "frames": [frame_uri(frame) for frame in look.frames],
        "layers": [packed(layer) for layer in layers],
        "num_rows": len(rows),
    }
    write_text(page, render_page("explain.html.j2", values))
    return {"gates": str(sheet_file), "overlay": str(video_file), "page": str(page)}


def sheet_rows(look: Look, names: Sequence[str]) -> list[GateRow]:
    """Return the rows of the contact sheet: where the first class is seen, then gates.

    Of each size of gate planes it has the module whose gates vary most.
    """
    first = int(look.logits.argmax())
    rows = [GateRow(class_map(look, first), (names[first], "more than other classes", "orange: here"))]
    chosen: dict[tuple[int, ...], str] = {}
    for name in sorted(look.gates, key=lambda name: float(look.gates[name].std(axis=(1, 2, 3)).max())):
        chosen[look.gates[name].shape] = name
    return rows + [
        GateRow(plane, (name, f"moves one frame {direction}", _extent(plane)))
        for name in look.gates
        if name in chosen.values()
        for direction, plane in zip(DIRECTIONS, look.gates[name], strict=True)
    ]


def _extent(plane: np.ndarray) -> str:
    height, width = plane.shape[-2:]
    return f"{height} x {width}, gates {plane.min():+.2f} to {plane.max():+.2f}"


def page_layers(look: Look, shown: Sequence[int], names: Sequence[str]) -> list[Layer]:
    """Return all maps that the page can lay over the frames."""
    classes = [Layer(names[label], "where it sees", class_map(look, label)) for label in shown]
    return classes + [
        Layer(name, f"moves one frame {direction}", plane)
        for name, planes in look.gates.items()
        for direction, plane in zip(DIRECTIONS, planes, strict=True)
    ]


def video_layers(layers: Sequence[Layer]) -> list[Layer]:
    """Return what the video shows: the first class, and the gates that vary most, one of each direction."""
    gates = [[layer for layer in layers if layer.group.endswith(direction)] for direction in DIRECTIONS]
    return [layers[0], *(max(of, key=lambda layer: float(layer.values.std())) for of in gates if of)]
