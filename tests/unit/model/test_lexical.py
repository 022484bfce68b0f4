import math
from collections import Counter
from itertools import pairwise

import bm25s
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrra_haystack.model.lexical import EARLIER_FORM, LexicalForm, lexical_scores
from rrra_haystack.model.rarity import document_share, rarity_bytes
from rrra_haystack.model.words import query_word_codes, word_codes

some_words = st.lists(st.sampled_from(["yeast", "salt", "dough", "bread"]), max_size=8)


def scores(query: str, texts: list[str], form: LexicalForm = EARLIER_FORM) -> np.ndarray:
    words = [word_codes(text) for text in texts]
    counts = np.asarray([len(own) for own in words])
    joined = np.concatenate(words) if words else np.zeros(0, np.uint16)
    return lexical_scores(query_word_codes(query), joined, counts, form)


def test_a_text_without_spaces_is_found_by_what_it_says() -> None:
    texts = ["黒い森はドイツにあります。", "東京タワーは赤い。", "東の京にタワーはない。"]
    found = scores("東京タワーの高さ", texts)
    assert found.argmax() == 1
    assert found[1] > found[2] > found[0] == 0


def test_a_query_in_small_letters_asks_for_capitals_too() -> None:
    texts = ["Vitamin C is in lemons.", "Vitamin D comes of the sun."]
    for query in ("vitamin c", "Vitamin C"):
        right, wrong = scores(query, texts)
        assert right > wrong
    assert query_word_codes("Vitamin c").tolist() == word_codes("vitamin").tolist()


def test_rare_words_and_pairs_count_more() -> None:
    found = scores("who founded danzig", ["who founded rome", "who founded who founded", "danzig", "who", ""])
    # Of 5 candidates 3 have "who", 2 "founded", 1 "danzig" and 2 "who founded"; none has "founded danzig".
    who, founded, danzig, both = (math.log(6 / (count + 0.5)) for count in (3, 2, 1, 2))
    once, twice = 1 / 1.9, 2 / 2.9
    expected = [once * (who + founded) + both, twice * (who + founded) + both, once * danzig, once * who, 0]
    assert found == pytest.approx(np.asarray(expected) / (who + founded + danzig + both), abs=1e-6)


def test_a_pair_counts_in_its_order_and_side_by_side_only() -> None:
    found = scores("black forest", ["black forest", "forest black", "black dark forest", "black", "forest"])
    assert found[0] > found[1] == found[2] > found[3] > 0
    # What is left out does not part a pair.
    apart, together = scores("the source of the rhine", ["the source near the rhine", "the source in the rhine"])
    assert together > apart


def test_pairs_do_not_reach_from_one_candidate_into_the_next() -> None:
    first, second, _ = scores("black forest", ["black", "forest", "salt"])
    assert first == second == pytest.approx(0.5 / 1.9)


def test_words_that_no_candidate_has_count_for_nothing() -> None:
    assert scores("yeast", ["yeast", "salt"]) == pytest.approx([1 / 1.9, 0])
    assert scores("yeast zeppelin", ["yeast", "salt"]) == pytest.approx([1 / 1.9, 0])


def test_where_a_word_is_found_nowhere_no_other_word_counts_for_much() -> None:
    texts = ["python salt", "salt water flour", *["salt"] * 98]
    bounded = LexicalForm(language=None, length=0, largest_share=0.1)
    free = bounded.model_copy(update={"largest_share": 1.0})
    for query, is_bounded in (("python flour salt", False), ("python zeppelin flour salt", True)):
        one, other = scores(query.title(), texts, bounded), scores(query.title(), texts, free)
        assert (one[0] < other[0] / 2) == is_bounded
        assert (one == other).all() != is_bounded
    # A short list is no sign.
    few = [scores("Python Zeppelin Flour", texts[:10], form).tolist() for form in (bounded, free)]
    assert few[0] == few[1]


