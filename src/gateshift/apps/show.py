"""Augmented clips to look at: what training makes of some videos, beside the frames that they were."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateshift.apps.clip_sheet import draw_sheet, draw_strip
from gateshift.apps.shown_clips import ShownClip, shown_clips
from gateshift.data.annotations import read_annotations
from gateshift.data.locate import locate
from gateshift.engine.config import TrainConfig
from gateshift.engine.pages import data_uri, render_page
from gateshift.engine.recipes import RECIPES, choose_recipe
from gateshift.errors import ConfigError, lookup
from gateshift.models.backbones import BACKBONES
from gateshift.models.registry import MODELS
from gateshift.spec import InputSpec
from gateshift.writing import write_atomically, write_text


def show(
    data: str | Path,
    *,
    recipe: str | None = None,
    augment: str | None = None,
    model: str | None = None,
    num_segments: int | None = None,
    size: int | None = None,
    flip: bool | None = None,
    num_clips: int = 6,
    epoch: int = 1,
    seed: int | None = None,
    out: Path | None = None,
) -> dict[str, Any]:
    """Draw augmented training clips to look at, below the frames that they were made from.

    Example: `gateshift show my_videos --augment rand-m9-mstd0.5,erase=0.25,mixup=0.2`

    The frames, crops and changes are the very ones that `train` draws for these videos with the same seed and
    settings. Only MixUp and CutMix draw anew, because in training they mix whatever is in a batch: here each
    clip with the one above it, and the first with the last.

    Args:
        data: folder of class sub-folders, or a folder with lists, or the URL of shards.
        recipe: named settings to start from; by default what dataset.json names, or else finetune.
        augment: what changes clips beyond crops and flips, as of `train`.
        model: name of the model whose crop size is taken.
        num_segments: frames per clip (T).
        size: side of the square crop in pixels; 0 takes the backbone's own.
        flip: mirror half of the clips, exchanging the labels that a mirror exchanges.
        num_clips: videos to draw, of as many classes as there are.
        epoch: of training, from 1.
        seed: decides the videos and every augmentation.
        out: folder for `sheet.png` and `index.html`; by default shown/<data>.

    Returns:
        ``sheet`` and ``page``, the files; ``clips``: of each its ``video``, its ``class``, its ``labels`` in
        training with their shares, and what was ``drawn``; and the settings.

    Raises:
        GateshiftError: data or settings that cannot be used, each with what to do.
    """
    if num_clips < 1 or epoch < 1:
        raise ConfigError(f"num_clips is {num_clips} and epoch {epoch}; both are 1 or more.")
    data = locate(data)
    recipe = choose_recipe(recipe, data)
    asked = {
        "augment": augment,
        "model": model,
        "num_segments": num_segments,
        "size": size,
        "flip": flip,
        "seed": seed,
    }
    config = RECIPES[recipe].config.changed(asked)
    annotations = read_annotations(data, seed=config.seed, val_fraction=config.val_fraction)
    spec = input_spec(config)
    clips = shown_clips(annotations, config, spec, num_clips, epoch)
    settings = {
        "data": str(data),
        "recipe": recipe,
        "augment": config.augment,
        "num_segments": config.num_segments,
        "size": spec.size,
        "epoch": epoch,
        "seed": config.seed,
    }
    return settings | {"clips": [clip.to_json() for clip in clips]} | write_pages(clips, settings, out)


def write_pages(clips: Sequence[ShownClip], settings: dict[str, Any], out: Path | None) -> dict[str, str]:
    """Write the sheet and the page; return where they are."""
    out = Path(out) if out else Path("shown") / Path(settings["data"]).resolve().name
    sheet, page = out / "sheet.png", out / "index.html"
    title = f"{Path(settings['data']).resolve().name}: {settings['augment'] or 'crops and flips alone'}"
    drawn = draw_sheet(clips, title)
    write_atomically(sheet, lambda partial: drawn.save(partial, "PNG"))
    rows = [clip.to_json() | {"strip": strip_uri(clip)} for clip in clips]
    write_text(page, render_page("show.html.j2", settings | {"title": title, "clips": rows}))
    return {"sheet": str(sheet), "page": str(page)}


def input_spec(config: TrainConfig) -> InputSpec:
    """Return what the config's network wants to see, without building it."""
    spec = BACKBONES[lookup("model", config.model, MODELS).backbone].input_spec
    return spec.with_size(config.size) if config.size else spec


def strip_uri(clip: ShownClip) -> str:
    """Return the picture of a clip as a link that carries it."""
    content = io.BytesIO()
    draw_strip(clip).save(content, "WEBP", quality=90)
    return data_uri(content.getvalue(), "image/webp")
