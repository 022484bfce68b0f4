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
