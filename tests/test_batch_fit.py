"""--fit-batch: which batches there are, what memory says to them, and that training goes on as ever."""

import json
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

import gateshift
from gateshift.data.shapes import generate
from gateshift.engine import batch_fit, memory
from gateshift.engine.batch_fit import batches_of, clips_within, fit_to_memory
from gateshift.engine.config import TrainConfig
from gateshift.errors import ConfigError, GateshiftError

TINY = {
    "model": "gsm_resnet18",
    "pretrained": False,
    "num_segments": 4,
    "size": 32,
    "epochs": 1,
    "warmup_epochs": 0,
    "batch_size": 4,
    "accumulate": 2,
}
CONFIG = TrainConfig(**TINY)
MB = 2**20


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "data"
    return generate(folder, train_per_class=1, val_per_class=1, test_per_class=1, size=40)


def process(*, others=(), device="cpu", num_processes=None, **fields):
    """Return an accelerator that gathers its number and those of other processes."""
    return SimpleNamespace(
        device=torch.device(device),
        num_processes=num_processes or 1 + len(others),
        is_main_process=False,
        is_local_main_process=True,
        gather=lambda own: torch.cat([own, own.new_tensor(others)]),
        free_memory=lambda: None,
        **fields,
    )


@pytest.fixture
def linear(monkeypatch):
    """Let a step need 100 MB and 50 more for each clip, and the machine have what the test says."""

    def fake(free):
        monkeypatch.setattr(batch_fit, "available_memory", lambda: free)
        monkeypatch.setattr(
            batch_fit,
            "measured_peaks",
            lambda config, data, most, limit, checkpoint_activations: {
                clips: (100 + 50 * clips) * MB for clips in (1, 2, 4) if clips <= most
            },
        )

    return fake


@pytest.mark.parametrize("num_processes", [1, 2, 3])
def test_batches_keep_the_effective_one_and_divide_over_the_processes(num_processes):
    batches = batches_of(36, num_processes)
    assert batches == sorted(batches, reverse=True) and batches[0] == 36 and batches[-1] == num_processes
    for batch in batches:
        config = batch_fit.rebatched(TrainConfig(batch_size=9, accumulate=4), batch)
        assert config.effective_batch == 36 and config.batch_size % num_processes == 0


def test_processes_that_cannot_share_the_effective_batch_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="batch of 8 clips .* over 3 processes.*multiple of 3"):
        fit_to_memory(CONFIG, tmp_path, tmp_path / "run", process(others=(8, 8)))


