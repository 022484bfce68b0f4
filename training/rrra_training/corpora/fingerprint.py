"""Keys of encoded corpora: all bytes of an encoder's weights."""

import hashlib
import json
from typing import Any

import torch

from rrra_haystack.model.encoder import Encoder


def encoder_fingerprint(encoder: Encoder) -> str:
    """
    Tells encoders apart by what changes what they say of a text: weights, modules, prompts, greatest length, and the
    layer that is observed; never by their names.

    The whole of every tensor counts: a fine-tuned encoder differs from its origin by little and everywhere. The
    tokenizer is not looked at: it belongs to the weights.
    """
    transformer = encoder.transformer
    modules: list[Any] = [[type(module).__name__, getattr(module, "get_config_dict", dict)()] for module in transformer]
    settings = [encoder.layer, encoder.dimension, transformer.max_seq_length, transformer.prompts, modules]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, tensor in sorted(transformer.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def cache_key(encoder: Encoder) -> str:
    """Part of the names of what is kept on disk for an encoder, so that another encoder never finds it."""
    return encoder_fingerprint(encoder)[:8]
