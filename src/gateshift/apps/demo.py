"""The demo: on videos in which no single frame tells the class, an order-blind network stops at one half."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gateshift.apps.explain import explain
from gateshift.apps.predict import predict
from gateshift.data.shapes import CLASSES, PAIRS, generate, render, write_video
from gateshift.engine.loop import train_config
from gateshift.engine.pages import data_uri, render_page
from gateshift.engine.progress import console
from gateshift.engine.recipes import RECIPES
from gateshift.engine.run import TEST_SCORES
from gateshift.engine.test import test
from gateshift.errors import ConfigError
from gateshift.evidence.scores import Scores
from gateshift.writing import write_text

MINUTES = 6.0
VIDEO_SIZE = 64
VIDEOS_PER_CLASS = 100
NEW_CLASS = "pushing something from left to right"
CONFIG = RECIPES["shapes"].config


def demo(
    *,
    out: Path = Path("runs/demo"),
    minutes: float = MINUTES,
    seed: int = 0,
    workers: int = 2,
    device: str = "auto",
) -> dict[str, Any]:
    """Train TSN and GSM on an embedded dataset, test both, predict a new video, show the gates.

    Example: `gateshift demo --out runs/demo`

    The videos come in pairs of classes that are each other's time reversal, so a network that cannot see
    the order of frames gets at most half of them right. TSN and GSM have the same backbone and budget; the
    test videos have shapes and backgrounds that training never saw. The same command again resumes.

    Args:
        out: folder for the data, both runs, `report.html` and `results.json`.
        minutes: about how long both trainings may take on two CPU cores; fewer minutes are fewer epochs.
        seed: decides the videos and both trainings.
        workers: processes that read videos.
        device: auto, cpu, cuda or mps.

    Returns:
        ``tsn`` and ``gsm``, each with ``top1`` and ``pairs_top1`` (the right pair of classes, whichever
        direction); ``seconds``; ``report``; ``predictions`` of the new video.
    """
    if minutes <= 0:
        raise ConfigError(f"minutes is {minutes}; it must be above 0. Leave --minutes out for {MINUTES:g}.")
    started = time.monotonic()
    data = generate(out / "data", seed=seed, train_per_class=VIDEOS_PER_CLASS, size=VIDEO_SIZE)
    epochs = max(CONFIG.warmup_epochs + 1, round(CONFIG.epochs * minutes / MINUTES))
    results: dict[str, Any] = {"seed": seed, "epochs": epochs}
    for temporal in ("tsn", "gsm"):
        run = out / temporal
        model = CONFIG.model.replace("gsm", temporal)
        config = replace(CONFIG, model=model, epochs=epochs, seed=seed)
        train_config(config, data, recipe="shapes", out=run, workers=workers, device=device)
        scores = run / TEST_SCORES
        answer = test(
            run,
            data,
            split="test",
            workers=workers,
            device=device,
            precision=config.precision,
            save_scores=scores,
        )
        results[temporal] = {"top1": answer["top1"], "pairs_top1": pairs_top1(Scores.load(scores))}
        console().print(f"{temporal} on unseen shapes and backgrounds: {answer['top1']:.1%}")

    video = write_new_video(out / "new.mp4", seed)
    results["predictions"] = predict(out / "gsm", [video], device=device)["predictions"]
    results["gates"] = explain(out / "gsm", video, out=out / "explain", device=device)["gates"]
    results["report"] = str(out / "report.html")
    results["seconds"] = round(time.monotonic() - started, 1)
    write_text(out / "report.html", render_page("demo.html.j2", page_values(out, data, results)))
    write_text(out / "results.json", json.dumps(results, indent=2) + "\n")
    return results


def pairs_top1(scores: Scores) -> float:
    """Return how often the predicted class is of the right pair, whichever direction."""
    pair_of = {name: index for index, pair in enumerate(PAIRS) for name in pair}
    pairs = np.array([pair_of[name] for name in scores.classes])
    return float((pairs[scores.logits.argmax(1)] == pairs[scores.labels]).mean())


def write_new_video(path: Path, seed: int) -> Path:
    """Write a video that is in no split, with unseen shapes and background, of NEW_CLASS."""
    frames, _ = render(NEW_CLASS, np.random.default_rng((seed, 1_000_003)), size=VIDEO_SIZE, unseen=True)
    write_video(path, frames)
    return path


def page_values(out: Path, data: Path, results: dict[str, Any]) -> dict[str, Any]:
    """Return all that the page shows."""
    examples = [
        {"name": name, "source": data_uri((data / "test" / name / "00000.mp4").read_bytes(), "video/mp4")}
        for pair in PAIRS
        for name in pair
    ]
    new = {
        "truth": NEW_CLASS,
        "source": data_uri((out / "new.mp4").read_bytes(), "video/mp4"),
        "labels": results["predictions"][0]["labels"][:3],
    }
    return results | {
        "num_classes": len(CLASSES),
        "num_videos": len(Scores.load(out / "gsm" / TEST_SCORES).videos),
        "examples": examples,
        "new": new,
        "gates": data_uri(Path(results["gates"]).read_bytes(), "image/png"),
    }
