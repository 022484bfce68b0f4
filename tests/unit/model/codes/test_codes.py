import string

import numpy as np
import pybase64
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from rrra_haystack.model.adapter.relations import places
from rrra_haystack.model.codes.codec import TokenCodec
from rrra_haystack.model.codes.kinds import QUANTISERS
from rrra_haystack.model.codes.parts import join_record, split_record
from rrra_haystack.model.codes.record import InvalidCodesError, kind_of
from rrra_haystack.model.words import word_codes

KINDS = ("int8", "4bit", "2bit", "1bit")
LENGTHS = torch.tensor([0, 7, 1, 0, 30, 12, 0])
NAMES = [f"doc-{i}" for i in range(len(LENGTHS))]
TEXTS = [
    "",
    "Bread needs yeast.",
    "What rises?",
    "",
    "The Danube rises in the Black Forest, says the map of 1842.",
    "X",
    "É",
]
WORDS = [word_codes(text) for text in TEXTS]
assert [len(own) for own in WORDS[-2:]] == [1, 1]


def make(kind: str, dim: int, pooled_dim: int = 48, lengths: torch.Tensor = LENGTHS, seed: int = 0, key: int = 7):
    generator = torch.Generator().manual_seed(seed)
    codec = TokenCodec(kind, dim, pooled_dim, key)
    states = normalize(torch.randn(int(lengths.sum()), dim, generator=generator), dim=-1)
    pooled = torch.randn(len(lengths), pooled_dim, generator=generator)
    words = [WORDS[i % len(WORDS)] for i in range(len(lengths))]
    records = codec.pack(pooled, states, lengths, words)
    texts = [pybase64.b64encode_as_string(record) for record in records]
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


@pytest.mark.parametrize(("kind", "error"), [("4bit", 0.12), ("2bit", 0.36)])
@pytest.mark.parametrize("dim", [72, 128, 384])
def test_levels_keep_the_states_and_the_scale(kind: str, error: float, dim: int) -> None:
    codec, states, _, texts = make(kind, dim)
    restored = codec.unpack(texts).token_states()
    assert (normalize(restored, dim=-1) - states).norm(dim=1).mean() < error
    assert (restored * states).sum(dim=1).mean() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", [8, 72, 128])
def test_match_is_maxsim_over_what_the_codes_keep(kind: str, dim: int) -> None:
    codec, _, _, texts = make(kind, dim)
    batch = codec.unpack(texts)
    query = normalize(torch.randn(5, dim, generator=torch.Generator().manual_seed(1)), dim=-1)
    assert batch.match(query).numpy() == pytest.approx(naive_match(query, batch.token_states(), LENGTHS), abs=0.03)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", [8, 72, 128, 384])
