"""The plain route from videos to labels, after the description of the released code and of what its users do.

    python benchmarks/plain_predict.py WEIGHTS VIDEO...

FFmpeg writes every frame of a video as a JPEG file, Pillow opens, resizes and crops the frames that the
network sees, a loop over the channels normalises them, and the plain network (float32, NCHW, eager) takes one
clip after the other. One JSON object goes to stdout: ``logits`` of each video.
"""

import json
import sys
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import torch
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import ColorRange, VideoReformatter
from PIL import Image
from torch import Tensor

from gateshift.apps.measuring.plain_clips import normalize, stack, to_tensor
from gateshift.data.sampling import segment_centres
from gateshift.models.classifier import VideoClassifier
from gateshift.models.weights import load
from gateshift.spec import InputSpec

QUANTISER = 2  # of FFmpeg's JPEG encoder, as in `-qscale:v 2`, which makes frames for training


def main(arguments: Sequence[str]) -> None:
    """Print what the network says of each video."""
    weights, *videos = arguments
    network = load(weights)
    with torch.no_grad():
        logits = [predict_one(network, Path(video)) for video in videos]
    print(json.dumps({"logits": [one.tolist() for one in logits]}))


def predict_one(network: VideoClassifier, video: Path) -> Tensor:
    """Return the logits (K,) of one video."""
    with tempfile.TemporaryDirectory() as folder:
        write_frames(video, Path(folder))
        frames = sorted(Path(folder).iterdir())
        chosen = [frames[index] for index in segment_centres(len(frames), network.num_segments)]
        spec = network.input_spec
        images = [resize_and_crop(Image.open(path).convert("RGB"), spec) for path in chosen]
    clip = normalize(to_tensor(stack(images, bgr=spec.channels == "bgr"), spec.scale), spec)
    return network(clip.unflatten(0, (1, network.num_segments, 3)))[0]


def write_frames(video: Path, folder: Path) -> None:
    """Write every frame of a video as FFmpeg writes JPEG files, decoded on as many threads as it likes."""
    with av.open(str(video)) as source:
        source.streams.video[0].thread_type = "AUTO"
        encoder, reformatter = None, VideoReformatter()
        for number, frame in enumerate(source.decode(video=0)):
            encoder = encoder or jpeg_encoder(frame)
            frame = reformatter.reformat(frame, format="yuvj420p", dst_color_range=ColorRange.JPEG)
            frame.pts, frame.time_base = number, encoder.time_base
            (packet,) = encoder.encode(frame)
            (folder / f"{number:05d}.jpg").write_bytes(bytes(packet))


def jpeg_encoder(frame: av.VideoFrame) -> VideoCodecContext:
    """Return FFmpeg's encoder for frames of this size."""
    encoder = VideoCodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    encoder.qmin = encoder.qmax = QUANTISER
    encoder.thread_count = 1  # several would only delay the packets
    return encoder


def resize_and_crop(image: Image.Image, spec: InputSpec) -> Image.Image:
    """Resize to the short side, and cut the centre."""
    width, height = image.size
    factor = spec.resize / min(width, height)
    width, height = int(width * factor), int(height * factor)
    left, top = round((width - spec.size) / 2), round((height - spec.size) / 2)
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    return resized.crop((left, top, left + spec.size, top + spec.size))


if __name__ == "__main__":
    main(sys.argv[1:])