def test_in_a_query_without_a_capital_no_word_counts_for_much() -> None:
    texts = ["python salt", "salt water flour", *["salt"] * 98, "\u5c0f\u9ea6\u7c89"]
    bounded = LexicalForm(language=None, length=0, largest_share=0.1)
    free = bounded.model_copy(update={"largest_share": 1.0})
    for query in ("python flour salt", "flour of salt", "flour"):
        one, other = scores(query, texts, bounded), scores(query, texts, free)
        assert 0 < one[1] < other[1]
        assert scores(query.title(), texts, bounded).tolist() == scores(query.title(), texts, free).tolist()
    # A single word keeps half of what it says.
    assert one[1] == pytest.approx(other[1] / 2)
    # Scripts without capitals say nothing by lacking them.
    assert scores(texts[-1], texts, bounded).tolist() == scores(texts[-1], texts, free).tolist()


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


@given(st.lists(some_words.filter(bool), min_size=2, max_size=6), some_words.filter(bool))
def test_over_a_whole_corpus_words_rank_as_bm25_does(texts: list[list[str]], query: list[str]) -> None:
    index = bm25s.BM25(k1=0.9, b=0.4)
    index.index(texts, show_progress=False)
    known = sorted(set(query) & {word for own in texts for word in own})
    expected = index.get_scores(known) if known else np.zeros(len(texts))
    form = LexicalForm(pair_weight=0, length=0.4, language=None)
    found = scores(" ".join(query).title(), [" ".join(own) for own in texts], form)
    rarities = [math.log((len(texts) + 1) / (sum(word in own for own in texts) + 0.5)) for word in known]
    assert found * sum(rarities) == pytest.approx(expected, abs=1e-4)


def test_common_words_of_the_language_count_less() -> None:
    texts = ["what a river is", "the danube", "salt"]
    plain, known = (scores("what danube", texts, LexicalForm(language=name)) for name in (None, "english"))
    assert plain[0] == pytest.approx(plain[1], abs=0.02)
    assert known[1] > 3 * known[0] > 0
    assert known[2] == 0


def test_words_that_a_corpus_has_everywhere_count_less() -> None:
    corpus = ["def open and return a file"] * 90 + ["return the moon"] * 9 + ["moon"]
    share = document_share(corpus)
    assert share[word_codes("return")] == pytest.approx(0.99)
    table = rarity_bytes(share)
    assert (table[word_codes("return")] < table[word_codes("moon")]).all()
    texts = ["return", "moon"]
    counts = np.array([1, 1])
    form = LexicalForm(language="corpus")
    joined = np.concatenate([word_codes(text) for text in texts])
    common, rare = lexical_scores(query_word_codes("return moon"), joined, counts, form, table)
    assert rare > 10 * common
    # Without the corpus, each stands in one of two candidates.
    common, rare = lexical_scores(query_word_codes("return moon"), joined, counts, form)
    assert rare == pytest.approx(common)


def test_pairs_and_lengths_count_as_the_form_says() -> None:
    texts = ["black forest", "forest black"]
    for weight in (0.0, 0.3, 1.0):
        in_order, turned = scores("black forest", texts, LexicalForm(pair_weight=weight, language=None))
        assert (in_order > turned) == (weight > 0)
    short, long = scores("yeast", ["yeast", "yeast salt flour water"], LexicalForm(language=None))
    assert short > long
    short, long = scores("yeast", ["yeast", "yeast salt flour water"], LexicalForm(length=0, language=None))
    assert short == long


@given(some_words, st.lists(some_words, min_size=1, max_size=5))
def test_scores_are_those_of_a_plain_count(query: list[str], texts: list[list[str]]) -> None:
    held = [Counter(own) + Counter(pairwise(own)) for own in texts]
    total, expected = 0.0, np.zeros(len(texts))
    for term in {*query, *pairwise(query)}:
        having = sum(term in own for own in held)
        weight = math.log((len(texts) + 1) / (having + 0.5)) if having else 0.0
        total += weight
        counts = np.asarray([own[term] for own in held])
        expected += weight * (counts > 0 if isinstance(term, tuple) else counts / (counts + 0.9))
    found = scores(" ".join(query).title(), [" ".join(own) for own in texts])
    assert found == pytest.approx(expected / max(total, 1e-12), abs=1e-5)


def test_a_candidate_without_a_word_has_a_score_whatever_its_length_counts() -> None:
    assert scores("yeast", ["", "yeast salt"], LexicalForm(length=1, language=None)).tolist()[0] == 0
