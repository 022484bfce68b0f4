import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from token_records import KINDS, LENGTHS, WORDS, lengths_of_documents, make
from torch.nn.functional import normalize

from rrra_haystack.model.codes.kinds import QUANTISERS


@pytest.mark.parametrize("dim", [8, 72, 128, 384])
def test_int8_keeps_states_and_pooled(dim: int) -> None:
    codec, states, pooled, texts = make("int8", dim)
    batch = codec.unpack(texts)
    assert batch.lengths.tolist() == LENGTHS.tolist()
    assert (batch.token_states() - states).abs().max() < 0.005
    assert (batch.pooled - pooled).abs().max() < pooled.abs().max() / 127


@pytest.mark.parametrize("dim", [8, 72, 128, 384])
def test_1bit_keeps_the_signs_and_the_scale(dim: int) -> None:
    codec, states, _, texts = make("1bit", dim)
    restored = codec.unpack(texts).token_states()
    assert (restored.sign() == states.sign()).all()
    assert (restored * states).sum(dim=1).mean() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("kind", "error"), [("4bit", 0.12), ("2bit", 0.36)])
@pytest.mark.parametrize("dim", [72, 128, 384])
def test_levels_keep_the_states_and_the_scale(kind: str, error: float, dim: int) -> None:
    codec, states, _, texts = make(kind, dim)
    restored = codec.unpack(texts).token_states()
    assert (normalize(restored, dim=-1) - states).norm(dim=1).mean() < error
    assert (restored * states).sum(dim=1).mean() == pytest.approx(1, abs=0.05)


shapes_of_documents = given(
    dim=st.sampled_from([8, 24, 72, 128]),
    pooled_dim=st.integers(1, 200),
    lengths=lengths_of_documents,
    seed=st.integers(0, 1000),
)


@shapes_of_documents
@settings(max_examples=60, deadline=None)
def test_int8_errs_by_half_a_step_at_most(dim: int, pooled_dim: int, lengths: list[int], seed: int) -> None:
    codec, states, pooled, texts = make("int8", dim, pooled_dim, torch.tensor(lengths), seed)
    batch = codec.unpack(texts)
    step = torch.from_numpy(np.repeat(batch.token_scale, lengths))[:, None]
    assert ((batch.token_states() - states).abs() <= 0.501 * step).all()
    assert ((batch.pooled - pooled).abs() <= 0.501 * pooled.abs().amax(dim=1, keepdim=True) / 127).all()


@shapes_of_documents
@settings(max_examples=60, deadline=None)
def test_1bit_keeps_signs_and_one_scale_a_document(dim: int, pooled_dim: int, lengths: list[int], seed: int) -> None:
    codec, states, pooled, texts = make("1bit", dim, pooled_dim, torch.tensor(lengths), seed)
    batch = codec.unpack(texts)
    for kept, original in zip(batch.token_states().split(lengths), states.split(lengths), strict=True):
        if len(original):
            scale = (1 / original.abs().sum(dim=1)).mean()
            assert torch.allclose(kept, original.sign() * scale, rtol=1e-5, atol=0)
    assert ((batch.pooled - pooled).abs() <= 0.501 * pooled.abs().amax(dim=1, keepdim=True) / 127).all()


@pytest.mark.parametrize("dim", [8, 72, 128, 384])
def test_a_single_1bit_token_projects_onto_itself_with_length_one(dim: int) -> None:
    codec, states, _, texts = make("1bit", dim, lengths=torch.tensor([1]))
    assert (codec.unpack(texts).token_states() * states).sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_length_of_states_does_not_matter(kind: str) -> None:
    codec, states, pooled, _ = make(kind, 72)
    records = codec.pack(pooled, states, LENGTHS, WORDS)
    assert codec.pack(pooled, states * 4, LENGTHS, WORDS) == records
    batch = codec.unpack(records)
    query = torch.randn(4, 72, generator=torch.Generator().manual_seed(1))
    assert torch.equal(batch.match(query * 4), batch.match(query))


@given(
    kind=st.sampled_from(["1bit", "2bit", "4bit"]),
    count=st.integers(0, 9),
    dim=st.sampled_from([8, 24, 128]),
    scale=st.floats(1e-3, 10),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_any_rows_are_restored_and_written_again(kind: str, count: int, dim: int, scale: float, seed: int) -> None:
    quantiser = QUANTISERS[kind]
    rows = np.random.default_rng(seed).integers(0, 256, (count, quantiser.row_bytes(dim)), dtype=np.uint8)
    states = quantiser.restored(quantiser.values(torch.from_numpy(rows))).numpy() * scale
    assert states.shape == (count, dim)
    assert (quantiser.rows(states, scale) == rows).all()
