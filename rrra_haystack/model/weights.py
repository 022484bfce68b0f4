"""The weights of a network: the number format that they are in, and what tells them apart."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

# What an encoder runs in unless it is quantised.
FORMATS = frozenset({torch.float32, torch.bfloat16, torch.float16})

# What PyTorch calls instructions that multiply no bfloat16.
_WITHOUT_BFLOAT16 = frozenset({"DEFAULT", "AVX2"})


class WeightSample(NamedTuple):
    """
    What tells a tensor of weights from another.

    :param shape: Its shape as text.
    :param values: 64 of its values, rounded to bfloat16.
    """

    shape: str
    values: bytes


def native_dtype(device: torch.device) -> torch.dtype:
    """The fastest number format that the device computes natively without loss that matters: bfloat16 or float32."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    # PyTorch may be held to less than the processor has, by ATEN_CPU_CAPABILITY.
    elif device.type != "cpu" or torch.backends.cpu.get_cpu_capability() in _WITHOUT_BFLOAT16:
        native = False
    elif hasattr(torch.cpu, "get_capabilities"):
        able = torch.cpu.get_capabilities()
        # Intel's AVX-512 multiplies as many of either format a cycle; in bfloat16 a corpus takes half as long again.
        is_doubled = able.get("avx512_bf16", False) and not str(able.get("cpu_name", "")).startswith("Intel")
        native = able.get("amx_bf16", False) or is_doubled
    else:
        native = False
    return torch.bfloat16 if native else torch.float32


def cast_weights(network: nn.Module, dtype: torch.dtype, *, beside: Iterable[nn.Module] = ()) -> None:
    """
    Bring the weights of a network into a number format, in place, as if it had been loaded in it.

    :param network: The network.
    :param dtype: The number format.
    :param beside: Parts of it that stay as they are.
    """
    kept = {id(weight) for part in beside for weight in part.state_dict(keep_vars=True).values()}
    # What no checkpoint holds is computed, as the frequencies of rotary positions are, which bfloat16 would round to
    # wrong places in a long text: `network.to(dtype)` casts them too.
    for weight in network.state_dict(keep_vars=True).values():
        if torch.is_floating_point(weight) and id(weight) not in kept:
            weight.data = weight.data.to(dtype)


def weight_sample(tensor: Tensor) -> WeightSample:
    """
    A few values of a tensor, the same ones in float32 and in bfloat16.

    64 are enough to tell two trainings apart, and take no time for any size of encoder.

    :param tensor: The tensor.
    """
    flat = tensor.detach().reshape(-1)
    picked = torch.linspace(0, flat.numel() - 1, 64, dtype=torch.float64).long().to(flat.device)
    values = flat[picked] if flat.numel() else flat
    return WeightSample(str(tuple(tensor.shape)), values.bfloat16().float().cpu().numpy().tobytes())


def weight_samples(network: nn.Module) -> dict[str, WeightSample]:
    """
    Samples of all weights of a network, by their names.

    :param network: The network.
    """
    return {name: weight_sample(tensor) for name, tensor in network.state_dict().items()}
