"""BM25 over queries and corpora without words."""

import pytest
from rrra_training.evaluation.stages import Bm25Stage


@pytest.mark.parametrize("query", ["what is the", "", "quux", "???", "\u4e2d\u6587"])
def test_a_query_without_a_word_of_the_corpus_finds_nothing(query: str) -> None:
    stage = Bm25Stage(["Salt keeps fish.", "Wool is warm."], 10)
    assert [len(part) for part in stage.retrieve(query)] == [0, 0]
    assert stage.retrieve("fish")[1].tolist() == [0]


@pytest.mark.parametrize("texts", [["the", "of"], ["", ""], []])
def test_a_corpus_without_words_finds_nothing(texts: list[str]) -> None:
    stage = Bm25Stage(texts, 10)
    assert [len(part) for part in stage.retrieve("fish")] == [0, 0]


@pytest.mark.parametrize(
    ("query", "right"),
    [("vitamin K", "Vitamin K is found in kale."), ("type 1", "Type 1 begins in childhood.")],
)
def test_words_of_one_letter_or_digit_count(query: str, right: str) -> None:
    texts = ["Vitamin C is found in lemons.", "Vitamin K is found in kale.", "Type 2 begins later.",
             "Type 1 begins in childhood."]  # fmt: skip
    stage = Bm25Stage(texts, 10)
    scores, rows = stage.retrieve(query)
    assert texts[rows[0]] == right
    assert scores[0] > scores[1]
    assert stage.score(query, rows).tolist() == scores.tolist()
