"""Corrected labels of a small collection in the formats of other trainers."""

import json
from pathlib import Path

from rrra_training.audit.decisions import Corrected, corrected, labels_digest
from rrra_training.audit.exporting import export
from rrra_training.data import BeirDataset
from rrra_training.data.interface import Passage, Query
from rrra_training.data.qrels import Qrels
from rrra_training.data.writing import write_beir


def _corrected(folder: Path, judged: Qrels) -> Corrected:
    """Labels of six passages, of which a person said that p5 does not answer the first query."""
    passages = [Passage(f"p{number}", "", f"Text {number}.") for number in range(6)]
    write_beir(folder, passages, [Query(one, f"query {one}") for one in judged], {"train": judged})
    query = next(iter(judged))
    decisions = {
        "dataset": "collection", "split": "train", "digest": labels_digest(judged),
        "decisions": [{"kind": "missing", "query": query, "passage": "p5", "decision": "reject"}],
    }  # fmt: skip
    path = folder / "decisions.json"
    path.write_text(json.dumps(decisions))
    return corrected(folder, path)


def test_the_beir_layout_holds_the_grades(tmp_path: Path) -> None:
    made = _corrected(tmp_path / "graded", {"a": {"p0": 3, "p1": 2, "p2": 1, "p3": 0, "p4": -1}, "b": {"p1": 2}})
    export(made, tmp_path / "out", "beir", negatives=3)
    read = BeirDataset(tmp_path / "out").qrels("train")
    assert read == {"a": {"p0": 3, "p1": 2, "p2": 1, "p3": 0, "p4": -1, "p5": 0}, "b": {"p1": 2}}
