"""The authors' released networks, converted and run here, answer as they did there (see golden/README.md)."""

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
from released_files import GOLDEN, gsm_file, recorded_state, released_name, released_state

CASES = {  # file -> name of the model here, frames, size
    "BNInception_tsn_t8_s224_seed1": ("tsn_bninception", 8, 224),
    "BNInception_gsm_t8_s224_seed1": ("gsm_bninception", 8, 224),
    "InceptionV3_gsm_t8_s229_seed1": ("gsm_inceptionv3", 8, 229),
    "bninception_gsf100_t8_s224_seed1": ("gsf_bninception", 8, 224),
    "resnet50_gsf25_t8_s224_seed1": ("gsf_resnet50", 8, 224),
}
TRAIN_CASE = "BNInception_gsm_t4_s224_seed3_train"


def clip(seed: int, num_segments: int, size: int) -> Tensor:
    """Draw a normalised clip (1, T, 3, S, S) of coarse blocks and noise, in float64."""
    rng = np.random.Generator(np.random.PCG64(seed))
    coarse = rng.normal(0, 2, (3 * num_segments, 8, 8))
    block = -(-size // 8)
    frames = np.kron(coarse, np.ones((1, block, block)))[:, :size, :size]
    frames = frames + rng.normal(0, 0.5, frames.shape)
    return torch.from_numpy(frames.astype(np.float32)).double().view(1, num_segments, 3, size, size)


def converted(case: str, num_segments: int, folder: Path) -> VideoClassifier:
    """Write the recorded network as a released file, convert it, load it; in float64."""
    torch.save(gsm_file(released_state(case), case), folder / "released.pth.tar")
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


def no_dropout(key: str) -> str:
    """Return the name of a tensor in a model trained without dropout, whose head is the backbone's own."""
    head = "top_cls_fc" if "InceptionV3" in key else "fc"
    return released_name(key).replace("module.new_fc", f"module.base_model.{head}")


LAYOUTS = {  # what wraps the tensors of a recorded network, and what it calls them
    "gsm": lambda state: gsm_file({released_name(key): value for key, value in state.items()}),
    "gsf": lambda state: {
        "epoch": 60,
        "model_state_dict": {released_name(key): value for key, value in state.items()},
        "scaler_state_dict": {"scale": 65536.0, "growth_tracker": 0},
        "best_prec1": torch.tensor(50.6),
    },
    "no dropout": lambda state: gsm_file({no_dropout(key): value for key, value in state.items()}),
    "as recorded": lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}},
    "bare": lambda state: state,
}


@pytest.mark.parametrize("case", ["InceptionV3_gsm_t8_s229_seed1", "resnet50_gsf25_t8_s224_seed1"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_tensors(layout: str, case: str, tmp_path: Path) -> None:
    name, num_segments, _ = CASES[case]
    state = recorded_state(case)
    torch.save(LAYOUTS[layout](state), tmp_path / "released.pth.tar")
    convert(tmp_path / "released.pth.tar", tmp_path / "weights.safetensors", num_segments=num_segments)
    model = load(tmp_path / "weights.safetensors")
    assert model.spec.name == name
    ours = model.state_dict()
    gated = [str(point["name"]) for point in model.insertion_points]
    assert len(ours) == len(state)
    for key, value in state.items():
        assert torch.equal(ours[rename(PREFIX.sub("", key), gated)], value), key


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


def test_training_has_the_released_loss_and_gradients(tmp_path: Path) -> None:
    loss, exact, recorded_loss, recorded = training_gradients(torch.float64, tmp_path)
    assert loss == pytest.approx(recorded_loss, rel=1e-6)
    counted = recorded > 1e-5  # a conv's bias before its norm has no gradient but rounding
    np.testing.assert_allclose(exact[~counted], 0, atol=1e-5)
    assert np.linalg.norm(exact) == pytest.approx(np.linalg.norm(recorded), rel=1e-4)
    # The recording is float32, and rounding alone moves single norms by up to 2 %. On a machine like the one
    # that recorded it the norms agree to 1.2e-6; on any, the recording has to be as near to the exact norms
    # as the machine's own float32 is.
    loss, rounded, _, _ = training_gradients(torch.float32, tmp_path)
    assert loss == pytest.approx(recorded_loss, rel=1e-6)
    ours, theirs = (np.abs(norms / exact - 1)[counted] for norms in (rounded, recorded))
    for share in (50, 90, 100):
        assert np.percentile(theirs, share) < 3 * np.percentile(ours, share), share
