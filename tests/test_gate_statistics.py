"""How the gates stand while a network trains: the numbers, and that nothing is learnt from looking."""

import pytest
import torch

from gateshift.engine.gate_statistics import gate_modules, measure_gates
from gateshift.engine.run import GATE_COLUMNS
from gateshift.models.registry import create_model


def network(name="gsm_resnet18", **options):
    torch.manual_seed(0)
    model = create_model(name, 3, 4, **options)
    for module in gate_modules(model).values():
        torch.nn.init.normal_(module.gate.weight, std=0.2)
    return model


def clips(count=2):
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randint(256, (1, 4, 3, 32, 32), dtype=torch.uint8, generator=generator) for _ in range(count)
    ]


@pytest.mark.parametrize("name", ["gsm_resnet18", "gsf_resnet18"])
def test_the_numbers_are_those_of_the_gates(name):
    model = network(name).eval()
    seen = {}
    for key, module in gate_modules(model).items():
        module.register_forward_pre_hook(
            lambda module, inputs, key=key: seen.setdefault(key, []).append(module.gates(inputs[0]))
        )
    rows = measure_gates(model, clips(), torch.float32, epoch=7)
    assert [tuple(row) for row in rows] == [GATE_COLUMNS] * (2 * len(seen))
    assert {row["epoch"] for row in rows} == {7}
    for row in rows:
        gates = torch.cat(seen[row["module"]])[:, ["earlier", "later"].index(row["direction"])]
        assert row["open"] == pytest.approx(gates.abs().mean().item(), abs=1e-5)
        assert row["above_half"] == pytest.approx((gates.abs() > 0.5).float().mean().item(), abs=1e-5)
        assert row["sign"] == pytest.approx(gates.sign().mean().item(), abs=1e-5)


def test_the_network_stays_as_it_is():
    model = network().train()
    model.backbone.bn1.eval()
    modes = [module.training for module in model.modules()]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    drawn = torch.random.get_rng_state()
    measure_gates(model, clips(), torch.float32, 1)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_compiled_backbone_is_measured_all_the_same():
    model = network()
    plain = measure_gates(model, clips(), torch.float32, 1)
    model.backbone.forward_features = None  # where `compile_backbone` puts what it compiled
    assert measure_gates(model, clips(), torch.float32, 1) == plain


@pytest.mark.parametrize("name", ["tsn_resnet18", "tsm_resnet18"])
def test_networks_without_gates_have_no_rows(name):
    assert measure_gates(network(name), clips(), torch.float32, 1) == []
