"""Numbers that tell weights apart."""

import hashlib

import torch
from torch import Tensor, nn

from rrra_haystack.model.encoder import Encoder

# The same numbers after rounding to bfloat16.
_FORMATS = (torch.float32, torch.bfloat16)


def fingerprint(*parts: str | bytes) -> int:
    """A number of 32 bits that tells models apart by the parts that their codes depend on."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return int.from_bytes(digest.digest()[:4], "little")


def weights_fingerprint(encoder: Encoder, projection: nn.Linear | None) -> int:
    """
    A fingerprint of the weights that the codes depend on.

    64 values of each tensor are enough to tell two trainings apart and take no time for any size of encoder.
    They are rounded to bfloat16, so that the format in which the encoder runs makes no difference.

    :param encoder: The encoder.
    :param projection: Of its token states; `None` if they are kept as they are.
    """
    named = dict(encoder.transformer.state_dict())
    if projection is not None:
        named["projection.weight"] = projection.weight
    parts: list[str | bytes] = [str(encoder.layer)]
    for name, tensor in sorted(named.items()):
        parts += [name, str(tuple(tensor.shape)), _some_values(tensor)]
    return fingerprint(*parts)


def encoder_fingerprint(encoder: Encoder) -> str | None:
    """
    Tells encoders apart by their weights alone, whatever the weights are called and whichever layer is observed.

    :param encoder: The encoder.
    :returns: 8 hexadecimal digits; `None` for weights in a format that rounds them otherwise, as float16 does.
    """
    weights = list(encoder.transformer.parameters())
    if any(weight.dtype not in _FORMATS for weight in weights):
        return None
    parts = sorted(str(tuple(weight.shape)).encode() + _some_values(weight) for weight in weights)
    return f"{fingerprint(*parts):08x}"


def _some_values(tensor: Tensor) -> bytes:
    flat = tensor.detach().reshape(-1)
    picked = torch.linspace(0, flat.numel() - 1, 64, dtype=torch.float64).long().to(flat.device)
    values = flat[picked] if flat.numel() else flat
    return values.bfloat16().float().cpu().numpy().tobytes()
