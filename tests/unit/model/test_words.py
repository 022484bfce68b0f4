import unicodedata
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrra_haystack.model.words import word_codes

REPOSITORY = Path(__file__).parents[3]


def test_case_accents_and_endings_make_no_difference() -> None:
    assert word_codes("Résumés, resumes; RESUMED!").tolist() == 3 * word_codes("resume").tolist()
    assert len(np.unique(word_codes("rise rises rising"))) == 3
    assert len(word_codes("XK-962 b2b")) == 3
    assert word_codes(" ... ").shape == (0,)


def test_words_of_one_or_two_letters_count_if_they_end_in_a_capital() -> None:
    assert word_codes("It is in the US").tolist() == word_codes("the US").tolist()
    assert word_codes("vitamin C, not c").tolist() == word_codes("vitamin C not").tolist()
    assert word_codes("don't l'homme x-ray").tolist() == word_codes("don homme ray").tolist()
    assert len(word_codes("pH mV I A")) == 4
    assert word_codes("ok ou a ha e").shape == (0,)
    assert len(word_codes("4 b2 42 是 не ø a_")) == 7


def test_accents_tell_short_words_apart() -> None:
    assert len(np.unique(word_codes("bò bỏ bó où à é Hà"))) == 7
    assert word_codes("HÀ").tolist() == word_codes("hà").tolist()
    assert word_codes("naïve São café ﬁle").tolist() == word_codes("naive Sao cafe file").tolist()


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("东京塔很高。", ["东京", "京塔", "塔很", "很高"]),
        ("スカイ, が", ["スカ", "カイ", "が"]),
        ("iPhone15を買う ok是", ["iPhone15", "を買", "買う", "ok", "是"]),
        ("กินข้าว ๑๒", ["กิน", "นข้", "ข้า", "าว", "๑๒"]),
        ("한국은행이 2024년 물", ["한국", "국은", "은행", "행이", "2024", "년", "물"]),
    ],
)
def test_scripts_without_spaces_and_korean_are_read_by_pairs_of_letters(text: str, pairs: list[str]) -> None:
    assert word_codes(text).tolist() == np.concatenate([word_codes(pair) for pair in pairs]).tolist()


def test_marks_that_make_another_word_count() -> None:
    assert len(np.unique(word_codes("की का कि हिन्दी हन्द"))) == 5
    assert len(np.unique(word_codes("か が"))) == 2
    assert word_codes("كِتَاب").tolist() == word_codes("كتاب").tolist()
    # Six letters count, their marks included.
    assert word_codes("प्रधानमंत्री").tolist() == word_codes("प्रधानमंत्रियों").tolist()


def test_long_korean_words_that_begin_alike_are_told_apart() -> None:
    for one, other in (("서울대학교", "서울도서관"), ("인공지능", "인공위성"), ("한국은행", "한국전력")):
        assert len(set(word_codes(one)) & set(word_codes(other))) == 1
        # Endings and the form that Unicode is written in do not hide a word.
        assert set(word_codes(one)) < set(word_codes(unicodedata.normalize("NFD", one + "에서")))


def test_drawn_out_arabic_words_are_the_same() -> None:
    assert word_codes("محـــمد").tolist() == word_codes("محمد").tolist()


def test_the_words_of_english_texts_have_the_numbers_that_are_stored() -> None:
    licence = (REPOSITORY / "LICENSE").read_text(encoding="utf-8")
    assert crc32(word_codes(licence).tobytes()) == 2385729052
    latin = "Łódź Śródmieście, Malmö, Đà Nẵng, smørrebrød, naïve façade of the Ægean; Πλάτων и Чайковский 東京都"
    assert crc32(word_codes(latin).tobytes()) == 2023803187


@given(st.text(alphabet=st.characters(max_codepoint=127), max_size=60))
def test_plain_letters_are_read_alike_beside_others(text: str) -> None:
    assert word_codes(f"{text} \u2014").tolist() == word_codes(text).tolist()


def test_numbers_count_whole() -> None:
    assert len(word_codes("20231105 20231199 A1234567 A1234568 1234567890")) == 5


def test_marks_and_invisible_characters_do_not_part_words() -> None:
    assert word_codes("Java™").tolist() == word_codes("javatm").tolist()
    assert word_codes("tele\u00adphone").tolist() == word_codes("telephone").tolist()
    assert len(word_codes("हिन्दी भाषा")) == 2
    assert word_codes("Straße").tolist() == word_codes("STRASSE").tolist()


def test_words_are_numbers_of_16_bits_in_their_order() -> None:
    codes = word_codes("The Danube rises in the Black Forest.")
    assert codes.dtype == np.uint16
    assert len(codes) == 6
    assert codes[0] == codes[3]
    assert codes[[1, 4]].tolist() == [*word_codes("danube"), *word_codes("black")]


def test_of_a_long_text_the_first_words_count() -> None:
    long = " ".join(f"{number:05}" for number in range(5000))
    assert word_codes(long).tolist() == word_codes(long[: 6 * 1024]).tolist()
    assert len(word_codes(long)) == 1024


def test_the_numbers_of_words_are_the_same_in_every_process() -> None:
    # They are stored beside documents, so they are part of the format of the token codes.
    assert word_codes("danube").tolist() == [1131]
    assert word_codes("yeast").tolist() == [19605]
