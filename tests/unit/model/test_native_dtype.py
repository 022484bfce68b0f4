"""The number format of the encoder, by processor."""

import pytest
import torch

from rrra_haystack.model.weights import native_dtype

# What processors say of themselves, as far as it is looked at.
PROCESSORS = {
    "AMD EPYC of the fourth generation": ({"cpu_name": "AMD Zen 4", "avx512_bf16": True}, torch.bfloat16),
    "AMD EPYC of the third generation": ({"cpu_name": "AMD Zen 3", "avx512_bf16": False}, torch.float32),
    "Xeon with AMX": ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": True}, torch.bfloat16),
    "Xeon whose AMX is hidden": ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": False}, torch.float32),
    "an Arm processor": ({"arm_bf16": True}, torch.float32),
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_bfloat16_is_taken_where_it_is_faster(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    capabilities, expected = PROCESSORS[name]
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert native_dtype(torch.device("cpu")) is expected


def test_pytorch_that_is_held_to_less_than_the_processor_has_takes_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": "AMD Zen 4", "avx512_bf16": True})
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert native_dtype(torch.device("cpu")) is torch.float32
