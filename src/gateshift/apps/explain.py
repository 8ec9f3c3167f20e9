"""Where the gates of a trained network look: a picture and a page for one video.

Letters: T frames, S pixels a side of the crop, h w of a gate plane.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gateshift.apps.gate_picture import GateRow, draw_gates
from gateshift.apps.predict import best
from gateshift.data.dataset import read_views
from gateshift.data.transforms import normalize
from gateshift.engine.device import pick_device
from gateshift.engine.gate_statistics import DIRECTIONS, looking_at_gates
from gateshift.engine.pages import data_uri, render_page
from gateshift.errors import GateshiftError
from gateshift.models.classifier import VideoClassifier
from gateshift.models.weights import load
from gateshift.writing import write_atomically, write_text


def explain(
    model: str | Path, video: str | Path, *, out: Path | None = None, device: str = "auto"
) -> dict[str, Any]:
    """Show where the gates of a GSM or GSF model open in a video: a picture and a page.

    Example: `gateshift explain runs/mine clip.mp4`

    Args:
        model: a run directory, a weights file, or the name of published weights.
        video: a video file or a folder of frames.
        out: folder for `gates.png` and `index.html`; `explain` in a run directory, or beside you, without.
        device: auto, cpu, cuda, cuda:N or mps.

    Returns:
        ``gates`` and ``page``, the files; ``labels`` with their probabilities; ``modules``: for each gate its
        module's ``name``, the ``direction`` it moves features in, its mean size ``open`` and its ``largest``.

    Raises:
        GateshiftError: the model has no gates, or sees optical flow.
    """
    network = load(model)
    if network.spec.modality == "flow":
        raise GateshiftError(
            f"'{model}' sees optical flow, and explain draws gates over the frames of a video. "
            "Explain a model made for rgb or rgbdiff."
        )
    clip = read_views(video, network.num_segments, network.input_spec)[0]  # (T, 3, S, S)
    gates, logits = capture_gates(network, clip, pick_device(device))
    if not gates:
        raise GateshiftError(
            f"'{model}' is a {network.spec.name}, which has no gates. Explain a gsm_ or gsf_ model; "
            "`gateshift models 'gs?_*'` lists them."
        )
    classes = network.classes or tuple(str(index) for index in range(len(logits)))
    labels = best(logits, classes, top=5, temperature=network.temperature)
    if out is None:
        out = (Path(model) if Path(model).is_dir() else Path()) / "explain"
    verdict = f": {labels[0]['label']} ({labels[0]['probability']:.0%})" if labels else ""
    rows = gate_rows(gates)
    frames = clip[:, :3].permute(0, 2, 3, 1).numpy()  # of differences, the frame that the first one starts at
    sheet = draw_gates(frames, rows, f"{network.spec.name}{verdict}")
    out.mkdir(parents=True, exist_ok=True)
    picture, page = out / "gates.png", out / "index.html"
    write_atomically(picture, lambda partial: sheet.save(partial, "PNG"))
    answer = {
        "model": network.spec.name,
        "video": str(video),
        "labels": labels,
        "modules": measure_gates(gates),
    }
    shown = {"picture": data_uri(picture.read_bytes(), "image/png"), "num_rows": len(rows)}
    write_text(page, render_page("explain.html.j2", answer | shown))
    return answer | {"gates": str(picture), "page": str(page)}


def capture_gates(
    network: VideoClassifier, clip: Tensor, device: torch.device
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Run a clip (T, 3, S, S) uint8; return the gates (2, T, h, w) of each module, and the logits (K,).

    The network is left on ``device``, in eval mode.
    """
    gates: dict[str, np.ndarray] = {}

    def keep(name: str, planes: Tensor) -> None:
        gates[name] = planes[0].float().cpu().numpy()

    with looking_at_gates(network, keep), torch.inference_mode():
        logits = network.to(device).eval()(normalize(clip[None].to(device), network.input_spec))
    return gates, logits[0].float().cpu().numpy()


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


def gate_rows(gates: dict[str, np.ndarray]) -> list[GateRow]:
    """Return the rows of the picture: of each size of planes, the module whose gates vary most."""
    chosen: dict[tuple[int, ...], str] = {}
    for name in sorted(gates, key=lambda name: float(gates[name].std(axis=(1, 2, 3)).max())):
        chosen[gates[name].shape] = name
    return [
        GateRow(plane, (name, f"moves one frame {direction}", _extent(plane)))
        for name in gates
        if name in chosen.values()
        for direction, plane in zip(DIRECTIONS, gates[name], strict=True)
    ]


def _extent(plane: np.ndarray) -> str:
    height, width = plane.shape[-2:]
    return f"{height} x {width}, gates {plane.min():+.2f} to {plane.max():+.2f}"