def test_similarity_is_of_every_token(kind: str, dim: int) -> None:
    codec, _, _, texts = make(kind, dim)
    batch = codec.unpack(texts)
    query = normalize(torch.randn(5, dim, generator=torch.Generator().manual_seed(1)), dim=-1)
    similarity = batch.similarity(query)
    assert similarity.numpy() == pytest.approx((query @ batch.token_states().T).numpy(), abs=0.03)
    assert batch.segments.maximum(similarity).T.numpy() == pytest.approx(batch.match(query).numpy(), abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", [8, 72, 128, 384])
def test_records_are_aligned_so_that_texts_can_be_joined(kind: str, dim: int) -> None:
    codec, _, _, texts = make(kind, dim)
    for text, tokens, words in zip(texts, LENGTHS.tolist(), WORDS, strict=True):
        assert "=" not in text
        assert len(text) * 3 // 4 == codec.record_bytes(tokens, len(words))
        assert codec.record_bytes(tokens, len(words)) % 24 == 0


@pytest.mark.parametrize("kind", KINDS)
def test_words_are_kept(kind: str) -> None:
    codec, _, _, texts = make(kind, 72)
    batch = codec.unpack([texts[4], texts[0], texts[1]])
    assert batch.word_counts.tolist() == [len(WORDS[4]), 0, 3]
    assert batch.words.tolist() == [*WORDS[4].tolist(), *WORDS[1].tolist()]


def test_a_code_is_compact() -> None:
    # 150 tokens of English have about 100 words that count.
    assert TokenCodec("1bit", 128, 384, 0).record_bytes(150, 100) * 4 / 3 < 4096
    assert TokenCodec("1bit", 384, 384, 0).row_bytes == 48
    assert TokenCodec("int8", 384, 384, 0).row_bytes == 384
    assert [TokenCodec(kind, 128, 384, 0).row_bytes for kind in KINDS] == [128, 64, 32, 16]
    assert TokenCodec("2bit", 128, 384, 0).record_bytes(150, 100) * 4 / 3 < 7500


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
    "an earlier version": (
        lambda text: pybase64.b64encode_as_string(pybase64.b64decode(text)[:4] + b"\1" + pybase64.b64decode(text)[5:]),
        "have version 1, but this release reads version 3",
    ),
    "other kind": (lambda _: make("1bit", 128)[3][1], "are 1bit codes where int8 codes are expected"),
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


@pytest.mark.parametrize(("kind", "dim", "message"), [("3bit", 128, "code kind"), ("int8", 12, "multiple of 8")])
def test_impossible_codecs(kind: str, dim: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TokenCodec(kind, dim, 384, 0)


def test_kind_is_read_from_the_record() -> None:
    assert [kind_of(make(kind, 8)[3][0]) for kind in KINDS] == list(KINDS)
    assert kind_of("nonsense") is None
    assert kind_of("") is None


# Written by the first release: kind, and base64 text of a document of two tokens and one of one.
EARLIER = {
    "int8": [
        "UlJSQQMACAAEAAMAAgAAAAcAAABUT9k7BAIBPQAAAABGR6dvCLPZ0iDAX4FLTe6+lUwAAAAAAAAg1gB/9RXrNRAQ8PBtAB+i",
        "UlJSQQMACAAEAAEAAQAAAAcAAADXcbY7AACAPwAAAADcUhKDXoi+vH8AwAGDFgAAAAAAAAAAAAAAAAAAAAAAAAAAfwAAAACB",
    ],
    "1bit": [
        "UlJSQQMBCAAEAAMAAgAAAAcAAACQtf8+BAIBPQAAAAAWYbb/4AOLyCDAX4FLTe6+lUwAAAAAAAAAAAAAAAAAAAAAAAAAAJXK",
        "UlJSQQMBCAAEAAEAAQAAAAcAAADzBDU/AACAPwAAAADcUpOCehw9X38AwAGDFgAg",
    ],
}


@pytest.mark.parametrize("kind", EARLIER)
def test_records_of_the_first_release_are_read(kind: str) -> None:
    batch = TokenCodec(kind, 8, 4, 7).unpack(EARLIER[kind])
    assert batch.lengths.tolist() == [2, 1]
    states = torch.tensor([[3, -4, 0, 12, -1, 2, -2, 5], [1, 1, -1, -1, 7, 0, 2, -6], [0, 0, 5, 0, 0, 0, 0, -5.0]])
    if kind == "1bit":
        assert torch.equal(batch.token_states() > 0, states > 0)
    else:
        assert torch.allclose(batch.token_states(), normalize(states, dim=-1), atol=0.004)
    assert batch.pooled.tolist() == [
        [pytest.approx(x, abs=0.02) for x in row] for row in ([1, -2, 3, -4], [127, 0, -64, 1])
    ]
    assert batch.words.tolist() == [*WORDS[1].tolist(), *WORDS[5].tolist()]
    assert [join_record(*_as_numpy(split_record(text, "a")), "a") for text in EARLIER[kind]] == EARLIER[kind]


def _as_numpy(parts: tuple[str, torch.Tensor]) -> tuple[str, np.ndarray]:
    return parts[0], parts[1].numpy()


lengths_of_documents = st.lists(st.integers(0, 20), min_size=1, max_size=8)


@given(
    dim=st.sampled_from([8, 24, 72, 128]),
    pooled_dim=st.integers(1, 200),
    lengths=lengths_of_documents,
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_int8_errs_by_half_a_step_at_most(dim: int, pooled_dim: int, lengths: list[int], seed: int) -> None:
    codec, states, pooled, texts = make("int8", dim, pooled_dim, torch.tensor(lengths), seed)
    batch = codec.unpack(texts)
    step = torch.from_numpy(np.repeat(batch.token_scale, lengths))[:, None]
    assert ((batch.token_states() - states).abs() <= 0.501 * step).all()
    assert ((batch.pooled - pooled).abs() <= 0.501 * pooled.abs().amax(dim=1, keepdim=True) / 127).all()


@given(
    dim=st.sampled_from([8, 24, 72, 128]),
    pooled_dim=st.integers(1, 200),
    lengths=lengths_of_documents,
    seed=st.integers(0, 1000),
)
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
    batch = codec.unpack([pybase64.b64encode_as_string(record) for record in records])
    query = torch.randn(4, 72, generator=torch.Generator().manual_seed(1))
    assert torch.equal(batch.match(query * 4), batch.match(query))


def test_nothing_to_pack() -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    assert TokenCodec("int8", 72, 48, 7).pack(torch.zeros(0, 48), torch.zeros(0, 72), nothing, []) == []


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


@pytest.mark.parametrize("lengths", [[0, 3, 4], [3, 0, 4], [3, 4, 0], [0, 0, 3], [3, 0, 0], [0, 3, 0], [0, 0]])
@pytest.mark.parametrize("kind", KINDS)
def test_documents_without_tokens_match_nothing_wherever_they_stand(kind: str, lengths: list[int]) -> None:
    codec, states, pooled, texts = make(kind, 8, lengths=torch.tensor(lengths))
    batch = codec.unpack(texts)
    assert batch.token_states().shape == states.shape
    assert (batch.pooled - pooled).abs().max() < pooled.abs().max() / 127
    match = batch.match(states[:2] if len(states) else torch.randn(2, 8))
    assert [bool((row == -1).all()) for row in match] == [length == 0 for length in lengths]


ALSO_BROKEN = {
    "bytes": (lambda text: text.encode(), "of type bytes"),
    "nothing": (lambda _: None, "of type NoneType"),
    "a list": (lambda text: [text], "of type list"),
    "no characters": (lambda _: "", "are not token codes"),
    "letters beyond ASCII": (lambda text: "ä" + text[1:], "not base64 text"),
    "a line break": (lambda text: text[:8] + "\n" + text[9:], "not base64 text"),
    "one character less": (lambda text: text[:-1], "not base64 text"),
    "one character more": (lambda text: text + "A", "not base64 text"),
    "padding": (lambda text: text[:-4] + "AA==", "bytes where"),
    "a head and no more": (lambda text: text[:64], "are truncated"),
    "written twice": (lambda text: text + text, "are damaged"),
    "unknown kind": (lambda text: flip(text, 5), "their kind is unknown"),
    "another number of tokens": (lambda text: flip(text, 12), "bytes where"),
}


@pytest.mark.parametrize("number", [0, 3, 6])
@pytest.mark.parametrize(("breakage", "message"), ALSO_BROKEN.values(), ids=ALSO_BROKEN)
def test_errors_name_the_document_wherever_it_stands(breakage, message: str, number: int) -> None:
    codec, _, _, texts = make("1bit", 72)
    texts[number] = breakage(texts[number])
    with pytest.raises(InvalidCodesError, match=message) as error:
        codec.unpack(texts, NAMES)
    assert f"document doc-{number} " in str(error.value)
    assert "Index the document again with RRRADocumentEmbedder and the same model." in str(error.value)
    with pytest.raises(InvalidCodesError, match=f"document number {number} "):
        codec.unpack(texts)


def test_a_character_moved_to_the_neighbour_is_noticed() -> None:
    codec, _, _, texts = make("1bit", 72)
    texts[1:3] = [texts[1] + texts[2][0], texts[2][1:]]
    with pytest.raises(InvalidCodesError, match="document doc-1 are damaged"):
        codec.unpack(texts, NAMES)


def test_the_first_flaw_is_reported() -> None:
    codec, _, _, texts = make("1bit", 72)
    texts[5], texts[2] = texts[5][:-32], flip(texts[2], -1)
    with pytest.raises(InvalidCodesError, match="document doc-2 are damaged"):
        codec.unpack(texts, NAMES)


@given(
    at=st.integers(0, 10_000),
    character=st.sampled_from(string.printable + "äΩ"),
    document=st.sampled_from([0, 1, 4, 6]),
    kind=st.sampled_from(KINDS),
)
@settings(max_examples=150, deadline=None)
def test_every_changed_character_is_noticed(at: int, character: str, document: int, kind: str) -> None:
    codec, _, _, texts = make(kind, 24)
    text = texts[document]
    at %= len(text)
    assume(text[at] != character)
    texts[document] = text[:at] + character + text[at + 1 :]
    with pytest.raises(InvalidCodesError, match=f"doc-{document} "):
        codec.unpack(texts, NAMES)


def test_kind_of_other_things_is_unknown() -> None:
    (text,) = make("int8", 8, lengths=torch.tensor([1]))[3]
    assert kind_of(flip(text, 5)) is None
    assert kind_of(text[:4]) is None
    assert kind_of(7) is None
    assert kind_of("ä" + text[1:]) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_is_split_and_joined(kind: str) -> None:
    for text, name in zip(make(kind, 72)[3], NAMES, strict=True):
        head, states = split_record(text, name)
        assert join_record(head, states.numpy(), name) == text


SPLIT_BROKEN = {
    "cut in the head": lambda text: text[:41],
    "cut to a whole group of the head": lambda text: text[:40],
    "a bad character in the head": lambda text: text[:12] + "!" + text[13:],
    "a damaged number of dimensions": lambda text: pybase64.b64encode_as_string(
        pybase64.b64decode(text)[:6] + b"\x49\x00" + pybase64.b64decode(text)[8:]
    ),
    "cut": lambda text: text[:-32],
    "nothing": lambda _: None,
    "bytes": lambda text: text.encode(),
}


@pytest.mark.parametrize("breakage", SPLIT_BROKEN.values(), ids=SPLIT_BROKEN)
def test_a_damaged_record_is_not_split(breakage) -> None:
    with pytest.raises(InvalidCodesError, match=r"document doc-4 are .* Index the document again"):
        split_record(breakage(make("1bit", 72)[3][4]), "doc-4")


def test_a_damaged_head_is_not_joined() -> None:
    head, states = split_record(make("int8", 72)[3][4], "doc-4")
    damaged = [head[:41], head[:-4], "!" + head[1:], pybase64.b64encode_as_string(b"x" * 96), flip(head, 6)]
    for one in damaged:
        with pytest.raises(InvalidCodesError, match="document doc-4 are damaged"):
            join_record(one, states.numpy(), "doc-4")


@pytest.mark.parametrize("dim", [0, -8, 12, 130])
def test_token_dim_is_a_positive_multiple_of_8(dim: int) -> None:
    with pytest.raises(ValueError, match=f"token_dim must be a positive multiple of 8, but got {dim}"):
        TokenCodec("1bit", dim, 384, 0)
