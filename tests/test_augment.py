"""Augmentation: one draw for all frames of a clip, as strong as timm's RandAugment; none by default."""

from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from gateshift.data.augment import Augment, ColorJitter, RandomErasing, parse_augment
from gateshift.data.dataset import TrainClips
from gateshift.data.rand_augment import (
    GROWING,
    MEAN_COLOUR,
    OPERATIONS,
    Drawn,
    RandAugment,
    RandPolicy,
    change_frames,
    parse_policy,
)
from gateshift.data.records import Annotations, VideoRecord
from gateshift.data.transforms import Chain, MultiScaleCrop, RandomFlip, train_transform
from gateshift.engine.config import TrainConfig
from gateshift.errors import ConfigError, GateshiftError
from gateshift.spec import InputSpec
from videos import write_frames

RGB = InputSpec(size=32, resize=40, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
ALL = "rand-m9-mstd0.5,jitter=0.4,erase=0.25,mixup=0.2,cutmix=1.0"


def noise(width: int = 48, height: int = 36, num_frames: int = 3, seed: int = 0) -> torch.Tensor:
    frames = np.random.default_rng(seed).integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8)
    return torch.from_numpy(frames).permute(0, 3, 1, 2)


def ramp() -> torch.Tensor:
    """Two frames of 16 x 16 pixels with every grey level once."""
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    return torch.from_numpy(np.stack([levels] * 3, axis=-1)[None].repeat(2, axis=0)).permute(0, 3, 1, 2)


# The text


def test_text_is_parsed():
    policy = RandPolicy(m=9.0, mstd=0.5)
    assert parse_augment(ALL) == Augment(rand=policy, jitter=0.4, erase=0.25, mixup=0.2, cutmix=1.0)
    assert parse_augment("") == parse_augment("none") == parse_augment(" , ") == Augment()
    assert TrainConfig(augment="none") == TrainConfig()  # so that runs of before the setting resume
    assert parse_policy("rand") == RandPolicy(m=10, mstd=0, mmax=10, n=2, p=0.5, inc=False)
    assert parse_policy("rand-n3-m7-p1-mmax20-inc1-mstd101") == RandPolicy(7, 101, 20, 3, 1.0, True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "rand-m9-mst0.5",
            "'mst0.5' in 'rand-m9-mst0.5' is no part of RandAugment. Expected such as rand-m9",
        ),
        ("rand-m9-", "'' in 'rand-m9-' is no part"),
        ("rand-p1.5", "'p1.5' in"),
        ("rand-n2.5", "'n2.5' in"),
        ("rand=9", "'rand=9'"),
        ("jitter", "'jitter' is no augmentation. Expected jitter= and a number above 0, up to 1"),
        ("jitter=1.5", "'jitter=1.5' is no augmentation"),
        ("erase=0", "leave erase out for none"),
        ("mixup=nan", "'mixup=nan'"),
        ("cutmix=much", "'cutmix=much'"),
        ("mixup=0.2,mixup=0.4", "mixup comes twice"),
        ("rand-m9,rand-m5", "rand comes twice"),
        ("mix=0.2", "unknown augmentation 'mix'. Did you mean mixup"),
        ("randm9", "unknown augmentation 'randm9'. Did you mean rand"),
    ],
)
def test_wrong_text_is_refused_before_any_work(text, says):
    with pytest.raises(GateshiftError) as refusal:
        TrainConfig(augment=text)
    assert says in str(refusal.value)


# RandAugment


@pytest.mark.parametrize(
    ("strength", "arguments", "growing"),
    [  # worked out by hand from timm's scales: rand's own, then inc1's
        (0.9, (27, 3, 230, 99, 1.72, 0.27, 0.405), (27, 1, 26, 99, 1.81, 0.27, 0.405)),
        (0.5, (15, 2, 128, 55, 1.0, 0.15, 0.225), (15, 2, 128, 55, 1.45, 0.15, 0.225)),
        (1.0, (30, 4, 256, 110, 1.9, 0.3, 0.45), (30, 1, 0, 110, 1.9, 0.3, 0.45)),
        (0.0, (0, 1, 0, 0, 0.1, 0, 0), (0, 4, 256, 0, 1.0, 0, 0)),
    ],
)
def test_arguments_are_those_of_timm(strength, arguments, growing):
    names = ("rotate", "posterize", "solarize", "solarize_add", "contrast", "shear_x", "translate_y")
    plain = {name: OPERATIONS[name].argument for name in OPERATIONS}
    assert [plain[name](strength, 1) for name in names] == pytest.approx(arguments)
    assert [(plain | GROWING)[name](strength, 1) for name in names] == pytest.approx(growing)
    for name in ("rotate", "shear_y", "translate_x"):
        assert plain[name](strength, -1) == -plain[name](strength, 1)
    assert plain["color"](strength, -1) == plain["color"](strength, 1)
    assert GROWING["color"](strength, -1) == pytest.approx(1 - 0.9 * strength)


