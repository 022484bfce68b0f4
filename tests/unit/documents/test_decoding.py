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
    assert decode(text.replace("\n", newline).encode(encoding)).text == text


POLISH = "Prom odpływa o dziesiątej rano z północnego brzegu rzeki. Źródło leży w górach, gdzie śnieg topnieje."
CZECH = "Přívoz odplouvá v deset hodin ráno od severního břehu řeky. Hostinec se otevírá, žluťoučký kůň pije."
HUNGARIAN = "A komp délelőtt tízkor indul az északi partról. A fogadó tavasszal nyílik, amikor elolvad a hó."
TURKISH = "Vapur sabah saat onda kuzey kıyısından kalkıyor. Han ilkbaharda açılır, ırmak taşar."
PORTUGUESE = "A balsa sai às dez da manhã da margem norte; as estações não são longas."
RUSSIAN = "Паром отправляется в десять часов утра от северного берега реки."
JAPANESE = "渡し船は午前十時に北岸を出発します。宿は春に開きます。"
KOREAN = "나룻배는 오전 열 시에 북쪽 강변에서 출발합니다. 여관은 봄에 문을 엽니다."


@pytest.mark.parametrize(
    ("text", "encodings"),
    [
        (POLISH, ("cp1250", "iso8859_2")),
        (CZECH, ("cp1250", "iso8859_2")),
        (HUNGARIAN, ("cp1250",)),
        (TURKISH, ("cp1254",)),
        (PORTUGUESE, ("cp1252",)),
        (RUSSIAN, ("cp1251", "koi8_r", "cp866")),
        (JAPANESE, ("cp932", "euc_jp", "iso2022_jp")),
        (KOREAN, ("cp949",)),
        ("Das Becken fasst 5 m³, ½ Stunde bei 20 °C – 30 € für jeden.", ("cp1252",)),
    ],
)
@pytest.mark.parametrize("times", [1, 20])
def test_old_encodings_are_told_from_one_another(text: str, encodings: tuple[str, ...], times: int) -> None:
    whole = "\n".join([text] * times)
    for encoding in encodings:
        assert (encoding, decode(whole.encode(encoding)).text) == (encoding, whole)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [(POLISH[:12], "cp1250"), (JAPANESE[:12], "euc_jp"), (KOREAN[:12], "cp949"), ("Café", "cp1252")],
)
def test_a_few_letters_are_enough_and_it_is_said(text: str, encoding: str) -> None:
    decoded = decode(text.encode(encoding))
    assert decoded.text == text
    assert decoded.guess in (encoding, None)
    assert decode(GERMAN.encode()).guess is None
    assert decode("Café".encode("cp1252")).guess == "cp1252"


def test_an_encoding_that_is_told_decides_where_nothing_else_does() -> None:
    assert decode("дом".encode("koi8_r"), "koi8_r").text == "дом"
    assert decode("дом".encode(), "koi8_r").text == decode("дом".encode("utf-16"), "koi8_r").text == "дом"


def test_a_text_that_several_programs_wrote() -> None:
    lines = ["Die Fähre fährt.", "Über den Fluß.", "größer", "Café"]
    encodings = ["utf-8", "cp1252", "utf-8", "cp1252"]
    data = b"\r\n".join(line.encode(encoding) for line, encoding in zip(lines, encodings, strict=True))
    assert decode(data).text.split("\n") == lines


def test_letters_are_found_behind_much_ascii() -> None:
    text = "2026-03-01 10:00 job ended\n" * 5000 + "Schlüssel verloren, Café geschlossen\n"
    assert decode(text.encode("cp1252")).text == text


def test_damaged_utf8_is_utf8() -> None:
    assert decode(GERMAN.encode() + "ß".encode()[:1]).text == GERMAN + "\ufffd"
    assert decode(GERMAN.encode() + b"\xff and more").text == GERMAN + "\ufffd and more"


def test_a_stray_zero_byte_is_dropped() -> None:
    assert decode(b"The Elbe\x00 rises.").text == "The Elbe rises."
    padded = "The ferry\x00\x00 fährt\x00\x00\x00\x00 at ten.\n"
    assert decode(padded.encode()).text == padded.replace("\x00", "")


@pytest.mark.parametrize(
    "data", [bytes(range(256)) * 8, b"\x00" * 500, b"\x00\x01\xff\xfe\x80", codecs.BOM_UTF8 + b"\x00\x01\x02" * 99]
)
def test_what_is_no_text_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not text in any known encoding"):
        decode(data)
