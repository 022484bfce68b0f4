"""The processes that train together, as a launcher started them."""

from datetime import timedelta
from functools import cache

import torch
from accelerate import PartialState
from torch import Tensor

# The others wait while the first encodes a corpus; by default they would give up after half an hour.
_PATIENCE = timedelta(days=7)


def processes() -> PartialState:
    """The processes that train together; without GPU they are several only if accelerate is told so."""
    return PartialState(cpu=not torch.cuda.is_available(), timeout=_PATIENCE)


def sum_over_processes(values: Tensor) -> None:
    """
    Add up the values of all processes, in place.

    :param values: A tensor on the CPU, of the same shape in each process.
    """
    if processes().num_processes > 1:
        torch.distributed.all_reduce(values, group=_cpu_group())


@cache
def _cpu_group() -> "torch.distributed.ProcessGroup":
    # With GPUs the processes speak NCCL, which takes no tensors of the CPU.
    return torch.distributed.new_group(backend="gloo", timeout=_PATIENCE)