@pytest.mark.parametrize(
    ("free", "batch"), [(10_000, 24), (1_000, 12), (400, 4), (375, 4), (374, 3), (200, 1)]
)
def test_a_cpu_gets_the_largest_batch_in_four_fifths_of_its_free_memory(tmp_path, linear, free, batch):
    linear(free * MB)
    config = replace(CONFIG, batch_size=6, accumulate=4)
    fitting = fit_to_memory(config, tmp_path, tmp_path / "run", process())
    assert fitting == replace(config, batch_size=batch, accumulate=24 // batch)


def test_processes_share_the_memory_of_a_machine_and_agree_on_the_smallest(tmp_path, linear, monkeypatch):
    linear(1_000 * MB)  # half of 800 MB is enough for 6 clips each: 12, where 24 do not fit
    config = replace(CONFIG, batch_size=6, accumulate=4)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    for other, batch in ((12, 12), (5, 8), (1, 2)):
        assert fit_to_memory(config, tmp_path, tmp_path / "run", process(others=(other,))).batch_size == batch
    bystander = process(others=(3,))
    bystander.is_local_main_process = False
    assert fit_to_memory(config, tmp_path, tmp_path / "run", bystander).batch_size == 6


def test_where_not_one_clip_fits_the_refusal_says_what_to_do(tmp_path, linear):
    linear(100 * MB)
    with pytest.raises(ConfigError, match="not even one clip of 4 segments.*--checkpoint-activations, a low"):
        fit_to_memory(CONFIG, tmp_path, tmp_path / "run", process())
    with pytest.raises(ConfigError, match="Give a lower --num-segments, a smaller --size"):
        fit_to_memory(CONFIG, tmp_path, tmp_path / "run", process(), checkpoint_activations=True)


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_where_memory_is_not_known_the_batch_stays(tmp_path, monkeypatch, capsys, device):
    monkeypatch.setattr(batch_fit, "available_memory", lambda: None)
    somewhere = process(device=device)
    somewhere.is_main_process = True
    assert fit_to_memory(CONFIG, tmp_path, tmp_path / "run", somewhere) == CONFIG
    assert f"the memory of {device} is not known" in capsys.readouterr().err


def test_the_line_through_noise_is_no_licence():
    assert clips_within(1000, {1: 400, 2: 390, 4: 400}) == 1 + 6
    assert clips_within(1000, {2: 500, 4: 800}) == 5
    assert clips_within(1000, {1: 1001, 2: 1500}) == 0


@pytest.mark.parametrize(
    ("status", "stdout", "peaks"),
    [(0, "[1, 5]\n[2, 7]\n", {1: 5, 2: 7}), (-9, "[1, 5]\n", {1: 5}), (-9, "", {})],
)
def test_of_a_process_that_was_killed_what_it_measured_counts(monkeypatch, tmp_path, status, stdout, peaks):
    asked = []

    def run(words, env, **_):
        asked.append((json.loads(words[-1]), env))
        return subprocess.CompletedProcess(words, status, stdout, "")

    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(subprocess, "run", run)
    assert batch_fit.measured_peaks(CONFIG, tmp_path, 8, 100, False) == peaks
    ((question, environment),) = asked
    assert question["config"]["accumulate"] == 8 and "LOCAL_RANK" not in environment


def test_a_process_that_failed_is_no_full_memory(tmp_path):
    with pytest.raises(GateshiftError, match=r"--fit-batch failed \(.*nowhere"):
        batch_fit.measured_peaks(CONFIG, tmp_path / "nowhere", 8, 100, False)


@pytest.fixture
def asked_of_gpu(monkeypatch):
    """Let steps run on the CPU, where more than 3 clips do not fit; return the numbers that were tried."""
    tried, real = [], batch_fit.forward_backward

    def forward_backward(learner, clips, labels, num_clips):
        tried.append(len(clips))
        if len(clips) > 3:
            raise torch.OutOfMemoryError("no")
        return real(learner, clips, labels, num_clips)

    monkeypatch.setattr(batch_fit, "forward_backward", forward_backward)
    monkeypatch.setattr(batch_fit, "reserve", lambda device: None)
    return tried


def test_a_gpu_gets_the_first_batch_that_passes_and_nothing_stays_of_it(data, asked_of_gpu):
    accelerator = Accelerator(cpu=True)
    assert batch_fit.fit_on_cuda(CONFIG, data, batches_of(8), accelerator, False) == 2
    assert asked_of_gpu == [8, 4, 2, 2, 2, 2]  # two steps of two batches
    assert not accelerator._models


def test_gpus_agree_and_none_may_be_too_small(monkeypatch):
    monkeypatch.setattr(batch_fit, "training_steps", lambda *_: lambda clips: None)
    monkeypatch.setattr(batch_fit, "reserve", lambda device: None)
    others = iter([0, 0, 1])  # another process: whether its steps of 8, 4 and 2 clips pass
    agreeing = process(num_processes=2)
    agreeing.gather = lambda own: torch.cat([own, own.new_tensor([next(others)])])
    assert batch_fit.fit_on_cuda(CONFIG, None, batches_of(8, 2), agreeing, False) == 2
    assert batch_fit.fit_on_cuda(CONFIG, None, batches_of(8, 2), process(others=(0,)), False) == 0


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no"), RuntimeError("CUBLAS_STATUS_ALLOC_FAILED")])
def test_only_full_memory_is_taken_for_it(monkeypatch, error):
    def steps(num_clips):
        raise error if num_clips > 1 else RuntimeError("shapes differ")

    monkeypatch.setattr(batch_fit, "reserve", lambda device: None)
    assert not batch_fit._passes(steps, 2, torch.device("cpu"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        batch_fit._passes(steps, 1, torch.device("cpu"))


def test_steps_are_those_of_training_whatever_is_trained(data):
    config = replace(CONFIG, modality="rgbdiff", augment="mixup=0.2,cutmix=1", partial_bn=True)
    steps = batch_fit.training_steps(config, data, Accelerator(cpu=True), checkpoint_activations=True)
    steps(1)


def test_training_is_that_of_the_batch_and_the_same_command_resumes(data, tmp_path, monkeypatch):
    how = {"workers": 0, "device": "cpu"}
    answer = gateshift.train(data, out=tmp_path / "fitted", **TINY, **how, fit_batch=True)
    recorded = json.loads((tmp_path / "fitted" / "config.json").read_text())
    assert (recorded["batch_size"], recorded["accumulate"]) == (8, 1)
    gateshift.train(data, out=tmp_path / "plain", **{**TINY, "batch_size": 8, "accumulate": 1}, **how)
    fitted, plain = (load_file(tmp_path / run / "weights.safetensors") for run in ("fitted", "plain"))
    assert all(torch.equal(fitted[name], plain[name]) for name in plain)

    monkeypatch.setattr(batch_fit, "available_memory", lambda: 0)  # nothing is measured again
    assert gateshift.train(data, out=tmp_path / "fitted", **TINY, **how, fit_batch=True) == answer
    with pytest.raises(ConfigError, match="other settings: .*accumulate"):
        gateshift.train(data, out=tmp_path / "fitted", **{**TINY, "accumulate": 4}, **how, fit_batch=True)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Return the folder of what a system says of its memory: 8 GB of it are available."""
    (tmp_path / "meminfo").write_text("MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\n")
    (tmp_path / "statm").write_text("3 2 1")
    for name, file in (("MEMINFO", "meminfo"), ("STATM", "statm"), ("CGROUPS", "cgroup"), ("LIMITS", "fs")):
        monkeypatch.setattr(memory, name, tmp_path / file)
    return tmp_path


def limit_memory(folder, names, limit, used, given_back):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\n{names[2]} {given_back}\n")


def test_available_memory_is_what_machine_and_containers_leave(machine):
    assert memory.available_memory() == 8 * 2**30
    (machine / "cgroup").write_text("4:cpu,memory:/job/step\n1:name=systemd:/\n0::/slice/unit\n")
    limit_memory(machine / "fs" / "slice" / "unit", memory.NAMES[""], "max", 900 * MB, 0)
    assert memory.available_memory() == 8 * 2**30
    limit_memory(machine / "fs" / "slice", memory.NAMES[""], 1000 * MB, 900 * MB, 300 * MB)
    assert memory.available_memory() == 400 * MB
    limit_memory(machine / "fs" / "memory" / "job", memory.NAMES["memory"], 500 * MB, 450 * MB, 50 * MB)
    assert memory.available_memory() == 100 * MB
    limit_memory(machine / "fs", memory.NAMES[""], 500 * MB, 600 * MB, 0)
    assert memory.available_memory() == 0


def test_a_system_that_does_not_tell_is_not_guessed_about(machine):
    (machine / "statm").unlink()
    assert memory.available_memory() is None
