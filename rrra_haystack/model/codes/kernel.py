"""The product that every comparison of a query with token codes goes through: int8 times int8, exact."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numkong
import numpy as np
import torch
from torch import Tensor

# What NumKong has an int8 matrix kernel for: its name of a capability, best first as NumKong itself chooses.
_INSTRUCTIONS = {
    "sme": "Arm SME",
    "neonsdot": "Arm NEON with dot products",
    "sapphireamx": "Intel AMX",
    "icelake": "AVX-512 VNNI",
    "sierra": "AVX-VNNI-INT8",
    "alder": "AVX-VNNI",
    "haswell": "AVX2",
    "powervsx": "Power VSX",
    "loongsonasx": "LoongArch LASX",
    "rvv": "RISC-V vectors",
}
# NumKong's kernels take the packed side by fours: 10 query tokens took a third longer than 12.
_COLUMNS = 4
# float32 holds every integer up to 2^24, which is more than 1,024 products of 127 and 128 make.
_EXACT_DIMENSIONS = 1024


@dataclass(frozen=True)
class Kernel:
    """
    A way to multiply int8 matrices exactly.

    :param name: What computes.
    :param reason: Why it was chosen: which instructions the processor has or lacks.
    :param product: Takes rows of shape ``[R, h]`` and a query of shape ``[m, h]``, both int8 and contiguous, and gives
        their products, shape ``[R, m]``, int32.
    """

    name: str
    reason: str
    product: Callable[[Tensor, Tensor], Tensor]


def numkong_product(rows: Tensor, query: Tensor) -> Tensor:
    """``rows @ query.T`` through NumKong, in one thread."""
    # More of its threads would fight for the cores with PyTorch's, which spin while they wait.
    count = len(query)
    padded = torch.nn.functional.pad(query, (0, 0, 0, -count % _COLUMNS))
    packed = numkong.dots_pack(padded.numpy())
    products = numkong.dots_packed(rows.numpy(), packed)
    return torch.from_numpy(np.asarray(products))[:, :count]


def float32_product(rows: Tensor, query: Tensor) -> Tensor:
    """``rows @ query.T`` in float32, in as many steps as keep it exact."""
    products = torch.zeros((len(rows), len(query)), dtype=torch.int32)
    for begin in range(0, rows.shape[1], _EXACT_DIMENSIONS):
        part = slice(begin, begin + _EXACT_DIMENSIONS)
        products += (rows[:, part].float() @ query[:, part].float().T).to(torch.int32)
    return products


def fastest_kernel(capabilities: Mapping[str, bool]) -> Kernel:
    """
    The kernel to use on a processor.

    :param capabilities: What the processor has, as ``numkong.get_capabilities()`` tells it.
    """
    for capability, instructions in _INSTRUCTIONS.items():
        if capabilities.get(capability):
            return Kernel(f"NumKong int8 ({capability})", f"the processor has {instructions}", numkong_product)
    return Kernel("PyTorch float32", "NumKong has no int8 kernel for this processor's instructions", float32_product)


KERNEL = fastest_kernel(numkong.get_capabilities())
