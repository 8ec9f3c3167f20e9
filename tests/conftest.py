"""What all tests share: where real data may lie, and one thread per test process."""

from pathlib import Path

import pytest
import torch

SHARED = Path(__file__).resolve().parents[2] / "shared"

torch.set_num_threads(1)


def shared(name: str) -> Path:
    """Return a file or folder beside the checkout, or skip the test where it is missing."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"needs {name}, which is not beside this checkout")
    return path
