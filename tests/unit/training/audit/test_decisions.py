"""Decisions applied to small collections, written as a further split."""

import gzip
import json
from pathlib import Path

import pytest
from rrra_training.audit.decisions import Corrected, corrected, labels_digest, write_split
from rrra_training.data import BeirDataset
from rrra_training.data.interface import Passage, Query
from rrra_training.data.writing import write_beir

_PASSAGES = [Passage(f"p{number}", "", f"Text {number}.") for number in range(4)]
_QUERIES = [Query("a", "first"), Query("b", "second")]
_JUDGED = {"train": {"a": {"p0": 3, "p1": 0}, "b": {"p2": 1}}, "test": {"b": {"p2": 2}}}


@pytest.fixture(params=["qrels", "default", "data"])
def collection(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A collection whose labels lie in one of the folders that BEIR and MTEB have them in."""
    folder = tmp_path / "collection"
    write_beir(folder, _PASSAGES, _QUERIES, _JUDGED)
    (folder / "qrels").rename(folder / request.param)
    return folder


def _applied(folder: Path) -> Corrected:
    decisions = {
        "dataset": "collection", "split": "train", "digest": labels_digest(BeirDataset(folder).qrels("train")),
        "decisions": [{"kind": "missing", "query": "b", "passage": "p3", "decision": "accept"}],
    }  # fmt: skip
    path = folder.parent / "decisions.json"
    path.write_text(json.dumps(decisions))
    return corrected(folder, path)


def test_the_splits_that_were_there_stay(collection: Path) -> None:
    write_split(_applied(collection))
    after = BeirDataset(collection)
    assert after.splits() == ["test", "train", "train-audited"]
    assert {split: after.qrels(split) for split in _JUDGED} == _JUDGED
    assert after.qrels("train-audited") == {"a": {"p0": 3, "p1": 0}, "b": {"p2": 1, "p3": 1}}


def test_a_split_is_not_mixed_with_one_in_another_file(collection: Path) -> None:
    path = BeirDataset(collection).qrels_folder / "test.tsv"
    path.with_name("test.tsv.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    for force in (False, True):
        with pytest.raises(FileExistsError, match=r"test\.tsv\.gz"):
            write_split(_applied(collection), name="test", force=force)
    assert BeirDataset(collection).qrels("test") == _JUDGED["test"]


def test_a_split_that_was_written_is_replaced_by_force_alone(collection: Path) -> None:
    made = _applied(collection)
    path = write_split(made)
    with pytest.raises(FileExistsError, match="--force"):
        write_split(_applied(collection))
    path.write_text("")
    assert write_split(_applied(collection), force=True) == path
    assert BeirDataset(collection).qrels("train-audited") == made.qrels
