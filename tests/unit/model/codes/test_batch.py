import numpy as np
import pybase64
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from token_records import KINDS, LENGTHS, lengths_of_documents, make
from torch.nn.functional import normalize

from rrra_haystack.model.adapter.relations import places
from rrra_haystack.model.codes.codec import TokenCodec


def naive_match(query: torch.Tensor, tokens: torch.Tensor, lengths: torch.Tensor) -> np.ndarray:
    nothing = torch.full((len(query),), -1.0)
    rows = [(query @ own.T).amax(dim=1) if len(own) else nothing for own in tokens.split(lengths.tolist())]
    return torch.stack(rows).numpy()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", [8, 72, 128])
def test_match_is_maxsim_over_what_the_codes_keep(kind: str, dim: int) -> None:
    codec, _, _, texts = make(kind, dim)
    batch = codec.unpack(texts)
    query = normalize(torch.randn(5, dim, generator=torch.Generator().manual_seed(1)), dim=-1)
    assert batch.match(query).numpy() == pytest.approx(naive_match(query, batch.token_states(), LENGTHS), abs=0.03)


@given(
    kind=st.sampled_from(KINDS),
    dim=st.sampled_from([8, 72, 128, 384]),
    lengths=lengths_of_documents,
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_match_differs_from_maxsim_only_by_rounding_the_query(
    kind: str, dim: int, lengths: list[int], seed: int
) -> None:
    codec, _, _, texts = make(kind, dim, lengths=torch.tensor(lengths), seed=seed)
    batch = codec.unpack(texts)
    tokens = batch.token_states()
    query = normalize(torch.randn(3, dim, generator=torch.Generator().manual_seed(seed + 1)), dim=-1)
    step = query.abs().amax(dim=1, keepdim=True) / 127
    rounded = (query / step).round() * step
    match = batch.match(query).numpy()
    assert match == pytest.approx(naive_match(rounded, tokens, torch.tensor(lengths)), abs=1e-5)
    widest = tokens.abs().sum(dim=1).max().item() if len(tokens) else 0.0
    exact = naive_match(query, tokens, torch.tensor(lengths))
    assert (np.abs(match - exact) <= 0.501 * step.T.numpy() * widest + 1e-6).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", [8, 72, 128, 384])
def test_similarity_is_of_every_token(kind: str, dim: int) -> None:
    codec, _, _, texts = make(kind, dim)
    batch = codec.unpack(texts)
    query = normalize(torch.randn(5, dim, generator=torch.Generator().manual_seed(1)), dim=-1)
    similarity = batch.similarity(query)
    assert similarity.numpy() == pytest.approx((query @ batch.token_states().T).numpy(), abs=0.03)
    assert batch.segments.maximum(similarity).T.numpy() == pytest.approx(batch.match(query).numpy(), abs=1e-5)


def numbers_of(text: str, codec: TokenCodec, tokens: int) -> np.ndarray:
    """The numbers that the codes of a record stand for, a dimension at a time, shape ``[tokens, token_dim]``, int64."""
    data = pybase64.b64decode(text)
    rows = np.frombuffer(data, dtype=np.uint8).reshape(-1, codec.row_bytes)[len(data) // codec.row_bytes - tokens :]
    if codec.kind == "int8":
        return rows.view(np.int8).astype(np.int64)
    bits = codec.row_bytes * 8 // codec.token_dim
    numbers = np.zeros((tokens, codec.token_dim), dtype=np.int64)
    for dimension in range(codec.token_dim):
        column, shift = dimension % codec.row_bytes, bits * (dimension // codec.row_bytes)
        if bits == 1:
            column, shift = dimension // 8, 7 - dimension % 8
        numbers[:, dimension] = 2 * ((rows[:, column].astype(np.int64) >> shift) & (2**bits - 1)) - (2**bits - 1)
    return numbers


@given(
    kind=st.sampled_from(KINDS),
    dim=st.sampled_from([8, 24, 72, 128, 384]),
    lengths=lengths_of_documents,
    seed=st.integers(0, 1000),
)
@settings(max_examples=80, deadline=None)
def test_products_are_exact(kind: str, dim: int, lengths: list[int], seed: int) -> None:
    codec, _, _, texts = make(kind, dim, lengths=torch.tensor(lengths), seed=seed)
    batch = codec.unpack(texts)
    numbers = np.concatenate([numbers_of(text, codec, own) for text, own in zip(texts, lengths, strict=True)])
    assert (batch.as_int8().view(np.int8) == numbers).all()
    # Whole numbers up to 127, the highest of them 127 in every row: the eight bits of the query are these numbers.
    query = np.random.default_rng(seed).integers(-127, 128, (3, dim))
    query[:, 0] = 127
    length = np.linalg.norm(query, axis=1, keepdims=True)
    scale = np.repeat(batch.token_scale, lengths)
    exact = (query @ numbers.T) / length * scale
    similarity = batch.similarity(torch.from_numpy(query).float()).numpy()
    assert similarity == pytest.approx(exact, rel=1e-5, abs=1e-6)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    match = [[exact[i][owner == j].max(initial=-np.inf) for i in range(3)] for j in range(len(lengths))]
    match = np.where(np.isneginf(match), -1, match)
    assert batch.match(torch.from_numpy(query).float()).numpy() == pytest.approx(match, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_to_match(kind: str) -> None:
    codec, _, _, texts = make(kind, 128)
    empty = codec.unpack([])
    assert len(empty) == 0
    assert empty.pooled.shape == (0, 48)
    assert empty.match(torch.randn(3, 128)).shape == (0, 3)
    assert codec.unpack(texts).match(torch.zeros(0, 128)).shape == (len(texts), 0)
    assert (codec.unpack([texts[0]]).match(torch.randn(3, 128)) == -1).all()


@pytest.mark.parametrize("lengths", [[0, 3, 4], [3, 0, 4], [3, 4, 0], [0, 0, 3], [3, 0, 0], [0, 3, 0], [0, 0]])
@pytest.mark.parametrize("kind", KINDS)
def test_documents_without_tokens_match_nothing_wherever_they_stand(kind: str, lengths: list[int]) -> None:
    codec, states, pooled, texts = make(kind, 8, lengths=torch.tensor(lengths))
    batch = codec.unpack(texts)
    assert batch.token_states().shape == states.shape
    assert (batch.pooled - pooled).abs().max() < pooled.abs().max() / 127
    match = batch.match(states[:2] if len(states) else torch.randn(2, 8))
    assert [bool((row == -1).all()) for row in match] == [length == 0 for length in lengths]


@given(
    order=st.permutations(range(len(LENGTHS))),
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 1000),
)
@settings(max_examples=30, deadline=None)
def test_candidates_are_matched_independently_of_their_order(order: list[int], kind: str, seed: int) -> None:
    codec, _, _, texts = make(kind, 72, seed=seed)
    query = torch.randn(4, 72, generator=torch.Generator().manual_seed(seed))
    match = codec.unpack(texts).match(query)
    assert torch.equal(codec.unpack([texts[i] for i in order]).match(query), match[order])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", [8, 72, 128, 384])
def test_places_are_tokens_of_the_own_document(kind: str, dim: int) -> None:
    codec, _, _, texts = make(kind, dim)
    batch = codec.unpack(texts)
    similarity = batch.similarity(torch.randn(6, dim, generator=torch.Generator().manual_seed(1)))
    place = places(similarity, batch.segments.maximum(similarity).T, batch.segments)
    filled = LENGTHS > 0
    assert (place[~filled] == -1).all()
    number = (place - torch.from_numpy(batch.segments.starts)[:, None])[filled]
    assert ((number >= 0) & (number < LENGTHS[filled][:, None])).all()
    expected = normalize(batch.token_states(), dim=-1)[place[filled]]
    assert torch.allclose(batch.states_at(place)[filled], expected, atol=1e-6)
    assert not batch.states_at(place)[~filled].any()
