import json
from pathlib import Path

import numpy as np
import pytest
from rrra_training.data import BeirDataset, Passage
from rrra_training.evaluation.evaluate import evaluate
from rrra_training.evaluation.matching import Matching, fields_of
from rrra_training.evaluation.splits import check_split

from rrra_haystack import RRRAModel

GUIDE = "The Danube rises in the Black Forest. Bread rises because of yeast. Titan is a moon of Saturn."


def write(folder: Path, passages: list[dict], labels: dict[str, list[str]]) -> Path:
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text("".join(json.dumps(one) + "\n" for one in passages))
    questions = {"river": "Where does the Danube rise?", "bread": "What makes bread rise?", "moon": "What is Titan?"}
    asked = [{"_id": name, "text": questions[name]} for name in labels]
    (folder / "queries.jsonl").write_text("".join(json.dumps(one) + "\n" for one in asked))
    rows = [f"{query}\t{label}\t1\n" for query, own in labels.items() for label in own]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(rows))
    return folder


def cut_at(places: list[int], **fields: object) -> list[dict]:
    """The guide as passages that end at some places, and a passage of another file."""
    found = [
        {"_id": f"p{begin}", "text": GUIDE[begin:end], "source": "guide.txt", "split_idx_start": begin, **fields}
        for begin, end in zip([0, *places], [*places, len(GUIDE)], strict=True)
    ]
    other = {"source": "tea.txt", "split_idx_start": 0, **fields}
    return [*found, {"_id": "tea", "text": "Green tea is steeped at 75 degrees.", **other}]


BREAD = GUIDE.index("yeast")
LABELS = {"river": ["guide.txt,10"], "bread": [f"guide.txt,{BREAD}"], "moon": [f"guide.txt,{len(GUIDE) - 3}"]}


def test_two_ways_of_cutting_are_measured_by_the_same_labels(tmp_path: Path, model: RRRAModel) -> None:
    sentences = [GUIDE.index("Bread"), GUIDE.index("Titan")]
    one = write(tmp_path / "sentences", cut_at(sentences), LABELS)
    two = write(tmp_path / "whole", cut_at([]), LABELS)
    measured = [evaluate(folder, model=model, match="meta.source,meta.split_idx_start") for folder in (one, two)]
    for own in measured:
        assert own.figures["systems"]["rrra"]["R@1"] == 1
        assert own.figures["match"] == "meta.source,meta.split_idx_start"
        # What is shown of passages is judged by passages.
        assert own.qrels["bread"] == ({"p38": 1} if own is measured[0] else {"p0": 1})


def test_a_label_is_found_once_and_where_its_first_passage_stands() -> None:
    passages = [Passage(name, "", "text", (file,)) for name, file in (("a", "x"), ("b", "x"), ("c", "y"), ("d", "z"))]
    labels = {"q": {"x": 1, "y": 2}}
    matching = Matching(["source"], passages, labels)
    scores = {"d": 0.9, "b": 0.8, "a": 0.7, "c": 0.1}
    assert matching.labels_found("q", scores) == {"x": 2, "y": 4}
    values = matching.per_query(labels, {"q": scores})
    assert (values["R@1"][0], values["R@5"][0], values["MRR@10"][0]) == (0, 1, 0.5)
    assert values["MAP@100"][0] == (1 / 2 + 2 / 4) / 2
    assert values["nDCG@10"][0] == pytest.approx((1 / np.log2(3) + 2 / np.log2(5)) / (2 + 1 / np.log2(3)))
    assert matching.by_passage() == {"q": {"a": 1, "b": 1, "c": 2}}


def places(labels: dict[str, int], *passages: tuple[str, int]) -> tuple[Matching, dict, dict]:
    """Labels of places in the file f, passages of ten characters from some on, and these as a run in this order."""
    found = [Passage(name, "", "0123456789", ("f", str(begin))) for name, begin in passages]
    judged = {"q": {f"f,{place}": grade for place, grade in labels.items()}}
    run = {"q": {one.id: -float(rank) for rank, one in enumerate(found)}}
    return Matching(["source", "split_idx_start"], found, judged), judged, run


def test_recall_is_the_share_of_the_labels_in_the_passages_that_are_read() -> None:
    others = [("n1", 100), ("n2", 200), ("n3", 300)]
    matching, labels, run = places({"0": 1, "9": 1, "10": 1}, ("a", 0), *others, ("b", 10))
    values = matching.per_query(labels, run)
    assert (values["R@1"][0], values["R@5"][0]) == (pytest.approx(2 / 3), 1)
    # Two labels at the first places, and one at its own, the fifth.
    assert values["MAP@100"][0] == pytest.approx((1 + 1 + 3 / 5) / 3)
    ideal = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    assert values["nDCG@10"][0] == pytest.approx((1 + 1 / np.log2(3) + 1 / np.log2(6)) / ideal)


