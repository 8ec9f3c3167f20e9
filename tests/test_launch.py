"""The words in which launchers say a process's place, and the learning rate for the batch that they make."""

import json
import os

import pytest
import torch

import gateshift
from gateshift import cli
from gateshift.data.records import Annotations, VideoRecord
from gateshift.engine import device, launch, train
from gateshift.engine.config import TrainConfig
from gateshift.engine.launch import place_among
from gateshift.engine.plan import plan_lines
from gateshift.engine.recipes import RECIPES
from gateshift.engine.run import Run
from gateshift.engine.scaled_lr import batch_note, with_scaled_lr
from gateshift.errors import ConfigError
from gateshift.models.registry import create_model

SLURM = {  # the fifth of six tasks that `srun` started on three machines
    "SLURM_PROCID": "4",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "2",
    "SLURM_NTASKS": "6",
    "SLURM_STEP_NUM_TASKS": "5",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2),1",
    "SLURM_STEP_NODELIST": "node[07-08],gpu1",
    "SLURM_JOB_NODELIST": "login,node[07-08],gpu1",
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_ID": "0",
}
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_RANK": "3",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
}


def test_a_task_of_srun_is_told_what_torchrun_would_tell_it():
    assert place_among(SLURM) == {
        "RANK": "4",
        "WORLD_SIZE": "5",
        "LOCAL_RANK": "0",
        "LOCAL_WORLD_SIZE": "1",
        "MASTER_ADDR": "node07",
        "MASTER_PORT": "16711",
    }


@pytest.mark.parametrize("name", ["MASTER_ADDR", "MASTER_PORT"])
def test_what_the_user_says_of_the_first_machine_stands(name):
    assert place_among(SLURM | {name: "mine"})[name] == "mine"


@pytest.mark.parametrize(
    "environment",
    [
        {},
        SLURM | {"RANK": "1"},  # of torchrun, which srun started
        {name: value for name, value in SLURM.items() if "STEP" not in name},  # a script of sbatch
        SLURM | {"SLURM_STEP_NUM_TASKS": "1"},
        OPEN_MPI | {"OMPI_COMM_WORLD_SIZE": "1"},
    ],
)
def test_no_other_process_is_told_anything(environment):
    assert place_among(environment) == {}


def test_a_process_of_mpirun_is_told_where_the_first_one_is():
    assert place_among(OPEN_MPI)["MASTER_ADDR"] == "127.0.0.1"
    scattered = OPEN_MPI | {"OMPI_COMM_WORLD_LOCAL_SIZE": "2"}
    with pytest.raises(ConfigError, match=r"4 processes on several machines.*-x MASTER_ADDR=HOST"):
        place_among(scattered)
    assert place_among(scattered | {"MASTER_ADDR": "node1"})["MASTER_ADDR"] == "node1"


def test_choosing_a_device_takes_the_place_over_and_only_the_first_process_answers(monkeypatch):
    environment = dict(SLURM)
    monkeypatch.setattr(launch.os, "environ", environment)
    device.pick_device("cpu")
    assert environment["RANK"] == "4" and os.environ is environment
    assert cli.is_follower()
    environment["RANK"] = "0"
    assert not cli.is_follower()


@pytest.mark.parametrize(("optimizer", "lr"), [("sgd", 0.04), ("adamw", 0.02)])
def test_the_learning_rate_follows_the_effective_batch(optimizer, lr):
    recipe = TrainConfig(lr=0.01, batch_size=4, accumulate=2, optimizer=optimizer)
    config = TrainConfig(lr=0.01, batch_size=16, accumulate=2, optimizer=optimizer)
    assert with_scaled_lr(config, recipe).lr == pytest.approx(lr)
    assert with_scaled_lr(recipe, recipe) == recipe
    assert f"--scale-lr would make it {lr:g}" in batch_note(config, recipe)[0]
    assert not batch_note(recipe, recipe)
    own = TrainConfig(lr=0.3, batch_size=16, accumulate=2, optimizer=optimizer)
    assert not batch_note(own, recipe)  # who gives a rate has thought of it


@pytest.mark.parametrize(("given", "expected"), [({}, 1.0), ({"lr": 0.01}, None)])
def test_train_scales_the_recipes_rate_or_the_one_that_is_given(given, expected, monkeypatch, tmp_path):
    asked = {}
    monkeypatch.setattr(train, "train_config", lambda config, data, **how: asked.update(how, config=config))
    (tmp_path / "dataset.json").write_text(json.dumps({}))
    own = RECIPES["finetune"].config
    settings = {"recipe": "finetune", "batch_size": 4 * own.effective_batch, "optimizer": "sgd"}
    gateshift.train(tmp_path, **settings, **given, scale_lr=True)
    before = given.get("lr", own.lr)
    assert asked["config"].lr == pytest.approx(4 * before)
    assert asked["unscaled_lr"] == before
    gateshift.train(tmp_path, **settings, **given)
    assert asked["config"].lr == before and asked["unscaled_lr"] is None


def test_the_plan_says_how_a_scaled_rate_came_about(tmp_path):
    own = RECIPES["paper"].config
    config = with_scaled_lr(TrainConfig(**own.to_json() | {"size": 32, "batch_size": 32}), own)
    videos = (VideoRecord("a", 0), VideoRecord("b", 1))
    annotations = Annotations(tmp_path, ("a", "b"), (), None, "lists", {"train": videos, "val": videos})
    run = Run(tmp_path, config, tmp_path, annotations)
    plan = run, create_model("tsn_resnet18", 2, 2, size=32), torch.device("cpu"), torch.float32, "paper"
    assert dict(plan_lines(*plan, own.lr))["learning rate"].startswith("0.02 = 0.01 x 64/32 clips (sgd")
    assert dict(plan_lines(*plan))["learning rate"].startswith("0.02 (sgd")
