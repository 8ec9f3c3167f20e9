"""One backbone under each temporal module, or one module in variants: what it learns, and what it costs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from gateshift.apps.compare_page import write_comparison
from gateshift.apps.variants import Variant, choose_variants
from gateshift.data.annotations import read_annotations
from gateshift.data.locate import locate
from gateshift.data.shapes import generate
from gateshift.engine.progress import console
from gateshift.engine.recipes import RECIPES, choose_recipe
from gateshift.engine.run import RUN_SCORES, TEST_SCORES
from gateshift.engine.test import test
from gateshift.engine.train import train
from gateshift.engine.trial import recordings
from gateshift.evidence.metrics import summary
from gateshift.evidence.paired import compare_scores
from gateshift.evidence.scores import Scores
from gateshift.models.classifier import VideoClassifier
from gateshift.models.cost import count_macs, count_parameters
from gateshift.models.registry import MODELS, build_model
from gateshift.models.weights import load

EMBEDDED = Path("shapes")  # stands for the dataset of the demo where no folder has this name


def compare(
    data: str | Path,
    *,
    temporal: str | None = None,
    ablate: str | None = None,
    backbone: str | None = None,
    out: Path | None = None,
    recipe: str | None = None,
    modality: str | None = None,
    pretrained: bool | None = None,
    num_segments: int | None = None,
    size: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    accumulate: int | None = None,
    lr: float | None = None,
    warmup_epochs: int | None = None,
    dropout: float | None = None,
    precision: str | None = None,
    seed: int | None = None,
    workers: int = 2,
    device: str = "auto",
) -> dict[str, Any]:
    """Train one backbone under several temporal modules with the same settings; draw accuracy against cost.

    Example: `gateshift compare shapes --temporal tsn,c3d,s3d,tsm,gsm,gsf --backbone resnet18,mobilenet_v2`

    The same command again goes on where it was stopped; what is trained is only tested. Accuracy is that of
    the best epoch on the test split where the data has one, else on the videos that the epoch was chosen by.
    `compare.html` and `compare.json` are written after every training. Settings that are left out come from
    the recipe.

    An ablation compares variants of gsm instead: `modules`, the last 0, 1, 5 and all of its places (which
    ones the paper took is not known here); `branch`, each branch of the Inception block; `gate`, by tanh,
    sigmoid or none; `interleave`, on and off. Blocks without a branch keep their released place.

    Args:
        data: folder of class sub-folders, or a folder with lists, or the URL of shards; shapes, where there
            is no such folder, is the embedded dataset of the demo, written to runs/shapes.
        temporal: names from tsn, tsm, gsm, gsf, c3d, s3d, with commas between; by default tsn,tsm,gsm. With
            an ablation gsm (the default) or gsf.
        ablate: names from modules, branch, gate, interleave, with commas between.
        backbone: names of 2D networks, such as resnet18, with commas between; by default that of the
            recipe's model.
        out: folder for the page and one run each; by default runs/compare-<data>-<backbone>, or
            runs/ablate-<data>-<backbone>.
        recipe: named settings to start from; by default what dataset.json names, or else finetune.
        modality: what the networks see: rgb, flow or rgbdiff; the runs of another need another `out`.
        pretrained: start from the backbone's ImageNet weights.
        num_segments: frames per clip (T).
        size: side of the square crop in pixels; 0 keeps the backbone's own.
        epochs: passes over the training videos.
        batch_size: clips per forward pass.
        accumulate: batches per optimiser step.
        lr: learning rate at the end of the warm-up.
        warmup_epochs: epochs of linear warm-up before the cosine.
        dropout: before the head.
        precision: auto, float32, bfloat16 or float16.
        seed: decides the split, the initial weights, the order and every augmentation.
        workers: processes that read videos.
        device: auto, cpu, cuda or mps.

    Returns:
        ``results``: for each one ``temporal``, ``options``, ``backbone``, ``top1`` with its 95 %
        ``top1_interval`` on ``videos`` of ``split``, ``gain`` over the first one on the same videos with its
        ``gain_interval`` and ``chance`` (McNemar), ``val_top1`` and ``last_top1`` (validation, of best and
        last epoch),
        ``params``, ``macs`` (of one clip), ``params_over_tsn`` and ``macs_over_tsn`` (what it adds to the
        network without temporal modules, as a fraction), ``clips_per_second`` (of training), ``run``.
        Also ``data``, ``backbone``, ``recipe``, ``page`` and ``waiting``, the names that are not trained yet.

    Raises:
        GateshiftError: a name is not known, or data, settings or weights cannot be used.
        KeyboardInterrupt: stopped by Ctrl-C; what is trained is kept.
    """
    data = locate(data)
    embedded = data == EMBEDDED and not data.exists()
    recipe = "shapes" if embedded and recipe is None else choose_recipe(recipe, data)
    backbone = backbone or MODELS[RECIPES[recipe].config.model].backbone
    variants = choose_variants(temporal, ablate, backbone)
    data = generate(Path("runs") / EMBEDDED) if embedded else data
    settings = {
        "recipe": recipe,
        "modality": modality,
        "pretrained": pretrained,
        "num_segments": num_segments,
        "size": size,
        "epochs": epochs,
        "batch_size": batch_size,
        "accumulate": accumulate,
        "lr": lr,
        "warmup_epochs": warmup_epochs,
        "dropout": dropout,
        "precision": precision,
        "seed": seed,
        "workers": workers,
        "device": device,
    }
    kind = "compare" if ablate is None else "ablate"
    folder = Path(out) if out else Path("runs") / f"{kind}-{data.resolve().name}-{backbone.replace(',', '-')}"
    comparison = {"data": str(data), "backbone": backbone, "recipe": recipe}
    return comparison | run_all(variants, data, folder, settings, comparison)


def run_all(
    variants: Sequence[Variant],
    data: Path,
    folder: Path,
    settings: Mapping[str, Any],
    comparison: Mapping[str, Any],
) -> dict[str, Any]:
    """Train and measure every variant; after each, write the page and return what is on it at the end."""
    split = "test" if "test" in read_annotations(data).splits else "val"
    measured: dict[str, dict[str, Any]] = {}
    results: list[dict[str, Any]] = []
    answer: dict[str, Any] = {}
    for number, variant in enumerate(variants, start=1):
        try:
            console().print(f"\n[bold]{number} of {len(variants)}: {variant.name}")
            if variant.folder not in measured:
                run = folder / variant.folder
                measured[variant.folder] = measure(variant, data, split, run, settings)
        except KeyboardInterrupt as stop:
            so_far = _so_far(number - 1, len(variants), folder)
            raise KeyboardInterrupt(f"{str(stop) or 'stopped;'} {so_far}") from stop
        named = {name: getattr(variant, name) for name in ("temporal", "options", "backbone")}
        row = named | measured[variant.folder]
        results.append(row | beside_first(row, (results or [row])[0]))
        waiting = [later.name for later in variants[number:]]
        answer = {"results": results, "waiting": waiting, "page": str(folder / "compare.html")}
        if PartialState().is_main_process:
            write_comparison(folder, {**comparison, **answer})
    return answer


def beside_first(row: Mapping[str, Any], first: Mapping[str, Any]) -> dict[str, Any]:
    """Return what sets a variant apart from the first one on the same videos, and whether chance could."""
    scores, baseline = (Scores.load(score_file(one)) for one in (row, first))
    found = compare_scores(scores, baseline, recordings(scores))
    return {"gain": found.gain, "gain_interval": list(found.gain_interval), "chance": found.chance}


def score_file(row: Mapping[str, Any]) -> Path:
    """Return the scores that a variant's accuracy is of."""
    return Path(row["run"]) / (TEST_SCORES if row["split"] == "test" else RUN_SCORES)


