"""What is gone when an index is brought up to date, and what goes wrong at the end of it."""

import subprocess
import sys
from pathlib import Path

import pytest
from commands import run
from projects import payloads
from typer.testing import CliRunner

from haystack_integrations.document_stores.qdrant_edge.optimizing import optimize
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


HOLD = """
import sys, qdrant_edge
shard = qdrant_edge.EdgeShard.load(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("is_built", [False, True])
@pytest.mark.parametrize("command", [["index", "tea"], ["copy", ".rrra/store", "copied"]], ids=lambda own: own[0])
def test_files_are_told_although_another_process_holds_the_folder(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], is_built: bool
) -> None:
    for name in ("oolong", "sencha"):
        Path("tea").mkdir(exist_ok=True)
        Path("tea", f"{name}.txt").write_text(f"How {name} is made.")
    if command[0] == "copy":
        run("index", "tea")
    holders: list[subprocess.Popen] = []

    def get_in(folder: Path) -> None:
        if is_built:
            optimize(folder)
        command = [sys.executable, "-c", HOLD, str(folder)]
        holders.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert holders[0].stdout.readline() == b"held\n"
        if not is_built:
            optimize(folder)

    with monkeypatch.context() as patched:
        patched.setattr("haystack_integrations.document_stores.qdrant_edge.optimizing._ASKING", 0)
        patched.setattr("haystack_integrations.document_stores.qdrant_edge.shards.optimize", get_in)
        result = CliRunner().invoke(app, command)
    holders[0].communicate()
    told = " ".join(f"{result.output} {result.exception or ''}".split())
    unbuilt = "only the engine's search index is not built (The Qdrant folder"
    assert ("is open in another process). The same command builds it." in told and unbuilt in told) != is_built
    assert result.exit_code == (0 if is_built else 1)
    assert ("2 files added" in told) == (command[0] == "index")
    assert ("2 were written" in told) == (is_built and command[0] == "copy")
