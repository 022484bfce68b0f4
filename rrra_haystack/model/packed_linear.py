"""Linear layers whose weights lie in memory twice: as they are, and packed in float16 for questions."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

# Up to where the packed product took at most nine tenths of the time of the other, for layers of 384 dimensions.
_MOST_ROWS = 64
# float16 ends here.
_LARGEST = 65504.0
# Of PyTorch's libraries for packed products those that take weights in float16.
_ENGINES = frozenset({"fbgemm", "x86"})
_READS_QUESTION: ContextVar[bool] = ContextVar("_READS_QUESTION", default=False)


@contextmanager
def packed_products(is_question: bool) -> Iterator[None]:
    """
    Let packed layers use what they packed.

    :param is_question: Whether they may. Documents are read by the weights as they are, whatever stands beside them in
        a batch: their codes are kept.
    """
    before = _READS_QUESTION.set(is_question)
    try:
        yield
    finally:
        _READS_QUESTION.reset(before)


class PackedLinear(nn.Linear):
    """
    A linear layer that multiplies a few rows with a packed copy of its weights.

    A few rows are multiplied about as fast as the weights are read. FBGEMM, the library of PyTorch for such products,
    reads half the bytes, in the order that the processor wants, and multiplies and adds in float32. The layer's
    parameters are those that it had.
    """

    _packed: Any = None
    _packed_of: tuple[tuple[Tensor, int, int], ...] = ()

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (as its base calls it)
        """``input @ weight.T + bias``."""
        # What a compiler follows has no question in sight.
        if not torch.compiler.is_compiling() and _READS_QUESTION.get() and self._suits(input) and self._is_packed():
            return torch.ops.quantized.linear_dynamic_fp16(input, self._packed)
        return super().forward(input)

    def _suits(self, rows: Tensor) -> bool:
        is_exact = rows.dtype == self.weight.dtype == torch.float32 and rows.is_cpu
        return is_exact and 0 < rows.numel() <= _MOST_ROWS * self.in_features

    def forget(self) -> None:
        """Pack the weights anew before they are used again; for changes of which PyTorch does not know."""
        self._packed, self._packed_of = None, ()

    def _is_packed(self) -> bool:
        """Pack the weights if they were not, or have changed since; not if float16 cannot hold them."""
        weight, bias = self.weight, self.bias
        # Parameters that were made in inference mode count no changes.
        now = tuple(
            (one, one.data_ptr(), 0 if one.is_inference() else one._version)  # noqa: SLF001  (no other name)
            for one in (weight, bias)
            if one is not None
        )
        before = self._packed_of
        # The parameters themselves are compared too: another one may lie where the former was.
        if len(now) != len(before) or any(a is not b or s != t for (a, *s), (b, *t) in zip(now, before, strict=True)):
            # False where a number is not one, too.
            fits = torch.backends.quantized.engine in _ENGINES and bool((weight.abs() < _LARGEST).all())
            self._packed = torch.ops.quantized.linear_prepack_fp16(weight, bias) if fits else None
            self._packed_of = now
        return self._packed is not None

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in {"_packed", "_packed_of"}}


def pack_linear_layers(network: nn.Module) -> None:
    """
    Let the linear layers of a network in float32 read questions by packed weights, where this processor can.

    :param network: The network; its parameters and their names stay.
    """
    if "fbgemm" not in torch.backends.quantized.supported_engines:
        return
    for module in network.modules():
        # What inherits from a linear layer has a product of its own.
        if type(module) is nn.Linear and module.weight.is_cpu and module.weight.dtype == torch.float32:
            module.__class__ = PackedLinear


def forget_packed(network: nn.Module) -> None:
    """
    Pack the weights of a network anew before they are used again.

    :param network: The network.
    """
    for module in network.modules():
        if isinstance(module, PackedLinear):
            module.forget()
