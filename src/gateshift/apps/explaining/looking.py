"""What a network does with one clip: its gates, where it sees a class, which frames speak for it.

Letters: T frames, S pixels a side of the crop, D features, K classes, h w of maps and gate planes.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from gateshift.data.transforms import normalize
from gateshift.engine.gate_statistics import exchanging_modules, watching_gates
from gateshift.models.classifier import VideoClassifier
from gateshift.nn import Exchanging, closing


@dataclass(frozen=True, eq=False)
class Look:
    """All that is shown of one clip.

    Attributes:
        frames: what the network saw, (T, S, S, 3) uint8; of differences, the frames that they start at.
        logits: (K,), the mean of ``frame_logits``.
        frame_logits: what each frame says after it has met the others, (T, K).
        maps: where each class is seen: (K, T, h, w), whose means over places and the bias are the frames'
            logits. The head is linear, so that this is its own sum, taken apart (Zhou et al. 2016, class
            activation maps), and nothing is estimated.
        gates: the gate planes (2, T, h, w) of each module that has gates.
        closed: what the network says, (K,), with one temporal module closed; by its name.
        all_closed: with all of them closed; None where there are none.
    """

    frames: np.ndarray
    logits: np.ndarray
    frame_logits: np.ndarray
    maps: np.ndarray
    gates: dict[str, np.ndarray]
    closed: dict[str, np.ndarray]
    all_closed: np.ndarray | None


def look(network: VideoClassifier, clip: Tensor, device: torch.device) -> Look:
    """Run a clip (T, 3, S, S) uint8, once as it is and once for each temporal module that is closed.

    The network is left on ``device``, in eval mode.
    """
    network = network.to(device).eval()
    inputs = normalize(clip[None].to(device), network.input_spec)
    with torch.inference_mode():
        with watching_gates(network) as planes:
            features = network.backbone.forward_features(inputs.flatten(0, 1)).float()  # type: ignore[operator]
        modules = exchanging_modules(network)
        closed = {name: _closed_logits(network, inputs, [module]) for name, module in modules.items()}
        all_closed = _closed_logits(network, inputs, list(modules.values())) if modules else None
        weight, bias = network.head.weight.float(), network.head.bias.float()
        maps = torch.einsum("kd,tdhw->kthw", weight, features)
        frame_logits = (maps.mean((-2, -1)).T + bias).cpu().numpy()
    return Look(
        frames=clip[:, :3].permute(0, 2, 3, 1).numpy(),
        logits=frame_logits.mean(axis=0),
        frame_logits=frame_logits,
        maps=maps.cpu().numpy(),
        gates={name: each[0].float().cpu().numpy() for name, each in planes.items()},
        closed=closed,
        all_closed=all_closed,
    )


def _closed_logits(network: nn.Module, inputs: Tensor, modules: list[Exchanging]) -> np.ndarray:
    with closing(modules):
        said: Tensor = network(inputs)
    return said[0].float().cpu().numpy()


def evidence(look: Look, label: int) -> np.ndarray:
    """Return how much each frame speaks for a class, (T,): its logit less the mean of the frame's logits.

    The mean over frames is by how much the class's logit is above the average of all classes.
    """
    return look.frame_logits[:, label] - look.frame_logits.mean(axis=1)


def class_map(look: Look, label: int) -> np.ndarray:
    """Return where a class is seen more than others are, (T, h, w): its map less the mean of all maps."""
    return look.maps[label] - look.maps.mean(axis=0)
