"""The authors' released networks, converted and run here, answer as they did there (see golden/README.md)."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gateshift.apps.convert import convert
from gateshift.models.classifier import VideoClassifier
from gateshift.models.legacy import PREFIX, rename
from gateshift.models.weights import load

GOLDEN = Path(__file__).parent / "golden"
CASES = {  # file -> name of the model here, frames, size
    "BNInception_tsn_t8_s224_seed1": ("tsn_bninception", 8, 224),
    "BNInception_gsm_t8_s224_seed1": ("gsm_bninception", 8, 224),
    "InceptionV3_gsm_t8_s229_seed1": ("gsm_inceptionv3", 8, 229),
    "bninception_gsf100_t8_s224_seed1": ("gsf_bninception", 8, 224),
    "resnet50_gsf25_t8_s224_seed1": ("gsf_resnet50", 8, 224),
}
TRAIN_CASE = "BNInception_gsm_t4_s224_seed3_train"


def fill(key: str, shape: tuple[int, ...]) -> Tensor:
    """Draw the tensor of a released state dict from the CRC-32 of its name."""
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.long)
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    if key.endswith("running_var"):
        values = rng.uniform(0.5, 1.5, shape)
    elif key.endswith((".bias", "running_mean")):
        values = rng.normal(0, 0.1, shape)
    elif len(shape) == 1:
        values = rng.uniform(0.4, 1.0, shape)
    else:
        values = rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape)
    return torch.from_numpy(values.astype(np.float32))


def clip(seed: int, num_segments: int, size: int) -> Tensor:
    """Draw a normalised clip (1, T, 3, S, S) of coarse blocks and noise, in float64."""
    rng = np.random.Generator(np.random.PCG64(seed))
    coarse = rng.normal(0, 2, (3 * num_segments, 8, 8))
    block = -(-size // 8)
    frames = np.kron(coarse, np.ones((1, block, block)))[:, :size, :size]
    frames = frames + rng.normal(0, 0.5, frames.shape)
    return torch.from_numpy(frames.astype(np.float32)).double().view(1, num_segments, 3, size, size)


def released_state(golden: np.lib.npyio.NpzFile) -> dict[str, Tensor]:
    """Return the state dict that the recorded network had."""
    shapes = [tuple(json.loads(shape)) for shape in golden["shapes"].tolist()]
    return {key: fill(key, shape) for key, shape in zip(golden["keys"].tolist(), shapes, strict=True)}


def released_name(key: str) -> str:
    """Return the name of a tensor in a whole model trained on several GPUs; some were recorded without."""
    if key.startswith("fc."):
        return f"module.new_{key}"
    return f"module.{key}" if key.startswith(("base_model.", "new_fc.")) else f"module.base_model.{key}"


def converted(case: str, num_segments: int, folder: Path) -> VideoClassifier:
    """Write the recorded network as a released file, convert it, load it; in float64."""
    with np.load(GOLDEN / f"{case}.npz") as golden:
        state = {released_name(key): value for key, value in released_state(golden).items()}
    released = {
        "epoch": 60,
        "arch": case,
        "state_dict": state,
        "best_prec1": torch.tensor(47.0),
        "lr": [1e-5],
    }
    torch.save(released, folder / "released.pth.tar")
    convert(folder / "released.pth.tar", folder / "weights.safetensors", num_segments=num_segments)
    return load(folder / "weights.safetensors").double()


@pytest.mark.parametrize("case", CASES)
def test_converted_models_answer_as_the_released_code(case: str, tmp_path: Path) -> None:
    name, num_segments, size = CASES[case]
    model = converted(case, num_segments, tmp_path)
    assert model.spec.name == name
    assert model.input_spec.size == size
    with torch.inference_mode():
        logits = model.head(model.forward_features(clip(1, num_segments, size)))[0].numpy()  # (T, K)
    with np.load(GOLDEN / f"{case}.npz") as golden:
        logits, recorded = (
            (logits, golden["frame_logits"])
            if "frame_logits" in golden
            else (logits.mean(0), golden["logits"][0])
        )
    scale = max(1, np.abs(recorded).max())  # logits are below 1, but for the ResNet's of 23
    np.testing.assert_allclose(logits, recorded, rtol=0, atol=2e-6 * scale)


def test_a_reversed_clip_is_told_apart(tmp_path: Path) -> None:
    model = converted("BNInception_gsm_t8_s224_seed1", 8, tmp_path)
    with np.load(GOLDEN / "BNInception_gsm_t8_s224_seed1.npz") as golden, torch.inference_mode():
        logits = model(clip(1, 8, 224).flip(1)).numpy()
        assert np.abs(logits - golden["logits"]).max() > 1e-3


def training_gradients(dtype: torch.dtype, folder: Path) -> tuple[float, np.ndarray, float, np.ndarray]:
    """Return loss and gradient norms of the recorded training case, and what was recorded."""
    model = converted(TRAIN_CASE, 4, folder).train().to(dtype)
    model.dropout.p = 0.0
    clips = torch.cat([clip(seed, 4, 224) for seed in (3, 4)]).to(dtype)
    loss = F.cross_entropy(model(clips), torch.tensor([3, 7]))
    loss.backward()
    with np.load(GOLDEN / f"{TRAIN_CASE}.npz") as golden:
        recorded_loss = float(golden["loss"])
        recorded = dict(zip(golden["grad_names"].tolist(), golden["grad_norms"], strict=True))
    gated = [str(point["name"]) for point in model.insertion_points]
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert len(gradients) == len(recorded)
    norms = [gradients[rename(PREFIX.sub("", name), gated)].norm().item() for name in recorded]
    return loss.item(), np.array(norms), recorded_loss, np.array(list(recorded.values()))


@pytest.mark.skipif(
    not torch.__version__.startswith("2.13") or torch.backends.cpu.get_cpu_capability() != "AVX512",
    reason="recorded in float32 with the kernels of torch 2.13 for AVX-512",
)
def test_training_has_the_released_loss_and_gradients(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)  # as it was recorded: another number adds in another order
    try:
        loss, norms, recorded_loss, recorded = training_gradients(torch.float32, tmp_path)
    finally:
        torch.set_num_threads(threads)
    assert loss == pytest.approx(recorded_loss, rel=1e-6)
    # A conv's bias before its norm has no gradient but rounding.
    np.testing.assert_allclose(norms, recorded, rtol=1e-5, atol=1e-5)


def test_training_in_float64_is_as_near_as_float32_allows(tmp_path: Path) -> None:
    loss, norms, recorded_loss, recorded = training_gradients(torch.float64, tmp_path)
    assert loss == pytest.approx(recorded_loss, rel=1e-6)
    # Rounding alone moves this network by as much: 2 % at worst, where a gradient is a small rest.
    np.testing.assert_allclose(norms, recorded, rtol=0.03, atol=1e-5)
    counted = recorded > 1e-5
    assert np.median(np.abs(norms - recorded)[counted] / recorded[counted]) < 5e-4
    assert np.linalg.norm(norms) == pytest.approx(np.linalg.norm(recorded), rel=1e-4)
