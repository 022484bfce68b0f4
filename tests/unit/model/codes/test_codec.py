import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from token_records import KINDS, LENGTHS, NAMES, WORDS, flip, make
from torch.nn.functional import normalize

from rrra_haystack.model.codes.codec import TokenCodec
from rrra_haystack.model.codes.parts import join_record, split_record
from rrra_haystack.model.codes.record import kind_of


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


@given(lengths=st.lists(st.integers(0, 40), min_size=1, max_size=12), kind=st.sampled_from(KINDS))
@settings(max_examples=40, deadline=None)
def test_any_lengths_survive(lengths: list[int], kind: str) -> None:
    codec, states, _, texts = make(kind, 16, lengths=torch.tensor(lengths))
    batch = codec.unpack(texts)
    assert batch.lengths.tolist() == lengths
    assert (batch.token_states().sign() * states.sign() >= 0).all()


def test_a_code_is_compact() -> None:
    # 150 tokens of English have about 100 words that count.
    assert TokenCodec("1bit", 128, 384, 0).record_bytes(150, 100) * 4 / 3 < 4096
    assert TokenCodec("1bit", 384, 384, 0).row_bytes == 48
    assert TokenCodec("int8", 384, 384, 0).row_bytes == 384
    assert [TokenCodec(kind, 128, 384, 0).row_bytes for kind in KINDS] == [128, 64, 32, 16]
    assert TokenCodec("2bit", 128, 384, 0).record_bytes(150, 100) * 4 / 3 < 7500


def test_nothing_to_pack() -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    assert TokenCodec("int8", 72, 48, 7).pack(torch.zeros(0, 48), torch.zeros(0, 72), nothing, []) == []


@pytest.mark.parametrize("dim", [0, -8, 12, 130])
def test_token_dim_is_a_positive_multiple_of_8(dim: int) -> None:
    with pytest.raises(ValueError, match=f"token_dim must be a positive multiple of 8, but got {dim}"):
        TokenCodec("1bit", dim, 384, 0)


def test_an_unknown_kind_of_codes() -> None:
    with pytest.raises(ValueError, match="code kind"):
        TokenCodec("3bit", 128, 384, 0)


def test_kind_is_read_from_the_record() -> None:
    assert [kind_of(make(kind, 8)[3][0]) for kind in KINDS] == list(KINDS)
    assert kind_of("nonsense") is None
    assert kind_of("") is None


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
