"""The `train` command: its settings, and what they mean."""

from pathlib import Path
from typing import Any

from gateshift.data.locate import locate
from gateshift.engine.loop import train_config
from gateshift.engine.recipes import RECIPES, choose_recipe
from gateshift.engine.scaled_lr import with_scaled_lr


def train(
    data: str | Path,
    *,
    recipe: str | None = None,
    out: Path | None = None,
    model: str | None = None,
    temporal_options: str | None = None,
    modality: str | None = None,
    pretrained: bool | None = None,
    num_segments: int | None = None,
    size: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    accumulate: int | None = None,
    optimizer: str | None = None,
    lr: float | None = None,
    backbone_lr: float | None = None,
    gate_lr: float | None = None,
    weight_decay: float | None = None,
    warmup_epochs: int | None = None,
    schedule: str | None = None,
    dropout: float | None = None,
    label_smoothing: float | None = None,
    clip_grad: float | None = None,
    partial_bn: bool | None = None,
    flip: bool | None = None,
    augment: str | None = None,
    val_fraction: float | None = None,
    precision: str | None = None,
    on_bad_video: str | None = None,
    max_bad_videos: int | None = None,
    balance: str | None = None,
    freeze_epochs: int | None = None,
    linear_probe: bool | None = None,
    layer_decay: float | None = None,
    ema: float | None = None,
    early_stop: int | None = None,
    distill: str | None = None,
    distill_weight: float | None = None,
    distill_temperature: float | None = None,
    sync_bn: bool | None = None,
    seed: int | None = None,
    workers: int = 2,
    device: str = "auto",
    checkpoint_activations: bool = False,
    fit_batch: bool = False,
    scale_lr: bool = False,
    compiled: bool = False,
    track: str = "",
) -> dict[str, Any]:
    """Train a network on a folder of videos; the same command again resumes.

    Example: `gateshift train my_videos --model gsm_efficientnet_lite0 --epochs 12`

    Settings that are left out come from the recipe; `gateshift recipes` shows its values. The temporal
    options choose among variants of the temporal modules: gate=tanh, sigmoid or none; num_modules=N (the
    last N, 0 for none; all); interleave=on or off; branch=NAME of an Inception block (bninception: 1x1,
    3x3_reduce, 3x3, double_3x3_reduce, double_3x3_1, double_3x3_2, pool_proj, all; inceptionv3: 1x1, tower,
    tower_1, tower_2, all), where blocks that halve the map and lack the branch keep their released place.

    Augmentation: rand-m9-mstd0.5 is RandAugment in timm's spelling (also n, p, mmax, inc1), on whole frames
    before crop and flip; jitter changes brightness, contrast and colour by up to that share; erase is the
    probability that a rectangle is blanked; mixup and cutmix mix clips and labels of a batch, with shares
    from Beta distributions of that parameter. All frames of a clip change alike, and none of it is on in
    validation. `gateshift show` draws it.

    A video that cannot be read ends training, which the same command resumes once it is mended. With
    --on-bad-video skip it is left out of each epoch in which its frames cannot be read, never replaced;
    bad_videos.csv in the run names it. These two settings may change when a run is resumed.

    Args:
        data: folder of class sub-folders (optionally under train/ val/ test/), or a folder with lists; also
            the URL of a folder of shards.
        recipe: named settings to start from; by default what dataset.json names, or else finetune.
        out: run directory; by default runs/<data>-<model>, with the modality at its end if it is not rgb.
        model: name of the model; see `gateshift models`.
        temporal_options: of its temporal modules, such as gate=sigmoid,num_modules=5.
        modality: what the network sees: rgb; flow, from the frames that dataset.json names; or rgbdiff,
            differences of consecutive frames.
        pretrained: start from the backbone's ImageNet weights.
        num_segments: frames per clip (T).
        size: side of the square crop in pixels; 0 keeps the backbone's own.
        epochs: passes over the training videos.
        batch_size: clips per forward pass, over all processes together.
        accumulate: batches per optimiser step.
        optimizer: sgd (momentum 0.9) or adamw.
        lr: learning rate at the end of the warm-up.
        backbone_lr: factor on the learning rate of pretrained layers.
        gate_lr: factor on the learning rate of gates.
        weight_decay: on every parameter.
        warmup_epochs: epochs of linear warm-up before the cosine.
        schedule: when the learning rate moves: epoch or step.
        dropout: before the head.
        label_smoothing: share of the target spread over all classes.
        clip_grad: largest gradient norm at an optimiser step; 0 for no clipping.
        partial_bn: freeze every 2D batch-norm of the backbone but the first.
        flip: mirror half of the training clips, exchanging the labels that a mirror exchanges.
        augment: what else changes them, such as rand-m9-mstd0.5,jitter=0.4,erase=0.25,mixup=0.2,cutmix=1;
            "none" for none.
        val_fraction: share of the videos held out where the data has no split of its own.
        precision: auto, float32, bfloat16 or float16.
        on_bad_video: of a video that cannot be read: error stops, skip leaves it out and lists it.
        max_bad_videos: different videos that may be left out of the whole run before it stops.
        balance: of skewed classes: sampling draws each class as often, loss weighs the loss of a video by
            how rare its class is, none does neither.
        freeze_epochs: first epochs in which the backbone's own layers stay as they are, while temporal
            modules and head learn.
        linear_probe: only the head learns; backbone and temporal modules stay as they are, to the end.
        layer_decay: factor on the learning rate from each stage of the backbone to the one before it.
        ema: decay, per optimiser step, of an average of the weights, which is validated and kept in place of
            the last ones, such as 0.99; 0 for none.
        early_stop: epochs without a better validation after which training ends; 0 for never.
        distill: scores of another model on the training videos, whose probabilities are learnt beside the
            labels: `gateshift test TEACHER DATA --split train --save-scores F.npz`.
        distill_weight: share of those probabilities in the loss.
        distill_temperature: what logits of both are divided by before they are compared.
        sync_bn: batch-norms see the batch of all processes: the result does not depend on their number.
        seed: decides the split, the initial weights, the order and every augmentation.
        workers: processes that read videos; the result does not depend on it.
        device: auto, cpu, cuda or mps.
        checkpoint_activations: keep the input of each block only and run it again for the gradients: about a
            third more time, for batches that would not fit. The result does not depend on it.
        fit_batch: take the largest batch per forward pass whose training fits into memory, and accumulate
            as many as keep batch_size x accumulate; found before the first epoch and kept when a run is
            resumed. Batch-norms see that batch, so the result differs from that of another one.
        scale_lr: lr is for the recipe's effective batch (batch_size x accumulate): take it for this one, in
            proportion for sgd, by the square root for adamw.
        compiled: let torch.compile make the backbone's steps faster, after minutes at the start: for long
            runs on a GPU. The result differs by rounding.
        track: programs that get the numbers of the run as they come, such as tensorboard,wandb: tensorboard
            (in the run's folder of that name), wandb or mlflow (where their environment variables say).

    Returns:
        ``run``, ``weights``, ``epochs``, ``stopped_early``, ``top1`` (last epoch), ``best_top1`` (the weights
        that are kept), ``seconds`` and ``clips_per_second`` of training, ``data_wait`` (the share of these
        seconds spent waiting for data) and ``bad_videos`` (how many were left out).

    Raises:
        GateshiftError: data, settings or weights that cannot be used, each with what to do.
        KeyboardInterrupt: stopped by Ctrl-C or SIGTERM, after saving.
    """
    data = locate(data)
    recipe = choose_recipe(recipe, data)
    config = RECIPES[recipe].config.changed(
        {
            "model": model,
            "temporal_options": temporal_options,
            "modality": modality,
            "pretrained": pretrained,
            "num_segments": num_segments,
            "size": size,
            "epochs": epochs,
            "batch_size": batch_size,
            "accumulate": accumulate,
            "optimizer": optimizer,
            "lr": lr,
            "backbone_lr": backbone_lr,
            "gate_lr": gate_lr,
            "weight_decay": weight_decay,
            "warmup_epochs": warmup_epochs,
            "schedule": schedule,
            "dropout": dropout,
            "label_smoothing": label_smoothing,
            "clip_grad": clip_grad,
            "partial_bn": partial_bn,
            "flip": flip,
            "augment": augment,
            "val_fraction": val_fraction,
            "precision": precision,
            "on_bad_video": on_bad_video,
            "max_bad_videos": max_bad_videos,
            "balance": balance,
            "freeze_epochs": freeze_epochs,
            "linear_probe": linear_probe,
            "layer_decay": layer_decay,
            "ema": ema,
            "early_stop": early_stop,
            "distill": distill,
            "distill_weight": distill_weight,
            "distill_temperature": distill_temperature,
            "sync_bn": sync_bn,
            "seed": seed,
        }
    )
    unscaled_lr = config.lr if scale_lr else None
    if scale_lr:
        config = with_scaled_lr(config, RECIPES[recipe].config)
    return train_config(
        config,
        data,
        recipe=recipe,
        out=out,
        workers=workers,
        device=device,
        checkpoint_activations=checkpoint_activations,
        fit_batch=fit_batch,
        compiled=compiled,
        track=track,
        unscaled_lr=unscaled_lr,
    )
