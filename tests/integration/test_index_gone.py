"""What is gone when an index is brought up to date, and what goes wrong at the end of it."""

import sys
from pathlib import Path

import pytest
from commands import run
from projects import payloads
from typer.testing import CliRunner

from rrra_haystack.cli import app


def names() -> set[str]:
    return {Path(one["meta"]["source"]).name for one in payloads()}


def test_what_was_named_and_is_gone_is_removed(workspace: Path, files: Path) -> None:
    tea = Path("tea")
    tea.mkdir()
    (tea / "oolong.txt").write_text("Oolong is half fermented.")
    (tea / "sencha.txt").write_text("Sencha is steamed.")
    rivers = files / "rivers.txt"
    run("index", "tea", str(rivers))
    rivers.unlink()
    said = run("index", str(rivers))
    assert "0 changed, 1 removed, 0 unchanged" in said
    assert "rivers.txt: it is gone, and so is what the index had of it" in " ".join(said.split())
    assert names() == {"oolong.txt", "sencha.txt"}
    tea.rename("coffee")
    assert "2 files added, 0 changed, 2 removed" in run("index", "tea", "coffee")
    # A typing error is none of the index's files, and leaves no empty store behind.
    for options in ([], ["--store", "new"]):
        with pytest.raises(ValueError, match=r"There is no file or folder .*/cofee, and the index holds nothing of"):
            run("index", "cofee", *options)
    assert not Path("new").exists()
    assert names() == {"oolong.txt", "sencha.txt"}


def test_a_document_that_is_open_in_word_is_no_failure(workspace: Path, files: Path) -> None:
    (files / "~$ntract.docx").write_bytes(b"\x05Anna " + b" " * 48 + b"\x05\x00A\x00n\x00n\x00a" + b"\x00" * 99)
    assert "4 files added" in run("index", str(files))


def test_files_are_told_although_the_engine_cannot_build_its_index(
    workspace: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (files / "broken.pdf").write_bytes(b"%PDF-1.4 and nothing more")
    with monkeypatch.context() as patched:
        # No process can be started, as where there is no memory for one.
        patched.setattr(sys, "executable", "/nowhere/python")
        result = CliRunner().invoke(app, ["index", str(files)], catch_exceptions=False)
    output = " ".join(result.output.split())
    assert result.exit_code == 1
    assert "4 files added" in output
    assert "broken.pdf: it is damaged" in output
    assert "only the engine's search index is not built ([Errno 2]" in output
    assert len(payloads()) >= 4
