import numpy as np
import pybase64
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from rrra_haystack.codes import InvalidCodesError, TokenCodec, fingerprint, kind_of

KINDS = ("int8", "1bit")
LENGTHS = torch.tensor([0, 7, 1, 0, 30, 12, 0])
NAMES = [f"doc-{i}" for i in range(len(LENGTHS))]


def make(kind: str, dim: int, pooled_dim: int = 48, lengths: torch.Tensor = LENGTHS, seed: int = 0, key: int = 7):
    generator = torch.Generator().manual_seed(seed)
    codec = TokenCodec(kind, dim, pooled_dim, key)
    states = normalize(torch.randn(int(lengths.sum()), dim, generator=generator), dim=-1)
    pooled = torch.randn(len(lengths), pooled_dim, generator=generator)
    texts = [pybase64.b64encode_as_string(record) for record in codec.pack(pooled, states, lengths)]
    return codec, states, pooled, texts


def naive_match(query: torch.Tensor, tokens: torch.Tensor, lengths: torch.Tensor) -> np.ndarray:
    nothing = torch.full((len(query),), -1.0)
    rows = [(query @ own.T).amax(dim=1) if len(own) else nothing for own in tokens.split(lengths.tolist())]
    return torch.stack(rows).numpy()


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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", [8, 72, 128])
def test_match_is_maxsim_over_what_the_codes_keep(kind: str, dim: int) -> None:
    codec, _, _, texts = make(kind, dim)
    batch = codec.unpack(texts)
    query = normalize(torch.randn(5, dim, generator=torch.Generator().manual_seed(1)), dim=-1)
    assert batch.match(query).numpy() == pytest.approx(naive_match(query, batch.token_states(), LENGTHS), abs=0.03)


@pytest.mark.parametrize("kind", KINDS)
def test_places_lead_to_the_best_matching_tokens(kind: str) -> None:
    codec, _, _, texts = make(kind, 128)
    batch = codec.unpack(texts)
    query = normalize(torch.randn(5, 128, generator=torch.Generator().manual_seed(1)), dim=-1)
    match, place = batch.match_with_places(query)
    assert torch.equal(match, batch.match(query))
    observed = batch.observed_context(place)
    filled = LENGTHS > 0
    similarity = torch.einsum("md,nmd->nm", query, observed)
    scale = normalize(batch.token_states(), dim=-1)
    best = torch.from_numpy(naive_match(query, scale, LENGTHS))
    assert similarity[filled].numpy() == pytest.approx(best[filled].numpy(), abs=0.01)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", [8, 72, 128, 384])
def test_records_are_aligned_so_that_texts_can_be_joined(kind: str, dim: int) -> None:
    codec, _, _, texts = make(kind, dim)
    for text, tokens in zip(texts, LENGTHS.tolist(), strict=True):
        assert "=" not in text
        assert len(text) * 3 // 4 == codec.record_bytes(tokens)
        assert codec.record_bytes(tokens) % 24 == 0


def test_a_code_is_compact() -> None:
    assert TokenCodec("1bit", 128, 384, 0).record_bytes(150) * 4 / 3 < 4096
    assert TokenCodec("1bit", 384, 384, 0).row_bytes == 48
    assert TokenCodec("int8", 384, 384, 0).row_bytes == 384


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_to_match(kind: str) -> None:
    codec, _, _, texts = make(kind, 128)
    empty = codec.unpack([])
    assert len(empty) == 0
    assert empty.pooled.shape == (0, 48)
    assert empty.match(torch.randn(3, 128)).shape == (0, 3)
    assert codec.unpack(texts).match(torch.zeros(0, 128)).shape == (len(texts), 0)
    assert (codec.unpack([texts[0]]).match(torch.randn(3, 128)) == -1).all()


def flip(text: str, at: int) -> str:
    data = bytearray(pybase64.b64decode(text))
    data[at] ^= 0x40
    return pybase64.b64encode_as_string(bytes(data))


BROKEN = {
    "not base64": (lambda text: "!" + text[1:], "not base64 text"),
    "not text": (lambda _: 7, "of type int"),
    "other bytes": (lambda text: pybase64.b64encode_as_string(b"x" * (len(text) * 3 // 4)), "are not token codes"),
    "truncated": (lambda text: text[:-32], "are truncated"),
    "only a few bytes": (lambda text: text[:16], "are truncated"),
    "damaged at the end": (lambda text: flip(text, -1), "check sum is wrong"),
    "damaged in the pooled code": (lambda text: flip(text, 50), "check sum is wrong"),
    "a later version": (lambda text: flip(text, 4), "version"),
    "other kind": (lambda _: make("1bit", 128)[3][1], "made by another model"),
    "other dimensions": (lambda _: make("int8", 72)[3][1], "made by another model"),
    "other pooled dimensions": (lambda _: make("int8", 128, 64)[3][1], "made by another model"),
    "other weights": (lambda _: make("int8", 128, key=8)[3][1], "with other weights"),
}


@pytest.mark.parametrize(("breakage", "message"), BROKEN.values(), ids=BROKEN)
def test_errors_name_the_document_and_the_remedy(breakage, message: str) -> None:
    codec, _, _, texts = make("int8", 128)
    texts[4] = breakage(texts[4])
    with pytest.raises(InvalidCodesError) as error:
        codec.unpack(texts, NAMES)
    assert "document doc-4 " in str(error.value)
    assert message in str(error.value)
    assert "Index the document again with RRRADocumentEmbedder" in str(error.value)


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7), document=st.sampled_from([0, 1, 4, 6]))
@settings(max_examples=150, deadline=None)
def test_every_flipped_bit_is_noticed(at: int, bit: int, document: int) -> None:
    codec, _, _, texts = make("1bit", 72)
    data = bytearray(pybase64.b64decode(texts[document]))
    data[at % len(data)] ^= 1 << bit
    texts[document] = pybase64.b64encode_as_string(bytes(data))
    with pytest.raises(InvalidCodesError, match=f"doc-{document} "):
        codec.unpack(texts, NAMES)


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


@given(lengths=st.lists(st.integers(0, 40), min_size=1, max_size=12), kind=st.sampled_from(KINDS))
@settings(max_examples=40, deadline=None)
def test_any_lengths_survive(lengths: list[int], kind: str) -> None:
    codec, states, _, texts = make(kind, 16, lengths=torch.tensor(lengths))
    batch = codec.unpack(texts)
    assert batch.lengths.tolist() == lengths
    assert (batch.token_states().sign() * states.sign() >= 0).all()


@pytest.mark.parametrize(("kind", "dim", "message"), [("2bit", 128, "code kind"), ("int8", 12, "multiple of 8")])
def test_impossible_codecs(kind: str, dim: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TokenCodec(kind, dim, 384, 0)


def test_kind_is_read_from_the_record() -> None:
    assert kind_of(make("int8", 8)[3][0]) == "int8"
    assert kind_of(make("1bit", 8)[3][0]) == "1bit"
    assert kind_of("nonsense") is None
    assert kind_of("") is None


def test_fingerprint_depends_on_each_part_and_its_bounds() -> None:
    assert fingerprint("ab", "c") == fingerprint("ab", b"c")
    assert fingerprint("ab", "c") != fingerprint("a", "bc")
    assert 0 <= fingerprint("x") < 2**32
