"""Training with recipes in the place of activations: what it computes, bit for bit, and what it keeps."""

import copy
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gateshift.engine.config import TrainConfig
from gateshift.engine.device import compile_backbone, prepare_for_speed
from gateshift.engine.freezing import choose_learning, hold_norms
from gateshift.models.registry import create_model
from gateshift.nn import recompute
from gateshift.nn.checkpointing import checkpointing
from gateshift.nn.pooling import max_pool, norm_relu_pool, project_then_average
from gateshift.nn.recompute import concat, norm_relu, recomputing

SIZES = {
    "gsm_bninception": 64,
    "gsm_inceptionv3": 128,
    "gsm_resnet18": 32,
    "gsf_resnet50": 32,
    "gsm_mobilenet_v2": 64,
    "gsm_efficientnet_lite0": 64,
}


def step(model, clips, *, recomputed, precision=torch.float32, blocks=False, copied=True):
    """Return loss, gradients and statistics of one step in training."""
    model = copy.deepcopy(model) if copied else model
    torch.manual_seed(0)
    with (
        torch.autocast("cpu", dtype=precision, enabled=precision != torch.float32),
        recomputing() if recomputed else nullcontext(),
        checkpointing() if blocks else nullcontext(),
    ):
        loss = F.cross_entropy(model(clips).float(), torch.arange(len(clips)))
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return loss, gradients, dict(model.named_buffers())


def prepared(name, *, partial_bn=False):
    torch.manual_seed(0)
    size = SIZES[name]
    model = create_model(name, 4, 2, size=size).train()
    for parameter_name, parameter in model.named_parameters():
        if parameter_name.endswith("gate.weight"):
            nn.init.normal_(parameter, std=0.1)
    choose_learning(model, TrainConfig(partial_bn=partial_bn), epoch=0)
    hold_norms(model)
    prepare_for_speed(model)
    return model, torch.randn(2, 2, 3, size, size)


def assert_same(one, other):
    assert torch.equal(one[0], other[0])
    for left, right in zip(one[1:], other[1:], strict=True):
        assert left.keys() == right.keys()
        for name in left:
            assert (left[name] is None) == (right[name] is None), name
            assert left[name] is None or torch.equal(left[name], right[name]), name


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("partial_bn", [False, True])
@pytest.mark.parametrize("name", SIZES)
def test_a_step_is_the_same_to_the_last_bit(name, partial_bn, precision):
    model, clips = prepared(name, partial_bn=partial_bn)
    steps = [step(model, clips, recomputed=recomputed, precision=precision) for recomputed in (False, True)]
    assert_same(*steps)


def test_a_step_without_preparation_is_the_same_up_to_rounding():
    model = create_model("gsm_bninception", 4, 2, size=64).train().double()
    clips = torch.randn(2, 2, 3, 64, 64, dtype=torch.float64)
    plain, recomputed = (step(model, clips, recomputed=recomputed) for recomputed in (False, True))
    torch.testing.assert_close(recomputed[1], plain[1])


def pair():
    """Return two layers and a reader of them in float64."""
    torch.manual_seed(0)
    norms = [nn.BatchNorm2d(4).double(), nn.BatchNorm3d(4).double()]
    for norm in norms:
        nn.init.normal_(norm.weight)
    return nn.ModuleList([*norms, nn.Conv2d(8, 6, 3).double(), nn.Conv2d(6, 2, 1).double()])


def run_pair(layers, x):
    first, second, conv, project = layers
    y = concat([norm_relu(first, x), norm_relu(second, -x)])
    y = conv(y) + conv(y.sin())
    return norm_relu_pool(first, x).sum() + project_then_average(y, project).pow(2).sum()


