"""Files as the authors' code wrote them, for the tests of what reads them: their names, drawn values."""

import json
import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

GOLDEN = Path(__file__).parent / "golden"


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


@cache
def recorded_state(case: str) -> Mapping[str, Tensor]:
    """Return the state dict that a recorded network had, under the names of the recording."""
    with np.load(GOLDEN / f"{case}.npz") as golden:
        shapes = [tuple(json.loads(shape)) for shape in golden["shapes"].tolist()]
        return {key: fill(key, shape) for key, shape in zip(golden["keys"].tolist(), shapes, strict=True)}


def released_name(key: str) -> str:
    """Return the name of a tensor in a whole model trained on several GPUs; some were recorded without."""
    if key.startswith("fc."):
        return f"module.new_{key}"
    return f"module.{key}" if key.startswith(("base_model.", "new_fc.")) else f"module.base_model.{key}"


def released_state(case: str) -> dict[str, Tensor]:
    """Return the state dict of a recorded network as a released file has it."""
    return {released_name(key): value for key, value in recorded_state(case).items()}


def gsm_file(state: dict[str, Tensor], case: str = "BNInception") -> dict[str, object]:
    """Return what the GSM code saves."""
    best = torch.tensor(47.0)
    return {"epoch": 60, "arch": case, "state_dict": state, "best_prec1": best, "lr": [1e-5]}
