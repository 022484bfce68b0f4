import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrra_haystack.words import lexical_scores, word_codes


def scores(query: str, texts: list[str]) -> np.ndarray:
    words = [word_codes(text) for text in texts]
    counts = np.asarray([len(own) for own in words])
    return lexical_scores(word_codes(query), np.concatenate(words) if words else np.zeros(0, np.uint16), counts)


def test_a_word_counts_once_whatever_its_case_accents_and_ending() -> None:
    assert word_codes("Résumés, resumes; RESUMED!").tolist() == word_codes("resume").tolist()
    assert len(word_codes("rise rises rising")) == 3
    assert len(word_codes("XK-962 b2b")) == 3
    assert word_codes(" ... ").shape == (0,)


def test_numbers_count_whole() -> None:
    assert len(word_codes("20231105 20231199 A1234567 A1234568 1234567890")) == 5


def test_marks_and_invisible_characters_do_not_part_words() -> None:
    assert word_codes("Java™").tolist() == word_codes("javatm").tolist()
    assert word_codes("tele\u00adphone").tolist() == word_codes("telephone").tolist()
    assert len(word_codes("हिन्दी भाषा")) == 2
    assert word_codes("Straße").tolist() == word_codes("STRASSE").tolist()


def test_words_are_sorted_numbers_of_16_bits() -> None:
    codes = word_codes("The Danube rises in the Black Forest.")
    assert codes.dtype == np.uint16
    assert len(codes) == 6
    assert (np.diff(codes.astype(int)) > 0).all()


def test_of_a_long_text_the_first_words_count() -> None:
    long = " ".join(f"{number:05}" for number in range(5000))
    assert word_codes(long).tolist() == word_codes(long[: 6 * 1024]).tolist()
    assert 1000 < len(word_codes(long)) <= 1024


def test_the_numbers_of_words_are_the_same_in_every_process() -> None:
    # They are stored beside documents, so they are part of the format of the token codes.
    assert word_codes("danube").tolist() == [1131]
    assert word_codes("yeast").tolist() == [19605]


def test_rare_words_count_more() -> None:
    found = scores("who founded danzig", ["who founded rome", "who founded paris", "danzig", "who", ""])
    # Of 5 candidates 3 have "who", 2 "founded", 1 "danzig".
    who, founded, danzig = (math.log(6 / (count + 0.5)) for count in (3, 2, 1))
    whole = who + founded + danzig
    expected = [(who + founded) / whole, (who + founded) / whole, danzig / whole, who / whole, 0]
    assert found == pytest.approx(expected, abs=1e-6)


def test_words_that_no_candidate_has_count_for_nothing() -> None:
    assert scores("yeast", ["yeast", "salt"]) == pytest.approx([1, 0])
    assert scores("yeast zeppelin", ["yeast", "salt"]) == pytest.approx([1, 0])


def test_nothing_in_common_is_nothing() -> None:
    assert scores("", ["yeast", "salt"]).tolist() == [0, 0]
    assert scores("yeast", []).shape == (0,)
    assert scores("yeast", ["", ""]).tolist() == [0, 0]


@given(st.text(max_size=40), st.lists(st.text(max_size=40), min_size=1, max_size=6), st.randoms())
def test_scores_are_shares_and_go_with_their_candidates(query: str, texts: list[str], draw) -> None:
    found = scores(query, texts)
    assert ((found >= 0) & (found <= 1 + 1e-6)).all()
    order = list(range(len(texts)))
    draw.shuffle(order)
    assert scores(query, [texts[i] for i in order]) == pytest.approx(found[order], abs=1e-6)
