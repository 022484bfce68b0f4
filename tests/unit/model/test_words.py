import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrra_haystack.model.words import word_codes


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
    ],
)
def test_scripts_without_spaces_are_read_by_pairs_of_letters(text: str, pairs: list[str]) -> None:
    assert word_codes(text).tolist() == np.concatenate([word_codes(pair) for pair in pairs]).tolist()


def test_marks_that_make_another_word_count() -> None:
    assert len(np.unique(word_codes("की का कि हिन्दी हन्द"))) == 5
    assert len(np.unique(word_codes("か が"))) == 2
    assert word_codes("كِتَاب").tolist() == word_codes("كتاب").tolist()
    # Six letters count, their marks included.
    assert word_codes("प्रधानमंत्री").tolist() == word_codes("प्रधानमंत्रियों").tolist()


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
