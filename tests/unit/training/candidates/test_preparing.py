import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rrra_training.candidates.evidence import EvidenceConfig, Source
from rrra_training.candidates.mining import MiningConfig
from rrra_training.candidates.preparing import prepare
from rrra_training.candidates.sets import CandidateSet
from rrra_training.candidates.splits import SplitConfig
from rrra_training.mining.drawing import draw_negatives
from rrra_training.mining.settings import NegativesConfig
from rrra_training.phases.joint.gradients import contrastive_labels

from rrra_haystack import RRRAModel

PASSAGES = [f"Thing number {number} stands in the town of {chr(65 + number)}ville." for number in range(20)]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    lines = ["id\ttext\ttitle", *(f"{number}\t{text}\t" for number, text in enumerate(PASSAGES))]
    path = tmp_path / "psgs.tsv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def questions(path: Path, numbers: range) -> Path:
    rows = [
        {
            "question": f"Where does thing {number} of {path.stem} stand?",
            "answers": [f"{chr(65 + number)}ville"],
            "positive_ctxs": [{"title": "", "text": PASSAGES[number], "passage_id": str(number)}],
        }
        for number in numbers
    ]
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def prepared(cache: Path, model: RRRAModel, **config: Any) -> CandidateSet:
    split = SplitConfig.model_validate(config)
    return prepare(split, model.encoder, cache, mining=MiningConfig(top_k=5), evidence=EvidenceConfig())


def test_sets_of_one_name_keep_their_own_queries(corpus: Path, tmp_path: Path, model: RRRAModel) -> None:
    def of(name: str, numbers: range, split: str = "train") -> CandidateSet:
        splits = {split: questions(tmp_path / f"{name}.json", numbers)}
        data = {"format": "dpr", "splits": splits, "corpus": corpus}
        return prepared(tmp_path / "cache", model, data=data, split=split)

    first = of("nq", range(8))
    embeddings, text = np.array(first.queries.pooled), first.queries.text(7)
    second = of("trivia", range(8, 12))
    assert (len(first), len(second)) == (8, 4)
    np.testing.assert_array_equal(first.queries.pooled, embeddings)
    assert first.queries.text(7) == text
    assert second.queries.text(0) == "Where does thing 8 of trivia stand?"
    third = of("odd", range(3), split="passages")
    assert len(third.passages) == len(first.passages) == len(PASSAGES)
    assert third.passages.path == first.passages.path != third.queries.path
    assert of("nq", range(8)).queries.path == first.queries.path


def test_labels_are_made_anew_when_texts_change(tmp_path: Path, model: RRRAModel) -> None:
    folder = tmp_path / "towns"
    (folder / "qrels").mkdir(parents=True)
    # The encoder reads fewer words than these, so that no other passage is found.
    texts = {f"p{number}": f"{text} {'and so on ' * 100}" for number, text in enumerate(PASSAGES[:6])}

    def labelled() -> CandidateSet:
        rows = [{"_id": name, "title": "", "text": text} for name, text in texts.items()]
        (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return prepared(tmp_path / "cache", model, data={"format": "beir", "path": folder})

    asked = {"_id": "q", "text": "Where does thing number 3 stand?", "answers": ["Zanzibar"]}
    (folder / "queries.jsonl").write_text(json.dumps(asked) + "\n", encoding="utf-8")
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq\tp3\t1\n", encoding="utf-8")
    before = labelled()
    near = before.passages.ids[int(before.mined.rows[0][before.mined.rows[0] != 3][0])]
    texts[near] += "until it came to Zanzibar."
    after = labelled()
    np.testing.assert_array_equal(before.mined.rows, after.mined.rows)
    assert not (np.asarray(before.labels.source) == Source.ANSWER).any()
    assert (np.asarray(after.labels.source) == Source.ANSWER).sum() == 1


@pytest.mark.parametrize("answers", [[], ["Dville", "Rville"]])
def test_what_is_relevant_to_a_query_is_no_negative_of_the_same_question_under_another_identifier(
    tmp_path: Path, model: RRRAModel, answers: list[str]
) -> None:
    (tmp_path / "asked" / "qrels").mkdir(parents=True)
    rows = [{"_id": f"p{number}", "title": "", "text": text} for number, text in enumerate(PASSAGES)]
    (tmp_path / "asked" / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    texts = {"one": "Where is thing number 3?", "other": "where is thing number 3? ", "third": "Is Aville a town?"}
    texts |= {"blank": "", "space": " "}
    # Weaker evidence than a label, which must not outdo it: the passages of both have the answers.
    rows = [{"_id": name, "text": text, "answers": answers} for name, text in texts.items()]
    (tmp_path / "asked" / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    # The encoder finds p3 for both, and p17 for neither.
    qrels = "one\tp3\t1\nother\tp17\t1\nthird\tp0\t1\nblank\tp1\t1\nspace\tp2\t1\n"
    (tmp_path / "asked" / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n" + qrels)
    data = prepared(tmp_path / "cache", model, data={"format": "beir", "path": tmp_path / "asked"})
    one, other, third = (data.queries.row_of[name] for name in ("one", "other", "third"))
    both = np.array([data.passages.row_of[name] for name in ("p3", "p17")])
    for query in (one, other):
        assert [rows.tolist() for rows in data.targets_of(query, both)] == [[1, 1], [True, True]]
        assert set(both) <= set(data.no_negatives(query))
        assert len(data.positives.of(query)) == 1
    assert not data.targets_of(third, both)[1].any()
    # One array for all of them, since thousands may have one text; blank texts are no question.
    assert sorted(data.asked_again) == sorted([one, other])
    assert data.asked_again[one] is data.asked_again[other]
    # What is relevant to the same question counts though it is not drawn.
    for limit in range(1, 4):
        drawn = prepared(tmp_path / "cache", model, data={"format": "beir", "path": tmp_path / "asked"}, limit=limit)
        for name in {"one", "other"} & drawn.queries.row_of.keys():
            assert set(drawn.relevant(drawn.queries.row_of[name])) == set(both)
    # A label of a query that is held out is not learned of under another identifier.
    learned = data.learning_from(np.setdiff1d(np.arange(len(data)), other))
    assert learned.relevant(one).tolist() == [both[0]]
    assert other not in learned.drawable
    labels = contrastive_labels(data, np.array([one, other]), both, both).tolist()
    assert labels == [[1, -1], [-1, 1]]
    negatives = draw_negatives(data, np.zeros(data.mined.rows.shape, np.float32), NegativesConfig(negatives=4)).rows
    assert not np.isin(negatives[[one, other]], both).any()


def test_the_confidence_in_qrels_counts_for_positives_too(corpus: Path, tmp_path: Path, model: RRRAModel) -> None:
    data = {"format": "dpr", "splits": {"train": questions(tmp_path / "nq.json", range(8))}, "corpus": corpus}
    split, mining = SplitConfig.model_validate({"data": data}), MiningConfig(top_k=5)
    for qrels, expected, known in ((1.0, 1.0, True), (0.3, 0.3 + 0.7 * 0.02, True), (0.0, 0.02, False)):
        evidence = EvidenceConfig(qrels=qrels, duplicates=0, near_duplicates=0, answers=0)
        found = prepare(split, model.encoder, tmp_path / "cache", mining=mining, evidence=evidence)
        for query in range(8):
            target, is_known = found.targets_of(query, found.positives.of(query))
            assert target.tolist() == pytest.approx([expected])
            assert is_known.tolist() == [known]
            assert found.positives.of(query)[0] in found.no_negatives(query)