def _so_far(finished: int, number: int, folder: Path) -> str:
    """Say what a stopped comparison leaves."""
    kept = f"; they are in {folder / 'compare.html'}" if finished else ""
    return f"{finished} of {number} are compared{kept}. The same command goes on."


def measure(
    variant: Variant, data: Path, split: str, run: Path, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Train one variant, or go on where it was stopped; return its accuracy and its cost."""
    trained = train(
        data,
        out=run,
        model=variant.model,
        temporal_options=variant.changes or None,
        **settings,
    )
    network = load(trained["weights"])
    plain = without_temporal(network)
    params, macs = count_parameters(network), count_macs(network)
    return {
        **measure_accuracy(run, data, split, settings),
        "val_top1": trained["best_top1"],
        "last_top1": trained["top1"],
        "params": params,
        "params_over_tsn": params / count_parameters(plain) - 1,
        "macs": macs,
        "macs_over_tsn": macs / count_macs(plain) - 1,
        "clips_per_second": trained["clips_per_second"],
        "run": str(run),
    }


def measure_accuracy(run: Path, data: Path, split: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return accuracy on the test split, or what the best epoch had on the validation videos."""
    if split == "test":
        how = {name: settings[name] for name in ("workers", "device")}
        scores = run / TEST_SCORES
        found = test(
            run,
            data,
            split="test",
            precision=settings["precision"] or RECIPES[settings["recipe"]].config.precision,
            save_scores=scores,
            **how,
        )
        videos = found["videos"]
    else:
        val = Scores.load(run / RUN_SCORES)
        found, videos = summary(val, recordings(val)), len(val.videos)
    return {
        "top1": found["top1"],
        "top1_interval": list(found["top1_interval"]),
        "videos": videos,
        "split": split,
    }


def without_temporal(network: VideoClassifier) -> VideoClassifier:
    """Return the same network without temporal modules (TSN), and without tensors: for its cost."""
    name = f"tsn_{MODELS[network.spec.name].backbone}"
    spec = replace(
        network.spec, name=name, interleave=False, channel_ratio=1.0, gate="tanh", branch="", num_modules=-1
    )
    with torch.device("meta"):
        return build_model(spec, size=network.input_spec.size)
