"""What a module that is run tells of a wrong input."""

import runpy
import sys
from pathlib import Path

import pytest
import rrra_training

ROOT = Path(rrra_training.__file__).parent
RUN = [path for path in sorted(ROOT.rglob("*.py")) if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")]
# A collection, and one that is not there, as each module takes them.
WRONG = {
    "rrra_training.launch": ["nowhere"],
    "rrra_training.studies.adapted": ["data:test", "nowhere:test"],
    "rrra_training.studies.audit_benchmark": ["data:train", "nowhere:train", "--output", "made"],
    "rrra_training.studies.compressed_kinds": ["data:test", "nowhere:test", "--model", "own=all-MiniLM-L6-v2"],
    "rrra_training.studies.detection_benchmark": ["data:train", "nowhere:train", "--output", "made"],
    "rrra_training.studies.layers": ["all-MiniLM-L6-v2", "data:test", "nowhere:test"],
    "rrra_training.studies.many_sets": ["data:test", "nowhere:test"],
    "rrra_training.studies.mining": ["data:train", "nowhere:train", "--output", "made"],
    "rrra_training.studies.mining_judge": ["data:train", "nowhere:train", "--output", "made", "--judge", "any"],
    "rrra_training.studies.resampling": ["data:train", "nowhere:train"],
    "rrra_training.studies.search_quality": ["data:test=store", "nowhere:test=store"],
    "rrra_training.studies.trust": ["data:train:test", "nowhere:train:test", "--cache", "made"],
    "rrra_training.studies.word_rarity": ["data", "nowhere", "made"],
}


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """A folder with a collection of one passage and one question."""
    folder = tmp_path / "data"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text('{"_id": "p", "title": "", "text": "The Danube rises in the Black Forest."}\n')
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "Where does the Danube begin?"}\n')
    for split in ("train", "test"):
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\nq\tp\t1\n")
    return tmp_path


def test_all_are_run_alike() -> None:
    assert len(RUN) > 25
    for path in RUN:
        last = path.read_text(encoding="utf-8").splitlines()[-1]
        assert last in {"    run_command(app)", "    run_command(main)"}, path


@pytest.mark.parametrize("module", WRONG)
def test_what_a_user_can_mend_is_told_in_one_sentence_before_anything_is_computed(
    collection: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], module: str
) -> None:
    monkeypatch.chdir(collection)
    monkeypatch.setattr(sys, "argv", [module, *WRONG[module]])
    monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(module, run_name="__main__")
    printed = capsys.readouterr()
    assert ended.value.code == 1, printed.err
    assert len(printed.err.splitlines()) == 1, printed.err
    assert printed.err.startswith("Error: ")
    assert "nowhere" in printed.err
    assert not printed.out
    assert [own.name for own in collection.iterdir()] == ["data"]


def test_the_traceback_is_there_for_those_who_ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RRRA_DEBUG", "1")
    monkeypatch.setattr(sys, "argv", ["many_sets", "nowhere:test"])
    monkeypatch.delitem(sys.modules, "rrra_training.studies.many_sets", raising=False)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        runpy.run_module("rrra_training.studies.many_sets", run_name="__main__")