def test_there_are_the_15_operations_of_rand_augment():
    assert len(OPERATIONS) == 15
    assert set(GROWING) < set(OPERATIONS)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("strength", [0.0, 0.3, 0.9, 1.0])
def test_every_operation_does_the_same_to_all_frames(name, strength):
    one = noise(num_frames=1)
    clip = one.expand(3, -1, -1, -1)
    drawn = Drawn(name, OPERATIONS[name].argument(strength, -1), Image.Resampling.BICUBIC)
    changed = change_frames(clip, [drawn])
    assert changed.dtype == torch.uint8 and changed.shape == clip.shape
    assert torch.equal(changed, changed[:1].expand_as(changed))
    assert torch.equal(changed[:1], change_frames(one, [drawn]))
    assert torch.equal(one, noise(num_frames=1))  # what was read stays as it was
    assert str(drawn)


@pytest.mark.parametrize(
    ("name", "argument", "level"),
    [
        ("invert", 0, lambda x: 255 - x),
        ("posterize", 3, lambda x: x // 32 * 32),
        ("posterize", 1, lambda x: x // 128 * 128),
        ("solarize", 230, lambda x: np.where(x < 230, x, 255 - x)),
        ("solarize", 256, lambda x: x),
        ("solarize_add", 99, lambda x: np.where(x < 128, x + 99, x)),
        ("autocontrast", 0, lambda x: x),
        ("equalize", 0, lambda x: x),
        ("color", 0.3, lambda x: x),  # grey stays grey
        ("brightness", 0.1, lambda x: x * 0.1),
        ("contrast", 0.1, lambda x: 128 + (x - 128) * 0.1),
    ],
)
def test_levels_change_as_the_operation_says(name, argument, level):
    changed = change_frames(ramp(), [Drawn(name, argument)])
    expected = level(np.arange(256))
    assert np.abs(changed[1, 0].flatten().numpy() - expected).max() <= 1


def test_places_change_as_the_operation_says():
    clip = noise(40, 20)
    left = change_frames(clip, [Drawn("translate_x", 0.25)])
    assert torch.equal(left[..., :30], clip[..., 10:])
    assert (left[0, :, 5, 35] == torch.tensor(MEAN_COLOUR)).all()
    up = change_frames(clip, [Drawn("translate_y", 0.25)])
    assert torch.equal(up[..., :15, :], clip[..., 5:, :])
    half = change_frames(clip, [Drawn("rotate", 90.0), Drawn("rotate", 90.0)])[..., 10:30]
    assert torch.equal(half, clip.flip((-1, -2))[..., 10:30])
    sheared = change_frames(clip, [Drawn("shear_x", 1.0)])
    assert (sheared[0, :, 15, 35] == torch.tensor(MEAN_COLOUR)).all()  # the further down, the further in


def test_operations_are_drawn_as_often_and_as_strong_as_they_should():
    transform = RandAugment(parse_policy("rand-m9-mstd0.5"))
    rng = np.random.default_rng(0)
    draws = [transform.draw(rng) for _ in range(4000)]
    counts = Counter(map(len, draws))
    assert counts[0] == pytest.approx(1000, abs=100)
    assert counts[1] == pytest.approx(2000, abs=130)
    done = [drawn for draw in draws for drawn in draw]
    each = Counter(drawn.name for drawn in done)
    assert set(each) == set(OPERATIONS)
    assert max(each.values()) < 1.3 * min(each.values())
    turns = np.array([drawn.argument for drawn in done if drawn.name == "rotate"])
    assert np.abs(turns).max() == 30  # a magnitude above 10 counts as 10
    assert np.abs(turns).mean() == pytest.approx(27, abs=0.4)
    assert np.abs(turns).std() == pytest.approx(1.5, abs=0.3)
    assert (turns > 0).mean() == pytest.approx(0.5, abs=0.1)
    assert len({drawn.resampling for drawn in done}) == 2


def test_other_policies_draw_other_things():
    rng = np.random.default_rng(0)
    assert all(len(RandAugment(RandPolicy(n=4, p=1.0)).draw(rng)) == 4 for _ in range(20))
    uniform = RandAugment(parse_policy("rand-m10-mstd101-n15-p1"))
    turns = [abs(d.argument) for _ in range(300) for d in uniform.draw(rng) if d.name == "rotate"]
    assert np.mean(turns) == pytest.approx(15, abs=2)
    strong = RandAugment(parse_policy("rand-m20-mmax20-n15-p1"))
    assert max(d.argument for _ in range(20) for d in strong.draw(rng) if d.name == "rotate") == 60


# Jitter and erasing


def test_jitter_is_one_draw_of_three_factors():
    jitter = ColorJitter(0.4)
    rng = np.random.default_rng(0)
    said = []
    for _ in range(200):
        notes = []
        jittered, label = jitter(noise(num_frames=1).expand(2, -1, -1, -1), 3, rng, notes)
        assert torch.equal(jittered[0], jittered[1]) and label == 3
        said.append(notes)
    assert all(
        sorted(note.split()[0] for note in notes) == ["brightness", "colour", "contrast"] for notes in said
    )
    factors = [float(note.split()[-1]) for notes in said for note in notes]
    assert 0.6 <= min(factors) < 0.62 and 1.38 < max(factors) <= 1.4
    assert len({tuple(note.split()[0] for note in notes) for notes in said}) == 6  # in every order


def test_erasing_blanks_one_rectangle_of_all_frames():
    erase = RandomErasing(0.25)
    rng = np.random.default_rng(0)
    clip = torch.full((2, 3, 60, 60), 7, dtype=torch.uint8)
    areas = []
    for _ in range(800):
        erased, _ = erase(clip, 0, rng)
        blank = (erased == torch.tensor(MEAN_COLOUR, dtype=torch.uint8).view(-1, 1, 1)).all(1)  # (T, H, W)
        assert torch.equal(blank[0], blank[1])
        assert (erased == 7).all(1)[~blank].all()
        rows, columns = blank[0].any(1).sum(), blank[0].any(0).sum()
        assert blank[0].sum() == rows * columns
        areas += [int(rows * columns)] if rows else []
    assert len(areas) == pytest.approx(200, abs=40)
    assert min(areas) > 0.015 * 3600 and max(areas) < 0.35 * 3600
    assert (clip == 7).all()


def test_erased_flow_is_at_rest():
    clip = torch.full((2, 2, 30, 30), 7, dtype=torch.uint8)
    erased, _ = RandomErasing(1.0, "flow")(clip, 0, np.random.default_rng(0))
    assert set(erased.unique().tolist()) == {7, 128}


# All of training's augmentation


def test_nothing_is_drawn_without_it():
    plain = Chain(MultiScaleCrop(32), RandomFlip({0: 1}))
    for augment in (None, Augment(), Augment(mixup=0.2, cutmix=1.0)):
        clip, label = train_transform(RGB, {0: 1}, augment=augment)(noise(), 0, np.random.default_rng(5))
        expected, expected_label = plain(noise(), 0, np.random.default_rng(5))
        assert torch.equal(clip, expected) and label == expected_label


def test_steps_come_in_the_order_of_the_released_code():
    chain = train_transform(RGB, {}, augment=parse_augment(ALL))
    kinds = (RandAugment, MultiScaleCrop, RandomFlip, ColorJitter, RandomErasing)
    assert tuple(type(step) for step in chain.steps) == kinds


def test_all_of_it_depends_on_its_generator_alone_and_says_what_it_drew():
    transform = train_transform(RGB, {0: 1, 1: 0}, augment=parse_augment("rand-m9-n6-p1,jitter=0.4,erase=1"))
    results, said = [], []
    for seed in (0, 1):
        torch.manual_seed(seed)
        np.random.seed(seed)
        notes = []
        results.append(transform(noise(), 0, np.random.default_rng(5), notes if seed else None))
        said.append(notes)
    assert torch.equal(results[0][0], results[1][0]) and results[0][1] == results[1][1]
    assert results[0][0].shape == (3, 3, 32, 32)
    assert said[0] == [] and len(said[1]) == 6 + 1 + 3 + 1 + (
        results[1][1] == 1
    )  # a mirror changes the label


@pytest.mark.parametrize(("text", "name"), [("rand-m9", "rand"), ("jitter=0.4", "jitter"), (ALL, "rand")])
def test_flow_refuses_what_would_make_it_something_else(text, name):
    with pytest.raises(ConfigError, match=rf"^{name} in --augment .* right for flow\.$"):
        TrainConfig(augment=text, modality="flow")
    with pytest.raises(ConfigError):
        train_transform(RGB.for_modality("flow"), {}, augment=parse_augment(text))
    assert TrainConfig(augment="erase=0.25,mixup=0.2,cutmix=1", modality="flow")
    assert TrainConfig(augment=text, modality="rgbdiff")


@pytest.mark.parametrize("modality", ["rgb", "rgbdiff"])
def test_clips_of_a_dataset_are_augmented_alike_every_time(modality, tmp_path):
    write_frames(tmp_path / "a", 12)
    annotations = Annotations(tmp_path, ("a", "b"), (), None, "", {"train": (VideoRecord("a", 0),)})
    transform = train_transform(
        RGB.for_modality(modality), {}, augment=parse_augment("rand-m9-n4-p1,erase=1")
    )
    clips = TrainClips(annotations, "train", 2, transform, seed=0, modality=modality)
    first, _, _ = clips[0]
    assert torch.equal(first, clips[0][0])
    assert first.shape[1:3] == (2, {"rgb": 3, "rgbdiff": 18}[modality])
    clips.set_epoch(1)
    assert not torch.equal(first, clips[0][0])
