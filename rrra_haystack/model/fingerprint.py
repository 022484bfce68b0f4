"""Numbers that tell weights apart."""

import hashlib

import torch
from torch import nn

from rrra_haystack.model.encoder import Encoder


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
        flat = tensor.detach().reshape(-1)
        picked = torch.linspace(0, flat.numel() - 1, 64, dtype=torch.float64).long().to(flat.device)
        values = flat[picked] if flat.numel() else flat
        parts += [name, str(tuple(tensor.shape)), values.bfloat16().float().cpu().numpy().tobytes()]
    return fingerprint(*parts)
