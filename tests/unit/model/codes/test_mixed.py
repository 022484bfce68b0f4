import numpy as np
import pybase64
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rrra_haystack.model.codes.batch import CodeBatch
from rrra_haystack.model.codes.codec import TokenCodec
from rrra_haystack.model.codes.kinds import KINDS
from rrra_haystack.model.codes.mixed import unpack_any
from rrra_haystack.model.codes.record import InvalidCodesError
from rrra_haystack.model.words import word_codes

LENGTHS = torch.tensor([0, 7, 1, 0, 30])
TEXTS = ["", "Bread needs yeast.", "What rises?", "Ulm", "The Danube rises in the Black Forest."]
NAMES = [f"doc-{i}" for i in range(len(TEXTS))]


def make(kind: str, seed: int = 0, key: int = 7) -> tuple[TokenCodec, list[str]]:
    generator = torch.Generator().manual_seed(seed)
    codec = TokenCodec(kind, 72, 48, key)
    states = torch.randn(int(LENGTHS.sum()), 72, generator=generator)
    pooled = torch.randn(len(TEXTS), 48, generator=generator)
    texts = codec.pack(pooled, states, LENGTHS, [word_codes(text) for text in TEXTS], range(1, len(TEXTS) + 1))
    return codec, texts


@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=len(TEXTS), max_size=len(TEXTS)),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40, deadline=None)
def test_a_mixed_list_reads_as_its_documents_alone(kinds: list[str], seed: int) -> None:
    made = {kind: make(kind, seed) for kind in KINDS}
    alone = [made[kind][0].unpack([made[kind][1][i]]) for i, kind in enumerate(kinds)]
    batch = unpack_any(made["1bit"][0], [made[kind][1][i] for i, kind in enumerate(kinds)], NAMES)
    query = torch.randn(4, 72, generator=torch.Generator().manual_seed(seed))
    similarity = torch.cat([own.similarity(query) for own in alone], dim=1)
    assert torch.allclose(batch.match(query), torch.cat([own.match(query) for own in alone]), atol=1e-6)
    assert torch.allclose(batch.similarity(query), similarity, atol=1e-6)
    assert torch.equal(batch.pooled, torch.cat([own.pooled for own in alone]))
    assert batch.contents.tolist() == list(range(1, len(TEXTS) + 1))
    assert words_of(batch) == [words for own in alone for words in words_of(own)]
    expected = [kind == "1bit" for kind in kinds]
    told = batch.is_binary
    assert told.tolist() == expected if isinstance(told, torch.Tensor) else [told] * len(kinds) == expected


def words_of(batch: CodeBatch) -> list[list[int]]:
    return [own.tolist() for own in np.split(batch.words, np.cumsum(batch.word_counts)[:-1])]


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_of_one_kind_stays_of_that_kind(kind: str) -> None:
    _, texts = make(kind)
    assert unpack_any(make("int8")[0], texts).quantiser.kind == kind
    assert len(unpack_any(make(kind)[0], [])) == 0


BROKEN = {
    "truncated": (lambda text: text[:-32], "are truncated"),
    "not base64": (lambda text: "!" + text[1:], "not base64 text"),
    "not text": (lambda _: 7, "of type int"),
    "other bytes": (lambda text: pybase64.b64encode_as_string(b"x" * (len(text) * 3 // 4)), "are not token codes"),
    "other weights": (lambda _: make("int8", key=8)[1][4], "with other weights"),
}


@pytest.mark.parametrize("first", [False, True], ids=["last", "first"])
@pytest.mark.parametrize(("breakage", "message"), BROKEN.values(), ids=BROKEN)
def test_errors_name_the_document(breakage, message: str, first: bool) -> None:
    codec, texts = make("int8")
    texts[2] = make("1bit")[1][2]
    broken = 0 if first else 4
    texts[broken] = breakage(texts[4])
    with pytest.raises(InvalidCodesError, match=f"document doc-{broken} .*{message}"):
        unpack_any(codec, texts, NAMES)
    with pytest.raises(InvalidCodesError, match=f"document number {broken} .*{message}"):
        unpack_any(codec, texts)
