# ruff: noqa: RUF001
import codecs

import pytest

from rrra_haystack.documents.decoding import decode

GERMAN = "Die Fähre fährt um zehn Uhr über den Fluß.\n\nDas Gasthaus öffnet im Frühling."


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (GERMAN, "utf-8"),
        (GERMAN, "utf-8-sig"),
        (GERMAN, "utf-16"),
        (GERMAN, "utf-16-le"),
        (GERMAN, "utf-16-be"),
        (GERMAN, "utf-32"),
        (GERMAN, "cp1252"),
        (GERMAN, "latin-1"),
        ("Le café de l’été est fermé – « déjà vu », dit le garçon. Le château est près du fleuve.", "cp1252"),
        ("The ferry’s “night” fare is £5 – or €6 in winter.", "cp1252"),
        ("Café Müller", "cp1252"),
        ("Паром отправляется в десять часов утра от северного берега реки.", "cp1251"),
        ("Паром отправляется в десять часов утра от северного берега реки.", "koi8_r"),
        ("渡し船は午前十時に北岸を出発します。宿は春に開きます。", "shift_jis"),
        ("渡轮上午十点从北岸出发。客栈春天开门。", "gb18030"),
        ("Το πλοίο φεύγει στις δέκα το πρωί από τη βόρεια όχθη.", "cp1253"),
        ("<meta charset='mac-roman'>Die Fähre fährt", "mac-roman"),
        ("", "utf-8"),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_text_is_read_in_any_encoding(text: str, encoding: str, newline: str) -> None:
    assert decode(text.replace("\n", newline).encode(encoding)) == text


def test_letters_are_found_behind_much_ascii() -> None:
    text = "2026-03-01 10:00 job ended\n" * 5000 + "Schlüssel verloren, Café geschlossen\n"
    assert decode(text.encode("cp1252")) == text


def test_damaged_utf8_is_utf8() -> None:
    assert decode(GERMAN.encode() + "ß".encode()[:1]) == GERMAN + "\ufffd"
    assert decode(GERMAN.encode() + b"\xff and more") == GERMAN + "\ufffd and more"


def test_a_stray_zero_byte_is_dropped() -> None:
    assert decode(b"The Elbe\x00 rises.") == "The Elbe rises."


@pytest.mark.parametrize("data", [bytes(range(256)) * 8, b"\x00" * 500, codecs.BOM_UTF8 + b"\x00\x01\x02" * 99])
def test_what_is_no_text_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not text in any known encoding"):
        decode(data)
