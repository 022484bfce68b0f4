import numkong
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rrra_haystack.model.codes.kernel import KERNEL, Kernel, fastest_kernel, float32_product
from rrra_haystack.model.codes.kinds import KINDS, QUANTISERS, CodeKind

EVERY_KERNEL = [fastest_kernel(numkong.get_capabilities()), fastest_kernel({})]
kernels = pytest.mark.parametrize("kernel", EVERY_KERNEL, ids=lambda kernel: kernel.name)


def exact(rows: torch.Tensor, query: torch.Tensor) -> np.ndarray:
    return rows.numpy().astype(np.int64) @ query.numpy().astype(np.int64).T


@kernels
@pytest.mark.parametrize("kind", KINDS)
@given(
    tokens=st.integers(0, 70),
    vectors=st.integers(1, 21),
    dim=st.sampled_from([8, 24, 72, 128, 136, 384, 1032]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_products_are_those_of_integers_of_64_bits(
    kernel: Kernel, kind: CodeKind, tokens: int, vectors: int, dim: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    quantiser = QUANTISERS[kind]
    rows = generator.integers(0, 256, size=(tokens, quantiser.row_bytes(dim)), dtype=np.uint8)
    values = quantiser.values(torch.from_numpy(rows))
    query = torch.from_numpy(generator.integers(-127, 128, size=(vectors, dim), dtype=np.int8))
    products = kernel.product(values, query)
    assert products.dtype == torch.int32
    assert products.shape == (tokens, vectors)
    assert np.array_equal(products.numpy(), exact(values, query))


@kernels
@pytest.mark.parametrize("dim", [1024, 4096])
def test_the_greatest_products_are_exact(kernel: Kernel, dim: int) -> None:
    rows = torch.tensor([[127] * dim, [-128] * dim, [127] * (dim - 1) + [126]], dtype=torch.int8)
    query = torch.tensor([[127] * dim, [-127] * dim, [127] * (dim - 1) + [126]], dtype=torch.int8)
    assert np.array_equal(kernel.product(rows, query).numpy(), exact(rows, query))


@pytest.mark.parametrize(
    "without", [("sapphireamx",), ("sapphireamx", "icelake"), ("sapphireamx", "icelake", "sierra", "alder")]
)
def test_older_processors_compute_the_same(without: tuple[str, ...]) -> None:
    capabilities = numkong.get_capabilities()
    generator = np.random.default_rng(0)
    rows = torch.from_numpy(generator.integers(-128, 128, size=(333, 136), dtype=np.int8))
    query = torch.from_numpy(generator.integers(-127, 128, size=(11, 136), dtype=np.int8))
    taken = [name for name in without if capabilities.get(name)]
    for name in taken:
        numkong.disable_capability(name)
    try:
        found = KERNEL.product(rows, query)
    finally:
        for name in taken:
            numkong.enable_capability(name)
    assert np.array_equal(found.numpy(), exact(rows, query))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_number_of_threads_changes_nothing(threads: int) -> None:
    generator = np.random.default_rng(0)
    rows = torch.from_numpy(generator.integers(-128, 128, size=(14_567, 136), dtype=np.int8))
    query = torch.from_numpy(generator.integers(-127, 128, size=(11, 136), dtype=np.int8))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = KERNEL.product(rows, query)
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(found.numpy(), exact(rows, query))


def test_the_kernel_names_what_it_uses_and_why() -> None:
    assert fastest_kernel({"haswell": True, "icelake": True}).name == "NumKong int8 (icelake)"
    assert "AVX-512 VNNI" in fastest_kernel({"haswell": True, "icelake": True}).reason
    assert fastest_kernel({"haswell": True, "icelake": False, "skylake": True}).reason == "the processor has AVX2"


def test_a_processor_without_an_integer_kernel_multiplies_in_float32() -> None:
    """NumKong would compute on, but one product at a time."""
    kernel = fastest_kernel({"serial": True, "neon": True, "haswell": False})
    assert kernel.product is float32_product
    assert "float32" in kernel.name
    assert "no int8 kernel" in kernel.reason
