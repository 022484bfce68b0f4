"""What is told of labels and corpus before anything is encoded."""

from pathlib import Path

import numpy as np
import pytest
from rrra_training.data import BeirDataset, Passage, Query
from rrra_training.data.checks import Corpus, Labelled, leaks, remarks_on

PASSAGES = [
    Passage("a", "Salt", "Salt keeps fish."),
    Passage("b", "", "Wool is warm."),
    Passage("c", "", "wool is  WARM."),
    Passage("d", "", " "),
]
QUERIES = [Query("1", "what keeps fish"), Query("2", "what is warm")]


def labelled(queries: list[Query], qrels: dict, name: str = "set test") -> tuple[Corpus, Labelled]:
    own = Labelled(name, queries, qrels)
    return Corpus.read(PASSAGES, own.named), own


def test_what_is_odd_is_counted() -> None:
    queries = [*QUERIES, Query("3", "Wool is warm."), Query("4", "what floats")]
    qrels = {"1": {"a": 1, "x": 1}, "2": {"y": 2}, "3": {"b": 1}, "4": {"b": 0, "a": -1}, "9": {"a": 1}}
    assert remarks_on(*labelled(queries, qrels)) == [
        "set test: 2 passages that its labels name are not in the corpus, as 'x'.",
        "set test: 1 of its 4 queries have none of their relevant passages there, and count as 0 in an evaluation.",
        "set test: 1 queries have no passage with a grade above 0, and count as 0 in an evaluation.",
        "set test: 1 queries are judged but not among the queries.",
        "set test: 1 queries are themselves passages of the corpus, word for word.",
    ]


def test_of_drawn_queries_alone_is_told(tmp_path: Path) -> None:
    (tmp_path / "qrels").mkdir()
    (tmp_path / "corpus.jsonl").write_text('{"_id": "a", "text": "Salt keeps fish."}\n')
    (tmp_path / "queries.jsonl").write_text(
        "".join(f'{{"_id": "{number}", "text": "what keeps fish {number}"}}\n' for number in range(6))
    )
    labels = "".join(f"{number}\ta\t1\n{number}\tlost-{number}\t1\n" for number in (*range(6), 9))
    (tmp_path / "qrels" / "train.tsv").write_text(labels)
    dataset = BeirDataset(tmp_path, name="set")
    for limit, lost in ((None, 7), (2, 3)):
        own = Labelled.read(dataset, "train", limit=limit, seed=1)
        assert own.queries == dataset.queries("train", limit=limit, seed=1)
        first = min(own.named - {"a"})
        assert remarks_on(Corpus.read(dataset.passages(), own.named), own) == [
            f"set train: {lost} passages that its labels name are not in the corpus, as {first!r}.",
            "set train: 1 queries are judged but not among the queries.",
        ]


def test_what_is_odd_in_a_corpus_is_counted() -> None:
    again = [*PASSAGES, Passage("a", "", "Something else.")]
    assert Corpus.read(again, set()).remarks("set") == [
        "set: 1 passages have an identifier that another one has.",
        "set: 1 of 5 passages have the text of another one, first the passage number 3.",
        "set: 1 passages have no text.",
    ]


@pytest.mark.parametrize(("texts", "count", "first"), [("abc", 0, 0), ("aab", 1, 2), ("abcbda", 2, 4), ("", 0, 0)])
def test_the_first_duplicate_is_named(texts: str, count: int, first: int) -> None:
    corpus = Corpus.read([Passage(str(number), "", text) for number, text in enumerate(texts)], set())
    assert (corpus.duplicates, corpus.first_duplicate) == (count, first)


def test_queries_of_one_identifier_are_counted() -> None:
    twice = [*QUERIES, Query("2", "what is warmer")]
    assert remarks_on(*labelled(twice, {"1": {"a": 1}, "2": {"b": 1}})) == [
        "set test: 1 queries have an identifier that another one has, and are judged by its labels."
    ]


def test_queries_of_one_text_are_counted() -> None:
    again = [*QUERIES, Query("3", QUERIES[0].text.upper() + " "), Query("4", ""), Query("5", "")]
    qrels = {query.id: {"a": 1} for query in again}
    own = Labelled("set test", again, qrels)
    told = remarks_on(Corpus.read(PASSAGES[:3], own.named), own)
    assert told == [
        "set test: 2 queries have no text.",
        "set test: 1 queries have the text of another one, under an identifier of their own.",
    ]


def test_queries_without_text_are_counted() -> None:
    queries = [*QUERIES, Query("3", ""), Query("4", " \n")]
    qrels = {query.id: {"a": 1} for query in queries}
    own = Labelled("set test", queries, qrels)
    corpus = Corpus.read(PASSAGES[:3], own.named)
    assert remarks_on(corpus, own) == ["set test: 2 queries have no text."]


def test_a_split_without_queries_is_refused() -> None:
    with pytest.raises(ValueError, match="set test has no queries"):
        remarks_on(*labelled([], {}))


def test_of_sound_data_nothing_is_told() -> None:
    own = Labelled("set test", QUERIES, {"1": {"a": 1}, "2": {"b": 1}})
    corpus = Corpus.read(PASSAGES[:2], own.named)
    assert remarks_on(corpus, own) == corpus.remarks("set") == []


def test_a_title_does_not_hide_that_a_query_is_a_passage() -> None:
    corpus = Corpus.read(PASSAGES, set())
    queries = [Query("1", "Salt keeps fish."), Query("2", "Salt Salt keeps fish."), Query("3", "keeps fish")]
    assert corpus.is_passage(queries).tolist() == [True, True, False]


@pytest.mark.parametrize("qrels", [{"1": {"x": 1}, "2": {"y": 1}}, {"1": {"a": 0}}, {"1": {"a": -1}}, {}])
def test_labels_that_fit_no_passage_are_refused(qrels: dict) -> None:
    with pytest.raises(ValueError, match="No query of set test has a relevant passage in the corpus"):
        remarks_on(*labelled(QUERIES, qrels))


def test_what_dev_shares_with_train_is_counted() -> None:
    corpus, train = labelled(QUERIES, {"1": {"a": 1}, "2": {"b": 1}}, "set train")
    dev_corpus, dev = labelled(
        [Query("7", "What keeps  fish"), Query("8", "what is not cold"), Query("9", "what floats")],
        {"7": {"d": 1}, "8": {"c": 1}, "9": {"d": 1}},
        "set dev",
    )
    assert leaks(train, dev, corpus, dev_corpus) == [
        "set dev: 1 of 3 queries are asked in set train too, so figures on them say less of other queries.",
        (
            "set dev: 1 of 3 queries have a relevant passage that is one in set train too, so figures on them say less "
            "of other queries."
        ),
    ]
    assert leaks(train, Labelled("set dev", [QUERIES[0]], {}), corpus, dev_corpus)[0].startswith("set dev: 1 of 1")


def test_an_empty_corpus() -> None:
    corpus = Corpus.read([], set())
    assert (corpus.passages, corpus.duplicates) == (0, 0)
    assert np.array_equal(corpus.is_passage(QUERIES), [False, False])
