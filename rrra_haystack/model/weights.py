"""The number format that the weights of a network are in."""

import torch
from torch import nn


def native_dtype(device: torch.device) -> torch.dtype:
    """The fastest number format that the device computes natively without loss that matters: bfloat16 or float32."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):
        able = torch.cpu.get_capabilities()
        # Intel's AVX-512 multiplies as many of either format a cycle; in bfloat16 a corpus takes half as long again.
        is_doubled = able.get("avx512_bf16", False) and not str(able.get("cpu_name", "")).startswith("Intel")
        native = able.get("amx_bf16", False) or is_doubled
    else:
        native = False
    return torch.bfloat16 if native else torch.float32


def cast_weights(network: nn.Module, dtype: torch.dtype) -> None:
    """
    Bring the weights of a network into a number format, in place, as if it had been loaded in it.

    :param network: The network.
    :param dtype: The number format.
    """
    # What no checkpoint holds is computed, as the frequencies of rotary positions are, which bfloat16 would round to
    # wrong places in a long text: `network.to(dtype)` casts them too.
    for weight in network.state_dict(keep_vars=True).values():
        if torch.is_floating_point(weight):
            weight.data = weight.data.to(dtype)