def test_a_passage_with_more_labels_than_are_read_passages_holds_them_all() -> None:
    matching, labels, run = places({str(place): 1 for place in range(8)}, ("n", 100), ("a", 0))
    values = matching.per_query(labels, run)
    assert (values["R@1"][0], values["R@5"][0], values["MRR@10"][0]) == (0, 1, 0.5)
    assert values["MAP@100"][0] < values["nDCG@10"][0] < 1


def test_whole_texts_are_measured_no_lower_than_their_pieces() -> None:
    labels = {"0": 1, "9": 2, "10": 1, "25": 1}
    pieces = places(labels, ("n", 100), ("a", 0), ("b", 10), ("c", 20))
    judged, (fine, _, run) = pieces[1], pieces
    whole = [Passage("n", "", "0123456789", ("f", "100")), Passage("w", "", 30 * "0", ("f", "0"))]
    coarse = Matching(["source", "split_idx_start"], whole, judged).per_query(judged, {"q": {"n": 2.0, "w": 1.0}})
    assert all(coarse[name][0] >= value[0] for name, value in fine.per_query(judged, run).items())


def test_what_is_judged_irrelevant_takes_no_place_of_a_label() -> None:
    matching, labels, run = places({"0": 0, "5": -1, "10": 1}, ("a", 0), ("b", 10))
    values = matching.per_query(labels, run)
    assert (values["MRR@10"][0], values["R@5"][0]) == (0.5, 1)


def test_a_passage_may_have_several_labels_of_places() -> None:
    matching, labels, run = places({"0": 1, "9": 2, "10": 1, "99": 1}, ("a", 0), ("b", 10))
    assert list(matching.labels_found("q", run["q"]).items()) == [("f,9", 1), ("f,0", 1), ("f,10", 2)]
    # One label is of no passage.
    assert matching.per_query(labels, run)["R@100"].tolist() == [3 / 4]
    assert all(value.tolist() == [0] for value in matching.per_query(labels, {"q": {}}).values())


def test_fields_stand_under_meta_or_beside_the_text(tmp_path: Path) -> None:
    rows = [
        {"_id": "a", "text": "one", "meta": {"page": 3}, "page": 4},
        {"_id": "b", "text": "two", "page": "iv"},
    ]
    folder = write(tmp_path / "set", rows, {"river": ["3"]})
    assert [one.fields for one in BeirDataset(folder, fields=["page"]).passages()] == [("3",), ("iv",)]
    assert [one.fields for one in BeirDataset(folder).passages()] == [(), ()]


@pytest.mark.parametrize("match", ["source", "meta.", "meta.a,b", "meta.a,,meta.b", ""])
def test_what_names_no_field_is_refused(match: str) -> None:
    with pytest.raises(ValueError, match="takes metadata fields"):
        fields_of(match)


def test_the_place_comes_last() -> None:
    assert fields_of(None) == ()
    assert fields_of("meta.source, meta.split_idx_start") == ("source", "split_idx_start")
    with pytest.raises(ValueError, match="has to come last"):
        fields_of("meta.split_idx_start,meta.source")


@pytest.mark.parametrize(
    ("match", "labels", "said"),
    [
        ("meta.page", LABELS, r"corpus.jsonl, line 1: the metadata field 'page' is missing"),
        ("meta.tags", LABELS, r"the metadata field 'tags' is a list"),
        ("meta.source", LABELS, r"No label names a passage by meta.source: the first label is 'guide.txt,10'.*guide"),
        ("meta.split_idx_start", {"river": ["guide.txt"]}, "does not end with a character's number"),
        ("meta.source,meta.name,meta.split_idx_start", LABELS, "the metadata field 'name' is missing"),
    ],
)
def test_what_cannot_match_is_told(tmp_path: Path, match: str, labels: dict, said: str) -> None:
    folder = write(tmp_path / "set", cut_at([40], tags=["a"]), labels)
    with pytest.raises(ValueError, match=said):
        check_split(folder, "test", match=match)


def test_condensed_lists_are_not_measured_by_fields(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="leave one away"):
        check_split(write(tmp_path / "set", cut_at([40]), LABELS), "test", match="meta.source", only_judged=True)


def test_labels_of_no_passage_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    labels = {**LABELS, "bread": ["lost.txt,0"]}
    checked = check_split(
        write(tmp_path / "set", cut_at([40]), labels), "test", match="meta.source,meta.split_idx_start"
    )
    assert "1 of 3 labels name no passage by meta.source,meta.split_idx_start" in caplog.text
    assert checked.matching is not None
    assert checked.matching.by_passage()["bread"] == {}
