"""The inception networks at other sizes than the released ones."""

import pytest
import torch
import torch.nn.functional as F

from gateshift.models import bn_inception, inception_v3


@pytest.mark.parametrize(
    ("size", "side"), [(64, 2), (112, 4), (224, 7), (229, 7), (240, 8), (256, 8), (299, 10)]
)
def test_bn_inception_takes_any_size(size: int, side: int) -> None:
    with torch.device("meta"):
        maps = bn_inception.bn_inception().forward_features(torch.empty(2, 3, size, size))
    assert maps.shape == (2, 1024, side, side)


@pytest.mark.parametrize(
    ("size", "side"), [(96, 1), (112, 2), (224, 5), (229, 6), (240, 6), (256, 6), (299, 8)]
)
def test_inception_v3_takes_any_size(size: int, side: int) -> None:
    with torch.device("meta"):
        maps = inception_v3.inception_v3().forward_features(torch.empty(2, 3, size, size))
    assert maps.shape == (2, 2048, side, side)


def test_halving_is_the_released_pool_where_that_one_fits() -> None:
    even, odd = torch.rand(1, 2, 28, 28), torch.rand(1, 2, 27, 27)
    assert torch.equal(bn_inception.halve(even), F.max_pool2d(even, 3, stride=2, ceil_mode=True))
    assert torch.equal(inception_v3.halve(odd), F.max_pool2d(odd, 3, stride=2, ceil_mode=True))
    assert bn_inception.halve(odd).shape[-2:] == (14, 14)