@pytest.mark.parametrize("frozen", [(), (0,), (0, 1)])
def test_what_is_read_more_than_once_or_frozen_has_the_gradients_of_plain_arithmetic(frozen):
    x = torch.randn(3, 4, 7, 7, dtype=torch.float64)
    gradients = []
    for recomputed in (False, True):
        layers, start = pair(), x.clone().requires_grad_()
        for index in frozen:
            layers[index].eval().requires_grad_(False)
        with recomputing() if recomputed else nullcontext():
            loss = run_pair(layers, start)
        loss.backward()
        gradients.append([start.grad, *(parameter.grad for parameter in layers.parameters())])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(recomputed, plain)


def test_a_second_backward_pass_is_refused():
    with recomputing():
        loss = run_pair(pair(), torch.randn(3, 4, 7, 7, dtype=torch.float64, requires_grad=True))
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="given up by a backward pass"):
        loss.backward()


@pytest.mark.parametrize("size", [7, 8])
def test_projecting_first_is_the_same(size):
    x = torch.randn(2, 16, size, size, dtype=torch.float64)
    conv = nn.Conv2d(16, 4, 1).double()
    torch.testing.assert_close(project_then_average(x, conv), conv(F.avg_pool2d(x, 3, stride=1, padding=1)))


@pytest.mark.parametrize(
    ("name", "branch"),
    [
        ("gsm_bninception", ""),
        ("gsm_bninception", "pool_proj"),
        ("gsm_inceptionv3", ""),
        ("gsm_inceptionv3", "tower_2"),
    ],
)
def test_a_prepared_network_projects_first_except_before_a_temporal_module(name, branch):
    model = create_model(name, 4, 2, size=SIZES[name], branch=branch).double().eval()
    clips = torch.randn(1, 2, 3, SIZES[name], SIZES[name], dtype=torch.float64)
    plain = model(clips)
    prepare_for_speed(model)
    assert model.backbone.project_first
    torch.testing.assert_close(model(clips), plain)


@pytest.mark.parametrize("name", [pytest.param("gsm_bninception", marks=pytest.mark.slow), "gsm_resnet18"])
def test_a_compiled_backbone_takes_the_same_step_up_to_rounding(name):
    model, clips = prepared(name)
    plain = step(model, clips, recomputed=False)
    compile_backbone(model, backend="aot_eager")
    compiled = step(model, clips, recomputed=True, copied=False)
    torch.testing.assert_close(compiled[0], plain[0])
    torch.testing.assert_close(compiled[1]["head.weight"], plain[1]["head.weight"], rtol=1e-4, atol=1e-5)


def test_max_pools_keep_two_bytes_a_place():
    x = torch.randn(2, 4, 9, 9).sin().requires_grad_()
    with recomputing():
        y = max_pool(x, stride=2, ceil_mode=True)
    assert y.grad_fn.saved_tensors[0].dtype == torch.int16


@pytest.mark.parametrize("recomputed", [False, True])
@pytest.mark.parametrize("name", SIZES)
def test_blocks_that_run_again_take_the_same_step(name, recomputed):
    model, clips = prepared(name)
    plain = step(model, clips, recomputed=False)
    assert_same(plain, step(model, clips, recomputed=recomputed, blocks=True))


def tensors_of(kept):
    """Return the tensors that a recipe goes by."""
    if isinstance(kept, torch.Tensor):
        return [kept]
    parts = kept.parts if hasattr(kept, "parts") else [kept.x]
    return [tensor for part in parts for tensor in tensors_of(part)]


def test_a_step_keeps_less_than_half_of_what_it_kept(monkeypatch):
    model, clips = prepared("gsm_bninception")
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    sizes = []
    for context in (nullcontext, recomputing):
        kept = []
        pack = recompute._pack if context is recomputing else torch.Tensor.detach

        def remember(tensor, kept=kept, pack=pack):
            kept.append(pack(tensor))
            return kept[-1]

        monkeypatch.setattr(recompute, "_pack", remember)
        with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor), context():
            model(clips)
        storages = {
            tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
            for item in kept
            for tensor in tensors_of(item)
        }
        sizes.append(sum(size for pointer, size in storages.items() if pointer not in own))
        monkeypatch.undo()
    assert sizes[1] < 0.5 * sizes[0]
