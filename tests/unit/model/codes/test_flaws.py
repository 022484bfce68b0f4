import string

import pybase64
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from token_records import KINDS, NAMES, flip, make

from rrra_haystack.model.codes.parts import join_record, split_record
from rrra_haystack.model.codes.record import InvalidCodesError

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
