"""Optical flow and RGB difference through every room: frames, crops, networks, training, test, prediction."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import gateshift
from gateshift import cli
from gateshift.data import sampling
from gateshift.data.annotations import read_annotations, write_annotations
from gateshift.data.dataset import EvalViews, TrainClips, read_views
from gateshift.data.flow_folder import FlowFolder
from gateshift.data.records import Annotations, VideoRecord
from gateshift.data.transforms import (
    EvalTransform,
    MultiScaleCrop,
    mirror,
    normalize,
    resize,
    train_transform,
)
from gateshift.engine.config import TrainConfig
from gateshift.engine.device import pick_device
from gateshift.engine.inference import Inference, infer
from gateshift.engine.plan import plan_lines
from gateshift.engine.run import open_run
from gateshift.errors import ConfigError, DataError, GateshiftError, UnknownName, VideoError
from gateshift.models.backbones import BACKBONES
from gateshift.models.classifier import VideoClassifier
from gateshift.models.cost import count_macs
from gateshift.models.modality import convert_first_conv, first_conv
from gateshift.models.registry import create_model
from gateshift.models.weights import load, save_weights
from gateshift.spec import MODALITIES, InputSpec
from videos import write_frames

SPEC = InputSpec(size=32, resize=40, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
CAFFE = InputSpec(size=32, resize=40, mean=(104, 117, 128), std=(1, 1, 1), scale=255, channels="bgr")
CLASSES = ("going left", "going right")
TINY = {
    "recipe": "scratch",
    "model": "gsm_resnet18",
    "pretrained": False,
    "num_segments": 2,
    "size": 32,
    "epochs": 4,
    "warmup_epochs": 1,
    "batch_size": 4,
    "lr": 2e-3,
    "dropout": 0.0,
    "workers": 0,
    "device": "cpu",
}
BRIEF = TINY | {"epochs": 1, "warmup_epochs": 0}


def write_flow(root: Path, video: str, x: int, num_frames: int = 11, seed: int = 0) -> None:
    """Write the flow of a video in which everything moves alike: constant planes, x as given, any y."""
    rng = np.random.default_rng(seed)
    for plane, level in (("flow_x", x), ("flow_y", rng.integers(100, 157))):
        folder = root / plane / video
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(1, num_frames + 1):
            noisy = level + rng.integers(-9, 10, (40, 48))
            Image.fromarray(noisy.astype(np.uint8)).save(folder / f"{i:05d}.jpg", quality=95)


def write_lists(root: Path, splits: dict[str, int], flow: tuple[str, str] | None) -> Annotations:
    """Write lists of as many videos of each class as a split says; return them as they read back."""
    records = {
        split: tuple(
            VideoRecord(f"{split}_{label}_{i}", label, num_frames=12)
            for label in range(2)
            for i in range(count)
        )
        for split, count in splits.items()
    }
    swaps = ((CLASSES[0], CLASSES[1]),)
    template = "{:05d}.jpg"
    write_annotations(Annotations(root, CLASSES, swaps, template, "a test", records, flow=flow), root)
    return read_annotations(root)


@pytest.fixture(scope="module")
def flow_data(tmp_path_factory) -> Path:
    """Videos of 12 frames with their 11 frames of flow, and no RGB: they differ by the sign of x alone."""
    root = tmp_path_factory.mktemp("flow")
    annotations = write_lists(root, {"train": 8, "val": 3}, ("flow_x", "flow_y"))
    for seed, record in enumerate(r for split in annotations.splits.values() for r in split):
        write_flow(root, record.video, (68, 187)[record.label], seed=seed)
    return root


@pytest.fixture(scope="module")
def rgb_data(tmp_path_factory) -> Path:
    """Frame folders of 12 frames."""
    root = tmp_path_factory.mktemp("rgb")
    for split in write_lists(root, {"train": 4, "val": 2}, None).splits.values():
        for record in split:
            write_frames(root / record.video)
    return root


@pytest.fixture(scope="module")
def flow_run(flow_data, tmp_path_factory) -> Path:
    """A run on flow; its weights tell left from right."""
    out = tmp_path_factory.mktemp("runs") / "flow"
    gateshift.train(flow_data, out=out, modality="flow", **TINY)
    return out


def small_model(modality: str, num_segments: int = 2) -> VideoClassifier:
    torch.manual_seed(0)
    model = create_model("gsm_resnet18", 2, num_segments, modality=modality, size=32).eval()
    torch.nn.init.normal_(model.head.weight, std=1.0)
    for name, parameter in model.named_parameters():
        if name.endswith("gate.weight"):
            torch.nn.init.normal_(parameter, std=0.1)
    return model


# What a modality is


def test_specs_of_the_released_modalities():
    assert {name: (m.stack, m.frames_read, m.in_channels) for name, m in MODALITIES.items()} == {
        "rgb": (1, 1, 3),
        "flow": (5, 5, 10),
        "rgbdiff": (5, 6, 15),
    }
    flow, difference = CAFFE.for_modality("flow"), CAFFE.for_modality("rgbdiff")
    assert (flow.mean, flow.std, flow.channels) == ((128.0, 128.0), (1.0, 1.0), "rgb")
    assert (difference.mean, difference.std, difference.channels) == ((0, 0, 0), (1, 1, 1), "bgr")
    assert difference.scale == 255
    assert SPEC.for_modality("flow").mean == pytest.approx((128 / 255, 128 / 255))
    assert SPEC.for_modality("flow").std == pytest.approx(((0.229 + 0.224 + 0.225) / 3,) * 2)
    assert SPEC.for_modality("rgb") == SPEC
    with pytest.raises(UnknownName, match="unknown modality 'flwo'. Did you mean flow"):
        SPEC.for_modality("flwo")


@pytest.mark.parametrize("modality", MODALITIES)
def test_specs_survive_json_and_old_ones_are_rgb(modality):
    spec = CAFFE.for_modality(modality)
    assert InputSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    old = {key: value for key, value in CAFFE.to_json().items() if key != "modality"}
    assert InputSpec.from_json(old) == CAFFE


# Sampling


@pytest.mark.parametrize(
    ("num_frames", "span", "starts"),
    [
        (50, 5, [2, 8, 14, 20, 25, 31, 37, 43]),  # 46 places to start, 5.75 a segment
        (50, 6, [2, 8, 14, 19, 25, 30, 36, 42]),
        (12, 5, [0, 1, 2, 3, 4, 5, 6, 7]),  # the shortest video with a start for each segment
        (5, 5, [0] * 8),
        (3, 6, [0] * 8),
    ],
)
def test_stacks_begin_where_the_released_ones_do(num_frames, span, starts):
    frames = sampling.segment_centres(num_frames, 8, span).reshape(8, span)
    assert frames[:, 0].tolist() == starts
    assert frames.tolist() == [[min(start + i, num_frames - 1) for i in range(span)] for start in starts]


@pytest.mark.parametrize("span", [5, 6])
@pytest.mark.parametrize("num_frames", [1, 2, 5, 6, 9, 13, 14, 50, 121])
def test_stacks_stay_in_the_video(num_frames, span):
    rng = np.random.default_rng(0)
    drawn = np.stack([sampling.random_segments(num_frames, 8, rng, span) for _ in range(200)])
    tested = sampling.test_clips(num_frames, 8, 3, span)
    assert drawn.shape == (200, 8 * span)
    assert tested.shape == (3, 8 * span)
    for frames in (drawn.reshape(200, 8, span), tested.reshape(3, 8, span)):
        assert frames.min() >= 0
        assert frames.max() < num_frames
        steps = np.diff(frames, axis=-1)
        assert ((steps == 1) | ((steps == 0) & (frames[..., 1:] == num_frames - 1))).all()
        if num_frames >= span:
            assert (steps == 1).all()
    length = (num_frames - span + 1) // 8
    if length > 1:  # each start of each segment is drawn, and the rest at the end never is
        assert set(drawn[:, ::span].ravel().tolist()) == set(range(8 * length))


# Frames


def test_flow_is_read_from_its_two_folders(tmp_path):
    write_flow(tmp_path, "a", x=30)
    with FlowFolder(tmp_path / "flow_x" / "a", tmp_path / "flow_y" / "a") as flow:
        frames = flow.read([10, 0, 0])
        assert flow.num_frames == 11
    assert frames.shape == (3, 40, 48, 2)
    assert abs(frames[..., 0].mean() - 30) < 1
    for i, file in ((0, "00011.jpg"), (1, "00001.jpg")):
        for plane in range(2):
            with Image.open(tmp_path / ("flow_x", "flow_y")[plane] / "a" / file) as image:
                assert np.array_equal(frames[i, ..., plane], np.asarray(image))


def test_missing_and_wrong_flow_frames_are_named(tmp_path):
    annotations = Annotations(
        tmp_path, CLASSES, (), None, "", {"val": (VideoRecord("a", 0, 12),)}, flow=("flow_x", "flow_y")
    )
    write_flow(tmp_path, "a", x=30)
    spec = SPEC.for_modality("flow")
    frame = tmp_path / "flow_y" / "a" / "00005.jpg"
    content = frame.read_bytes()
    frame.unlink()
    with pytest.raises(VideoError, match=r"flow_y.a.00005\.jpg|'00005\.jpg' of .*flow_y"):
        EvalViews(annotations, "val", 2, spec)[0]
    frame.write_bytes(content)
    (tmp_path / "flow_x" / "a" / "00011.jpg").unlink()
    without_count = replace(annotations, splits={"val": (VideoRecord("a", 0),)})
    with pytest.raises(VideoError, match="10 frames of flow and .*flow_y.* 11"):
        EvalViews(without_count, "val", 2, spec)[0]
    picture = np.zeros((40, 48, 3), np.uint8)
    picture[..., 0] = 200
    for file in (tmp_path / "flow_x" / "a").iterdir():
        Image.fromarray(picture).save(file)
    with pytest.raises(VideoError, match="is a picture in colours"):
        EvalViews(annotations, "val", 2, spec)[0]
    with pytest.raises(VideoError, match="no frame folder .*flow_x.b"):
        EvalViews(replace(annotations, splits={"val": (VideoRecord("b", 0),)}), "val", 2, spec)[0]


def test_grey_frames_with_three_equal_planes_are_flow(tmp_path):
    write_flow(tmp_path, "a", x=30, num_frames=1)
    file = tmp_path / "flow_x" / "a" / "00001.jpg"
    with Image.open(file) as image:
        grey = np.asarray(image)
    Image.fromarray(grey).convert("RGB").save(file.with_suffix(".png"))
    file.unlink()
    frames = FlowFolder(tmp_path / "flow_x" / "a", tmp_path / "flow_y" / "a").read([0])
    assert np.array_equal(frames[0, ..., 0], grey)


def test_an_action_of_n_frames_has_one_frame_of_flow_less(tmp_path):
    write_flow(tmp_path, "long", x=128, num_frames=20)
    for i in range(20):  # x tells the number of the frame
        pixels = np.full((40, 48), 10 * i, np.uint8)
        Image.fromarray(pixels).save(tmp_path / "flow_x" / "long" / f"{i + 1:05d}.jpg", quality=95)
    for record, last in (
        (VideoRecord("long", 0), 19),
        (VideoRecord("long", 0, num_frames=20), 18),
        (VideoRecord("long.mp4", 0, start_frame=4, end_frame=12), 10),  # the flow of a video file
    ):
        annotations = Annotations(
            tmp_path, CLASSES, (), None, "", {"val": (record,)}, flow=("flow_x", "flow_y")
        )
        views, _, _ = EvalViews(annotations, "val", 40, SPEC.for_modality("flow"))[0]
        seen = (views[0, :, 0::2].float().mean((-2, -1)) / 10).round()  # (T, 5)
        assert (seen.min(), seen.max()) == (record.start_frame, last)
        assert (seen.diff(dim=1) == 1).all()


def test_a_video_of_one_frame_has_no_flow(tmp_path):
    write_flow(tmp_path, "a", x=30, num_frames=1)
    record = VideoRecord("a", 0, num_frames=1)
    annotations = Annotations(tmp_path, CLASSES, (), None, "", {"val": (record,)}, flow=("flow_x", "flow_y"))
    with pytest.raises(VideoError, match="frames 0 to 0 of"):
        EvalViews(annotations, "val", 2, SPEC.for_modality("flow"))[0]


def test_videos_shorter_than_a_stack_repeat_their_last_frame(tmp_path):
    write_flow(tmp_path, "a", x=30, num_frames=2)
    write_frames(tmp_path / "a", num_frames=3)
    record = VideoRecord("a", 0)
    annotations = Annotations(tmp_path, CLASSES, (), None, "", {"val": (record,)}, flow=("flow_x", "flow_y"))
    flow = EvalViews(annotations, "val", 2, SPEC.for_modality("flow"))[0][0]
    assert flow.shape == (1, 2, 10, 32, 32)
    assert all(torch.equal(flow[0, 0, 2:4], flow[0, 0, i : i + 2]) for i in (4, 6, 8))
    assert not torch.equal(flow[0, 0, 0:2], flow[0, 0, 2:4])
    spec = SPEC.for_modality("rgbdiff")
    differences = normalize(EvalViews(annotations, "val", 2, spec)[0][0], spec)
    assert differences[0, 0, :6].abs().max() > 0
    assert differences[0, 0, 6:].abs().max() == 0


def test_flow_folders_are_kept_in_dataset_json(flow_data, tmp_path):
    annotations = read_annotations(flow_data)
    assert annotations.flow == ("flow_x", "flow_y")
    assert read_annotations(write_annotations(annotations, tmp_path / "copy")).flow == annotations.flow
    described = json.loads((tmp_path / "copy" / "dataset.json").read_text())
    for wrong in (["flow_x"], "flow_x", ["a", "a"], ["a", 1]):
        (tmp_path / "copy" / "dataset.json").write_text(json.dumps(described | {"flow": wrong}))
        with pytest.raises(DataError, match="'flow' in .* Expected the folders of x and of y flow"):
            read_annotations(tmp_path / "copy")


def test_rgb_is_never_taken_for_flow(rgb_data, tmp_path):
    annotations = read_annotations(rgb_data)
    spec = SPEC.for_modality("flow")
    with pytest.raises(DataError, match="has no optical flow"):
        EvalViews(annotations, "val", 2, spec)
    with pytest.raises(DataError, match="has no optical flow"):
        TrainClips(annotations, "train", 2, train_transform(spec, {}), 0, "flow")
    with pytest.raises(DataError, match="there is no folder .*elsewhere"):
        EvalViews(replace(annotations, flow=("elsewhere", "flow_y")), "val", 2, spec)
    with pytest.raises(VideoError, match="is a video in RGB"):
        read_views(rgb_data / "val_0_0", 2, spec)
    with pytest.raises(DataError, match="has no optical flow"):
        gateshift.train(rgb_data, out=tmp_path / "run", modality="flow", **BRIEF)
    assert not (tmp_path / "run").exists()


# Crops and mirror images


def test_motion_is_cropped_at_the_released_scales():
    def sides(spec: InputSpec) -> set[int]:
        crop = train_transform(spec, {}, flip=False)
        assert isinstance(crop, MultiScaleCrop)
        return {width for width, _ in crop.crop_sizes(400, 400)}

    assert sides(SPEC) == {400, 350, 300, 264}
    assert sides(SPEC.for_modality("flow")) == sides(SPEC.for_modality("rgbdiff")) == {400, 350, 300}


def test_mirrored_flow_has_x_inverted():
    clip = torch.randint(0, 256, (5, 2, 6, 8), dtype=torch.uint8)
    before = clip.clone()
    mirrored = mirror(clip, "flow")
    assert torch.equal(mirrored[:, 0], 255 - before[:, 0].flip(-1))
    assert torch.equal(mirrored[:, 1], before[:, 1].flip(-1))
    assert torch.equal(clip, before)
    assert torch.equal(mirror(mirrored, "flow"), clip)
    rgb = torch.randint(0, 256, (5, 3, 6, 8), dtype=torch.uint8)
    assert torch.equal(mirror(rgb, "rgbdiff"), rgb.flip(-1))


def test_ten_crops_of_flow_are_five_and_their_mirror_images():
    clip = torch.randint(0, 256, (10, 2, 40, 60), dtype=torch.uint8)
    spec = SPEC.for_modality("flow")
    crops = EvalTransform(spec, 10)(clip)
    assert torch.equal(crops[5:, :, 1], crops[:5, :, 1].flip(-1))
    assert torch.equal(crops[5:, :, 0], 255 - crops[:5, :, 0].flip(-1))


def test_two_planes_are_resized_as_each_alone():
    clip = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 30, 44, 2), dtype=np.uint8))
    clip = clip.permute(0, 3, 1, 2)
    both = resize(clip, (32, 47))
    for plane in range(2):
        alone = resize(clip[:, plane : plane + 1].contiguous(), (32, 47))
        assert (both[:, plane].int() - alone[:, 0].int()).abs().max() <= 1


def test_training_flips_keep_motion_and_label_together(flow_data):
    annotations = read_annotations(flow_data)
    spec = SPEC.for_modality("flow")
    clips = TrainClips(annotations, "train", 2, train_transform(spec, annotations.swap_indices), 0, "flow")
    labels = set()
    for epoch in range(4):
        clips.set_epoch(epoch)
        for i, record in enumerate(clips.records):
            clip, label, _ = clips[i]
            assert clip.shape == (1, 2, 10, 32, 32)
            x = clip[0, :, 0::2].float().mean()
            assert (x > 128) == (label == 1)
            labels.add((record.label, label))
    assert len(labels) == 4  # both classes, mirrored and not


# What the network sees


@pytest.mark.parametrize("spec", [SPEC, CAFFE], ids=["rgb order, 0..1", "bgr order, 0..255"])
def test_rgbdiff_is_the_difference_of_consecutive_frames(rgb_data, spec):
    folder, size = rgb_data / "val_1_0", (40, 53)
    rng = np.random.default_rng(0)
    for file in folder.iterdir():
        Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(file, quality=95)
    seen = normalize(read_views(folder, 2, spec.for_modality("rgbdiff")), spec.for_modality("rgbdiff"))
    assert seen.shape == (1, 2, 15, 32, 32)
    starts = (1, 5)  # 12 frames, 7 starts, 3.5 a segment: the middles of 0..3.5 and of 3.5..7
    for segment, start in enumerate(starts):
        frames = np.stack([np.asarray(Image.open(folder / f"{start + i + 1:05d}.jpg")) for i in range(6)])
        small = resize(torch.from_numpy(frames).permute(0, 3, 1, 2), size)[..., 4:36, 10:42].numpy()
        small = small[:, ::-1] if spec.channels == "bgr" else small
        values = small.astype(np.float64) / 255 * spec.scale
        expected = (values[1:] - values[:-1]).reshape(15, 32, 32)
        np.testing.assert_allclose(seen[0, segment], expected, rtol=0, atol=2e-7 * spec.scale)


def test_flow_at_rest_is_zero_and_x_comes_before_y():
    clips = torch.full((1, 2, 10, 4, 4), 128, dtype=torch.uint8)
    clips[:, :, 1::2] = 255
    for spec, white in ((SPEC, 127 / 255 / 0.226), (CAFFE, 127.0)):
        seen = normalize(clips, spec.for_modality("flow"))
        assert seen[:, :, 0::2].abs().max() == 0
        torch.testing.assert_close(seen[:, :, 1::2], torch.full((1, 2, 5, 4, 4), white))


# Networks


@pytest.mark.parametrize("in_channels", [10, 15])
@pytest.mark.parametrize("name", BACKBONES)
def test_first_convolution_is_the_mean_over_the_colours(name, in_channels):
    net = BACKBONES[name].build()
    conv = first_conv(net)
    assert conv.in_channels == 3
    weight, bias = conv.weight.detach().double(), conv.bias
    convert_first_conv(net, in_channels)
    expected = np.repeat(weight.numpy().mean(1, keepdims=True), in_channels, axis=1)
    np.testing.assert_allclose(first_conv(net).weight.detach().numpy(), expected, rtol=0, atol=1e-7)
    assert first_conv(net) is conv
    assert conv.bias is bias
    x = torch.randn(1, in_channels, 32, 32)
    alike = F.conv2d(
        x.double().sum(1, keepdim=True),
        weight.mean(1, keepdim=True),
        None if bias is None else bias.detach().double(),
        conv.stride,
        conv.padding,
    )
    torch.testing.assert_close(conv(x).double(), alike, rtol=0, atol=1e-4)


@pytest.mark.parametrize("modality", ["flow", "rgbdiff"])
def test_given_weights_are_converted_before_modules_go_in(modality):
    torch.manual_seed(1)
    state = BACKBONES["resnet18"].build().state_dict()
    model = create_model("gsm_resnet18", 2, 2, modality=modality, backbone_state=state)
    converted = model.backbone.state_dict()
    planes = MODALITIES[modality].in_channels
    expected = state["conv1.weight"].double().mean(1, keepdim=True).expand(-1, planes, -1, -1)
    torch.testing.assert_close(converted["conv1.weight"].double(), expected, rtol=0, atol=1e-8)
    assert torch.equal(converted["layer1.0.conv2.conv.weight"], state["layer1.0.conv2.weight"])


def test_random_filters_are_drawn_anew_for_each_plane():
    torch.manual_seed(0)
    model = create_model("tsn_resnet18", 2, 2, modality="flow")
    weight = first_conv(model.backbone).weight
    drawn = BACKBONES["resnet18"].build().conv1.weight
    assert (weight[:, 0] - weight[:, 1]).abs().max() > 0.01
    spread = [filters.square().sum((1, 2, 3)).mean().sqrt().item() for filters in (weight, drawn)]
    assert spread[0] == pytest.approx(spread[1], rel=0.05)


@pytest.mark.parametrize("modality", MODALITIES)
def test_clips_of_a_batch_are_answered_as_alone(modality):
    model = small_model(modality)
    spec = model.input_spec
    assert (model.spec.modality, spec.modality) == (modality, modality)
    clips = torch.randint(0, 256, (3, 2, spec.frames_read * spec.planes, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        batch = model(normalize(clips, spec))
        alone = torch.cat([model(normalize(clip[None], spec)) for clip in clips])
    torch.testing.assert_close(batch, alone, rtol=1e-4, atol=1e-4)
    assert (batch[0] - batch[1]).abs().max() > 1e-3


def test_clips_of_another_modality_are_refused():
    model = small_model("flow")
    with pytest.raises(ValueError, match=r"made for \(B, 2, 10, S, S\): .* planes of flow"):
        model(torch.zeros(1, 2, 3, 32, 32))
    with pytest.raises(UnknownName, match="unknown modality 'depth'"):
        create_model("gsm_resnet18", 2, modality="depth")


def test_cost_differs_by_the_first_convolution_alone():
    macs = {modality: count_macs(small_model(modality)) for modality in MODALITIES}
    per_plane = 2 * 16 * 16 * 64 * 7 * 7  # 2 frames, 16 x 16 places, 64 filters of 7 x 7
    assert macs["flow"] - macs["rgb"] == 7 * per_plane
    assert macs["rgbdiff"] - macs["rgb"] == 12 * per_plane
    answer = gateshift.info("gsm_bninception", modality="flow")
    assert (answer["input"]["modality"], answer["input"]["mean"]) == ("flow", (128.0, 128.0))
    extra = 7 * 7 * 7 * 64
    assert answer["params"] - gateshift.info("gsm_bninception")["params"] == extra


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_takes_every_modality(name):
    answers = [gateshift.info(f"gsm_{name}", modality=modality) for modality in MODALITIES]
    assert [answer["input"]["modality"] for answer in answers] == list(MODALITIES)
    params = [answer["params"] for answer in answers]
    assert (params[1] - params[0]) * 12 == (params[2] - params[0]) * 7 > 0


@pytest.mark.parametrize("modality", MODALITIES)
def test_weights_files_keep_the_modality(modality, tmp_path):
    model = small_model(modality)
    save_weights(model, tmp_path / "weights.safetensors")
    again = load(tmp_path / "weights.safetensors")
    assert (again.spec, again.input_spec) == (model.spec, model.input_spec)
    clips = torch.randn(1, 2, model.input_spec.in_channels, 32, 32)
    assert torch.equal(again(clips), model(clips))


@pytest.mark.parametrize(("modality", "planes"), [("flow", 10), ("rgbdiff", 15), ("rgb", 3)])
def test_released_checkpoints_of_any_modality_convert(modality, planes, tmp_path):
    """The layout of the released code: its names, the prefix of several GPUs, the wider first convolution."""
    torch.manual_seed(0)
    model = create_model("tsn_bninception", 5, 2, modality=modality)
    released = {}
    for name, tensor in model.state_dict().items():
        key = name.replace("head.", "new_fc.").replace("backbone.", "base_model.")
        released[f"module.{key}"] = tensor
    assert released["module.base_model.conv1_7x7_s2.weight"].shape[1] == planes
    torch.save({"epoch": 60, "arch": "BNInception", "state_dict": released}, tmp_path / "released.pth.tar")
    gateshift.convert(tmp_path / "released.pth.tar", tmp_path / "out.safetensors", num_segments=2)
    again = load(tmp_path / "out.safetensors")
    assert (again.spec.modality, again.input_spec) == (modality, model.input_spec)
    clips = torch.randn(1, 2, planes, 64, 64)
    assert torch.equal(again(clips), model.eval()(clips))


def test_checkpoints_with_another_number_of_planes_are_refused(tmp_path):
    model = create_model("tsn_bninception", 5, 2)
    state = {name.replace("head.", "new_fc."): tensor for name, tensor in model.state_dict().items()}
    released = {f"module.{name.replace('backbone.', 'base_model.')}": t for name, t in state.items()}
    stem = "module.base_model.conv1_7x7_s2.weight"
    released[stem] = released[stem].repeat(1, 4, 1, 1)
    torch.save({"state_dict": released}, tmp_path / "released.pth.tar")
    with pytest.raises(GateshiftError, match=r"conv1_7x7_s2\.weight: 64 x 12 x 7 x 7, not 64 x 3 x 7 x 7"):
        gateshift.convert(tmp_path / "released.pth.tar", tmp_path / "out.safetensors", num_segments=2)


# Whole commands


def test_a_network_learns_from_the_sign_of_flow(flow_run, flow_data):
    model = load(flow_run)
    assert (model.spec.modality, model.input_spec.modality) == ("flow", "flow")
    assert json.loads((flow_run / "config.json").read_text())["modality"] == "flow"
    assert "--modality flow" in json.loads((flow_run / "config.json").read_text())["command"]
    for crops, views in ((1, 1), (10, 20)):
        answer = gateshift.test(
            flow_run, flow_data, clips=views // crops, crops=crops, workers=0, device="cpu"
        )
        assert (answer["top1"], answer["videos"], answer["views"]) == (1.0, 6, views)


class NotInverted(EvalViews):
    """Views whose mirror images keep the x flow of the original: what an unaware mirror would show."""

    def __getitem__(self, index):
        views, label, index = super().__getitem__(index)
        flipped = torch.tensor(self.flipped)
        views[flipped, :, 0::2] = 255 - views[flipped, :, 0::2]
        return views, label, index


def test_mirrored_views_vote_right_only_with_inverted_x(flow_run, flow_data):
    model, annotations = load(flow_run), read_annotations(flow_data)
    right = {}
    for kind in (EvalViews, NotInverted):
        views = kind(annotations, "val", 2, model.input_spec, 1, 10)
        mirrored = [i for i, flipped in enumerate(views.flipped) if flipped]

        class MirroredOnly(torch.utils.data.Dataset):
            def __getitem__(self, index, views=views, mirrored=mirrored):
                item, label, index = views[index]
                return item[mirrored], label, index

        how = Inference(pick_device("cpu"), batch_size=5, workers=0, progress=False)
        swaps = annotations.swap_indices
        answers = infer(model, MirroredOnly(), len(views), how, flipped=[True] * 5, label_swaps=swaps)
        right[kind] = [int(answer.logits.argmax()) == answer.label for answer in answers]
    assert all(right[EvalViews])
    assert not any(right[NotInverted])


def test_predict_reads_flow_folders_and_datasets_and_refuses_videos(flow_run, flow_data, rgb_data, tmp_path):
    by_dataset = gateshift.predict(flow_run, [flow_data], workers=0, device="cpu")["predictions"]
    assert len(by_dataset) == 22  # flow_x and flow_y lie in it: all its videos
    for row in by_dataset:
        assert row["error"] is None
        label = int(Path(row["video"]).name.split("_")[1])
        assert row["labels"][0]["label"] == CLASSES[label]
    lists = tmp_path / "lists"
    write_annotations(read_annotations(flow_data), lists)
    by_lists = gateshift.predict(flow_run, [lists], workers=0, device="cpu")["predictions"]
    assert sorted(row["video"] for row in by_lists) == sorted(row["video"] for row in by_dataset)
    one = tmp_path / "one"
    write_flow(one, ".", x=187)
    mixed = gateshift.predict(flow_run, [rgb_data / "val_0_0", one], workers=0, device="cpu")["predictions"]
    assert "holds no optical flow" in mixed[0]["error"]
    assert (mixed[1]["video"], mixed[1]["labels"][0]["label"]) == (str(one), "going right")
    with pytest.raises(DataError, match="holds no optical flow, and this model sees nothing else"):
        gateshift.predict(flow_run, [rgb_data / "val_0_0"], workers=0, device="cpu")
    with pytest.raises(ConfigError, match="top is 0"):
        gateshift.predict(flow_run, [one], top=0, workers=0, device="cpu")
    with pytest.raises(GateshiftError, match="sees optical flow, and explain draws"):
        gateshift.explain(flow_run, rgb_data / "val_0_0", out=tmp_path / "explained")


def test_flow_and_rgb_networks_add_up_in_an_ensemble(flow_run, flow_data, tmp_path):
    both = tmp_path / "both"
    annotations = read_annotations(flow_data)
    flow = (str(flow_data / "flow_x"), str(flow_data / "flow_y"))
    write_annotations(replace(annotations, root=both, flow=flow), both)
    for record in annotations.split("val"):
        write_frames(both / record.video)
    rgb = small_model("rgb")
    rgb.classes = CLASSES
    save_weights(rgb, tmp_path / "rgb.safetensors")
    members = [str(flow_run), str(tmp_path / "rgb.safetensors")]
    answer = gateshift.ensemble(
        members, weights="1,0", data=both, scores=tmp_path / "scores", workers=0, device="cpu"
    )
    assert (answer["videos"], answer["top1"]) == (6, 1.0)


def test_rgbdiff_runs_through_the_command_line(rgb_data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [str(rgb_data), "--modality", "rgbdiff", "--no-pretrained", "--json"]
    for name, value in BRIEF.items():
        if name != "pretrained":
            words += [f"--{name.replace('_', '-')}", str(value)]
    assert cli.run("train", words) == 0
    captured = capsys.readouterr()
    answer = json.loads(captured.out)
    assert answer["run"] == f"runs/{rgb_data.name}-gsm_resnet18-rgbdiff"
    assert "2 stacks of 5 differences of RGB frames" in " ".join(captured.err.split())
    run = tmp_path / answer["run"]
    assert load(run).input_spec.modality == "rgbdiff"
    assert "rgbdiff" in (run / "report.html").read_text()
    tested = gateshift.test(run, rgb_data, crops=10, workers=0, device="cpu")
    assert (tested["videos"], tested["views"]) == (4, 10)
    predicted = gateshift.predict(run, [rgb_data / "val_0_0"], workers=0, device="cpu")["predictions"]
    assert predicted[0]["error"] is None
    explained = gateshift.explain(run, rgb_data / "val_0_0", out=tmp_path / "explained")
    assert Path(explained["gates"]).is_file()
    with pytest.raises(ConfigError, match="modality rgbdiff -> rgb"):
        gateshift.train(rgb_data, out=run, modality="rgb", **BRIEF)


def test_compare_takes_a_modality(rgb_data, tmp_path):
    settings = {name: value for name, value in BRIEF.items() if name != "model"} | {"backbone": "resnet18"}
    out = tmp_path / "compared"
    (row,) = gateshift.compare(rgb_data, temporal="tsn", modality="rgbdiff", out=out, **settings)["results"]
    network = load(row["run"])
    assert (network.spec.name, network.input_spec.modality) == ("tsn_resnet18", "rgbdiff")
    assert row["macs_over_tsn"] == 0


def test_configs_of_runs_before_modalities_are_rgb():
    old = {key: value for key, value in TrainConfig().to_json().items() if key != "modality"}
    assert TrainConfig.from_json(old) == TrainConfig(modality="rgb")


def test_the_plan_shows_the_modality(flow_data, tmp_path):
    config = TrainConfig(model="gsm_resnet18", pretrained=False, modality="flow", num_segments=2)
    run = open_run(tmp_path / "run", config, flow_data)
    lines = dict(plan_lines(run, small_model("flow"), torch.device("cpu"), torch.float32))
    assert "2 stacks of 5 frames of x and y flow, of 32 px" in lines["model"]
    assert lines["mirror"].endswith("x flow turns over too")
    with pytest.raises(UnknownName, match="unknown modality 'optical'"):
        TrainConfig(modality="optical")
