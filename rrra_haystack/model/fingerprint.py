"""Numbers that tell weights apart."""

import hashlib

from torch import nn

from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.weights import FORMATS, weight_sample


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
    A fingerprint of the weights that the codes depend on, whatever format the encoder runs in.

    :param encoder: The encoder.
    :param projection: Of its token states; `None` if they are kept as they are.
    """
    samples = dict(encoder.weight_samples)
    if projection is not None:
        samples["projection.weight"] = weight_sample(projection.weight)
    parts: list[str | bytes] = [str(encoder.layer)]
    for name, sample in sorted(samples.items()):
        parts += [name, *sample]
    return fingerprint(*parts)


def encoder_fingerprint(encoder: Encoder) -> str | None:
    """
    Tells encoders apart by their weights alone, whatever the weights are called and whichever layer is observed.

    :param encoder: The encoder.
    :returns: 8 hexadecimal digits; `None` for weights that were quantised.
    """
    named = dict(encoder.transformer.named_parameters())
    if not FORMATS.issuperset(weight.dtype for weight in named.values()):
        return None
    samples = encoder.weight_samples
    parts = sorted(samples[name].shape.encode() + samples[name].values for name in named)
    return f"{fingerprint(*parts):08x}"
