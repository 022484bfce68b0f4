"""Counts of words that were seen before."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrra_haystack.model.known_words import KnownWords, WordsOfTexts

WORDS = st.lists(st.text(st.characters(exclude_characters=" ")), min_size=1, max_size=30)


@given(st.lists(st.text(), min_size=1, max_size=8))
def test_words_are_what_stands_between_spaces(texts: list[str]) -> None:
    words = WordsOfTexts(texts)
    expected = [text.split(" ") for text in texts]
    assert words.words(np.arange(len(words.hashes))) == [word for own in expected for word in own]
    assert np.diff([*words.firsts, len(words.hashes)]).tolist() == list(map(len, expected))


@given(WORDS, st.text())
def test_words_have_one_hash_wherever_they_stand(words: list[str], before: str) -> None:
    alone = [int(WordsOfTexts([word]).hashes[0]) for word in words]
    assert WordsOfTexts([before, " ".join(words)]).hashes[-len(words) :].tolist() == alone
    assert len(set(alone)) == len(set(words))
    assert all((one == 0) == (not word) for one, word in zip(alone, words, strict=True))


def test_a_text_of_any_length_is_hashed() -> None:
    hashes = WordsOfTexts(["long " * 40_000 + "end", "end"]).hashes
    assert len(set(hashes[:40_000].tolist())) == 1
    assert hashes[-2] == hashes[-1] != hashes[0]


def test_what_is_known_is_right_and_only_what_was_seen_is_known() -> None:
    known = KnownWords()
    words = WordsOfTexts([" ".join(f"word{number}" for number in range(200_000))])
    counts, is_known = known.counts(words.hashes)
    assert not is_known.any()
    every = np.arange(200_000) % 300
    for part in np.split(np.arange(200_000), 200):
        known.add(words.hashes[part], every[part])
        counts, is_known = known.counts(words.hashes[part])
        assert np.array_equal(counts[is_known], every[part][is_known])
        assert is_known.mean() > 0.98
    # More words than there is room for: the last ones are those that stay.
    counts, is_known = known.counts(words.hashes)
    assert np.array_equal(counts[is_known], every[is_known])
    assert 0.4 < is_known.mean() < 0.7
    assert is_known[-1000:].mean() > is_known[:1000].mean()


@pytest.mark.parametrize("count", [0, 1, 65_534])
def test_counts_are_kept_as_they_are(count: int) -> None:
    known, hashes = KnownWords(), WordsOfTexts(["Donau"]).hashes
    known.add(hashes, np.array([count]))
    assert [own.tolist() for own in known.counts(hashes)] == [[count], [True]]


def test_a_count_that_is_too_high_is_not_kept() -> None:
    known, hashes = KnownWords(), WordsOfTexts(["Donau"]).hashes
    known.add(hashes, np.array([65_535]))
    assert not known.counts(hashes)[1].any()


def test_a_word_without_characters_counts_nothing() -> None:
    assert [own.tolist() for own in KnownWords().counts(WordsOfTexts([" "]).hashes)] == [[0, 0], [True, True]]
