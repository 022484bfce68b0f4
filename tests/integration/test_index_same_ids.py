"""Passages of several files, or several in one, that have the same _id."""

import json
from pathlib import Path

import pytest
from commands import run
from projects import payloads

from rrra_haystack.indexing.index import index
from rrra_haystack.indexing.stored import StoredUnits
from rrra_haystack.pipeline_files import read_pipeline


def write(name: str, **texts: str) -> None:
    rows = [json.dumps({"_id": key, "text": text}) + "\n" for key, text in texts.items()]
    Path("corpus", name).write_text("".join(rows))


def held() -> dict[str, str]:
    return {one["id"]: one["content"] for one in payloads()}


@pytest.fixture(autouse=True)
def corpus(workspace: Path) -> None:
    Path("corpus").mkdir()
    write("a.jsonl", one="The Danube rises.", two="The Rhine rises.")


def test_a_passage_comes_back_when_the_file_that_took_its_id_is_deleted() -> None:
    run("index", "corpus")
    write("b.jsonl", one="Oolong is half fermented.", three="Sencha is steamed.")
    said = " ".join(run("index", "corpus").split())
    assert "1 files added, 0 changed, 0 removed, 1 unchanged" in said
    assert "1 _ids belong to several passages, of which the one that was written last stays" in said
    assert ": one." in said
    taken = {"one": "Oolong is half fermented.", "two": "The Rhine rises.", "three": "Sencha is steamed."}
    assert held() == taken
    # Both stay as they are while nothing changes.
    said = run("index", "corpus")
    assert "0 changed, 0 removed, 2 unchanged" in said
    assert "_id" not in said
    Path("corpus/b.jsonl").unlink()
    assert "0 added, 1 changed, 1 removed" in run("index", "corpus").replace("files added", "added")
    assert held() == {"one": "The Danube rises.", "two": "The Rhine rises."}
    assert "1 unchanged" in run("index", "corpus")


def test_a_passage_comes_back_when_the_other_gets_an_id_of_its_own() -> None:
    write("b.jsonl", one="Oolong is half fermented.", three="Sencha is steamed.")
    assert "1 _ids belong" in run("index", "corpus")
    assert held()["one"] == "Oolong is half fermented."
    write("b.jsonl", four="Oolong is half fermented.", three="Sencha is steamed.")
    said = run("index", "corpus")
    assert "2 changed" in said
    assert "_id" not in said
    assert held().keys() == {"one", "two", "three", "four"}
    assert held()["one"] == "The Danube rises."


def test_what_took_from_one_that_took_from_another_gives_all_back() -> None:
    run("index", "corpus")
    for name in ("b.jsonl", "c.jsonl"):
        write(name, one=f"The {name} says so.")
        run("index", "corpus")
    assert held()["one"] == "The c.jsonl says so."
    Path("corpus/c.jsonl").unlink()
    assert "2 changed, 1 removed" in run("index", "corpus")
    assert held()["one"] == "The b.jsonl says so."
    Path("corpus/b.jsonl").unlink()
    run("index", "corpus")
    assert held() == {"one": "The Danube rises.", "two": "The Rhine rises."}


def test_a_file_that_is_not_named_is_told_and_written_when_it_is() -> None:
    write("b.jsonl", one="Oolong is half fermented.")
    run("index", "corpus")
    write("b.jsonl", three="Sencha is steamed.")
    said = " ".join(run("index", "corpus/b.jsonl").split())
    assert "Files lack passages" in said
    assert "name them again: corpus/a.jsonl." in said
    assert held().keys() == {"two", "three"}
    said = run("index", "corpus")
    assert "1 changed, 0 removed, 1 unchanged" in said
    assert "lack passages" not in said
    assert held().keys() == {"one", "two", "three"}


def test_the_last_line_of_a_file_stays_and_the_others_are_told() -> None:
    rows = [
        '{"_id": "one", "text": "The Danube rises."}',
        '{"_id": 7, "text": "Tea."}',
        '{"_id": 7, "text": "Coffee."}',
    ]
    Path("corpus/a.jsonl").write_text("\n".join(rows))
    assert "1 _ids belong to several passages" in run("index", "corpus")
    assert held() == {"one": "The Danube rises.", "7": "Coffee."}
    assert "1 unchanged" in run("index", "corpus")


def test_a_kill_does_not_hide_whose_passage_was_overwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    run("index", "corpus")
    write("b.jsonl", one="Oolong is half fermented.")
    replace = StoredUnits.replace

    def killed(stored: StoredUnits, keys: list, documents: list) -> None:
        replace(stored, keys, documents)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(StoredUnits, "replace", killed)
        # A kill would not write the manifest at the end.
        patched.setattr("rrra_haystack.indexing.manifest.Manifest.complete", lambda *_: None)
        with pytest.raises(KeyboardInterrupt):
            index([Path("corpus")], read_pipeline(None, "indexing.yaml", None))
    assert held()["one"] == "Oolong is half fermented."
    Path("corpus/b.jsonl").unlink()
    run("index", "corpus")
    assert held() == {"one": "The Danube rises.", "two": "The Rhine rises."}


def test_a_file_that_is_not_named_lacks_nothing_while_the_other_keeps_the_id() -> None:
    write("b.jsonl", one="Oolong is half fermented.", three="Sencha is steamed.")
    run("index", "corpus")
    for text in ("Sencha is cooked.", "Sencha is dried."):
        write("b.jsonl", one="Oolong is half fermented.", three=text)
        said = run("index", "corpus/b.jsonl")
        assert "1 changed" in said
        assert "lack passages" not in said
    # What it has taken is still known.
    write("b.jsonl", three="Sencha is dried.")
    assert "lack passages" in run("index", "corpus/b.jsonl")
    run("index", "corpus")
    assert held().keys() == {"one", "two", "three"}


def test_what_took_from_one_that_took_from_another_may_change_and_keep_the_id() -> None:
    for name in ("b.jsonl", "c.jsonl"):
        run("index", "corpus")
        write(name, one=f"The {name} says so.")
    run("index", "corpus")
    write("c.jsonl", one="The c.jsonl says so.", four="Further lines.")
    assert "lack passages" not in run("index", "corpus/c.jsonl")
    Path("corpus/c.jsonl").unlink()
    Path("corpus/b.jsonl").unlink()
    run("index", "corpus")
    assert held() == {"one": "The Danube rises.", "two": "The Rhine rises."}


@pytest.mark.parametrize("whole", [False, True])
def test_a_line_that_is_wrong_keeps_no_other_file_from_being_left_alone(whole: bool) -> None:
    write("b.jsonl", one="Oolong is half fermented.", three="Sencha is steamed.")
    run("index", "corpus")
    wrong = '{"_id": "one", "text": 7}\n'
    Path("corpus/b.jsonl").write_text(wrong if whole else Path("corpus/b.jsonl").read_text() + wrong)
    index([Path("corpus")], read_pipeline(None, "indexing.yaml", None))
    for paths in ([Path("corpus")], [Path("corpus/b.jsonl")], [Path("corpus")]):
        report = index(paths, read_pipeline(None, "indexing.yaml", None))
        assert (report.changed, report.incomplete, len(report.failed)) == (0, [], 1)
    taken = held()
    assert taken.keys() == {"one", "two", "three"}
    Path("corpus/b.jsonl").unlink()
    run("index", "corpus")
    assert held() == {"one": "The Danube rises.", "two": "The Rhine rises."}
