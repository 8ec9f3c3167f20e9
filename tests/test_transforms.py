from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from gateshift.data.transforms import (
    Chain,
    EvalTransform,
    MultiScaleCrop,
    RandomFlip,
    crop_corners,
    normalize,
    resize,
    train_transform,
)
from gateshift.errors import ConfigError
from gateshift.spec import InputSpec

CAFFE = InputSpec(size=224, resize=256, mean=(104, 117, 128), std=(1, 1, 1), scale=255.0, channels="bgr")
RGB = InputSpec(size=32, resize=40, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def clip(width: int, height: int, num_frames: int = 2, seed: int = 0) -> torch.Tensor:
    frames = np.random.default_rng(seed).integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8)
    return torch.from_numpy(frames).permute(0, 3, 1, 2)


def coordinates(width: int, height: int) -> torch.Tensor:
    """A clip whose red is x and whose green is y."""
    frames = np.zeros((1, height, width, 3), dtype=np.uint8)
    frames[..., 0] = np.arange(width)
    frames[..., 1] = np.arange(height)[:, None]
    return torch.from_numpy(frames).permute(0, 3, 1, 2)


def corner(crop: torch.Tensor) -> tuple[int, int]:
    return int(crop[0, 0, 0, 0]), int(crop[0, 1, 0, 0])


@pytest.mark.parametrize(("width", "height"), [(340, 256), (100, 134), (1280, 720)])
def test_resize_is_within_one_grey_level_of_pillow(width, height):
    smooth = np.asarray(
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize(
            (width, height)
        )
    )
    resized = resize(torch.from_numpy(smooth.copy())[None].permute(0, 3, 1, 2), (224, 200))
    expected = np.asarray(Image.fromarray(smooth).resize((200, 224), Image.Resampling.BILINEAR))
    assert np.abs(resized[0].permute(1, 2, 0).numpy().astype(int) - expected).max() <= 1


def test_crop_sizes_are_the_released_ones():
    sizes = MultiScaleCrop(224).crop_sizes(340, 256)
    assert len(sizes) == 10  # 4 square, and 2 x 3 one step apart
    assert set(sizes) == {
        *((256, 256), (224, 224), (192, 192), (168, 168)),
        *((256, 224), (224, 256), (224, 192), (192, 224), (192, 168), (168, 192)),
    }


@pytest.mark.parametrize(
    ("width", "height"), [(1, 1), (2, 300), (222, 223), (223, 340), (320, 240), (40, 34)]
)
@pytest.mark.parametrize("size", [32, 224])
def test_crop_never_exceeds_the_frame(width, height, size):
    crop = MultiScaleCrop(size)
    assert all(1 <= w <= width and 1 <= h <= height for w, h in crop.crop_sizes(width, height))
    rng = np.random.default_rng(0)
    for _ in range(20):
        cropped, label = crop(clip(width, height), 3, rng)
        assert cropped.shape == (2, 3, size, size)
        assert label == 3


def test_crop_takes_13_places_evenly():
    crop = MultiScaleCrop(64, scales=(0.64,))
    rng = np.random.default_rng(0)
    places = Counter(corner(crop(coordinates(140, 100), 0, rng)[0]) for _ in range(2600))
    assert len(places) == 13  # 64 of 140 x 100 leaves 76 x 36: steps of 19 and 9
    assert {x for x, _ in places} == {0, 19, 38, 57, 76}
    assert {y for _, y in places} == {0, 9, 18, 27, 36}
    assert (19, 9) in places
    assert (19, 18) not in places
    assert min(places.values()) > 130


def test_flip_swaps_labels_half_of_the_time():
    flip = RandomFlip({1: 2, 2: 1})
    rng = np.random.default_rng(0)
    original = clip(8, 6)
    seen = Counter()
    for _ in range(400):
        for label in (0, 1, 2):
            flipped, new = flip(original, label, rng)
            mirrored = torch.equal(flipped, original.flip(-1))
            assert mirrored or torch.equal(flipped, original)
            assert new == ({0: 0, 1: 2, 2: 1}[label] if mirrored else label)
            seen[mirrored] += 1
    assert abs(seen[True] - 600) < 90


def test_train_transform_depends_on_its_generator_alone():
    transform = train_transform(RGB, {0: 1, 1: 0})
    assert isinstance(transform, Chain)
    torch.manual_seed(0)
    first = transform(clip(60, 50), 0, np.random.default_rng(5))
    torch.manual_seed(1)
    np.random.seed(1)
    again = transform(clip(60, 50), 0, np.random.default_rng(5))
    assert torch.equal(first[0], again[0])
    assert first[1] == again[1]


@pytest.mark.parametrize(
    ("width", "height", "resized"),
    [
        (340, 256, (340, 256)),
        (176, 100, (450, 256)),
        (100, 176, (256, 450)),
        (1, 1, (256, 256)),
        (720, 1280, (256, 455)),
    ],
)
def test_short_side_is_resized_and_proportions_kept(width, height, resized):
    assert EvalTransform(CAFFE).resize(clip(width, height)).shape[-2:] == resized[::-1]


@pytest.mark.parametrize(
    ("width", "height", "num_crops", "corners"),
    [
        (101, 40, 1, [(34, 4)]),  # round(69 / 2) is 34, as torchvision's centre crop has it
        (40, 101, 1, [(4, 34)]),
        (101, 40, 3, [(0, 4), (34, 4), (68, 4)]),  # 69 to spare: steps of 17, so the last pixel is in none
        (40, 101, 3, [(4, 0), (4, 34), (4, 68)]),
        (101, 40, 5, [(0, 0), (68, 0), (0, 8), (68, 8), (34, 4)]),
        (40, 101, 5, [(0, 0), (8, 0), (0, 68), (8, 68), (4, 34)]),
        (40, 40, 5, [(0, 0), (8, 0), (0, 8), (8, 8), (4, 4)]),
    ],
)
def test_crops_lie_where_they_should(width, height, num_crops, corners):
    crops = EvalTransform(RGB, num_crops)(coordinates(width, height))
    assert crops.shape == (num_crops, 1, 3, 32, 32)
    assert [corner(crop) for crop in crops] == corners


@pytest.mark.parametrize(  # worked out by hand from the released rule, for frames of the real datasets
    ("width", "height", "size", "num_crops", "corners"),
    [
        (427, 256, 224, 1, [(102, 16)]),  # 101.5 rounds to the even one
        (427, 256, 224, 3, [(0, 16), (100, 16), (200, 16)]),
        (427, 256, 224, 5, [(0, 0), (200, 0), (0, 32), (200, 32), (100, 16)]),
        (256, 455, 224, 3, [(16, 0), (16, 114), (16, 228)]),
        (256, 455, 224, 10, [(0, 0), (32, 0), (0, 228), (32, 228), (16, 114)]),
        (348, 261, 229, 5, [(0, 0), (116, 0), (0, 32), (116, 32), (58, 16)]),
        (341, 256, 256, 3, [(0, 0), (42, 0), (84, 0)]),  # full resolution
        (256, 341, 256, 3, [(0, 0), (0, 42), (0, 84)]),
    ],
)
def test_corners_are_the_released_ones(width, height, size, num_crops, corners):
    assert crop_corners(width, height, size, num_crops) == corners


@pytest.mark.parametrize(("width", "height"), [(54, 40), (40, 54)])
def test_three_crops_at_full_resolution_show_the_whole_short_side(width, height):
    crops = EvalTransform(RGB.at_full_resolution(), 3)(coordinates(width, height))
    assert crops.shape == (3, 1, 3, 40, 40)
    places = [(0, 0), (6, 0), (12, 0)]
    assert [corner(crop) for crop in crops] == (places if width > height else [(y, x) for x, y in places])


def test_ten_crops_are_five_and_their_mirror_images():
    ten = EvalTransform(RGB, 10)
    crops = ten(clip(60, 40))
    assert ten.flipped == (False,) * 5 + (True,) * 5
    assert torch.equal(crops[:5], EvalTransform(RGB, 5)(clip(60, 40)))
    assert torch.equal(crops[5:], crops[:5].flip(-1))
    assert not any(EvalTransform(RGB, 3).flipped)


def test_refuses_impossible_crops():
    with pytest.raises(ConfigError, match="cannot take 4 crops"):
        EvalTransform(RGB, 4)
    with pytest.raises(ConfigError, match="resized to 20 pixels have no crop of 32"):
        EvalTransform(InputSpec(size=32, resize=20, mean=(0, 0, 0), std=(1, 1, 1)))


def test_normalize_is_exact():
    clips = torch.arange(256, dtype=torch.uint8).repeat(3, 1).view(1, 1, 3, 16, 16)
    clips[:, :, 0] = 7  # red
    caffe = normalize(clips, CAFFE)
    assert caffe.dtype == torch.float32
    assert torch.equal(caffe[0, 0, 0].flatten(), torch.arange(256.0) - 104)  # blue comes first
    assert torch.equal(caffe[0, 0, 2], torch.full((16, 16), 7.0 - 128))
    values = torch.arange(256, dtype=torch.float32) / 255
    torch.testing.assert_close(
        normalize(clips, RGB)[0, 0, 1].flatten(), (values - 0.456) / 0.224, rtol=0, atol=0
    )
    assert torch.equal(
        clips[0, 0, 0], torch.full((16, 16), 7, dtype=torch.uint8)
    )  # the bytes stay as they were
