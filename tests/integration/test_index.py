import ctypes
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import counts, run
from projects import edit, payloads
from pypdf import PdfWriter
from qdrant_client import models
from qdrant_server import qdrant_server
from safetensors.torch import load_file, save_file
from texts import pdf
from typer.testing import CliRunner

from haystack_integrations.document_stores.qdrant_edge.client import EdgeClient
from rrra_haystack.cli import app
from rrra_haystack.indexing import index as indexing
from rrra_haystack.indexing.stored import StoredUnits
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.pipeline_files import read_pipeline
from rrra_haystack.pretrained import DEFAULT_MODEL, bundled

REPOSITORY = Path(__file__).parents[2]


RRRA = Path(sys.executable).with_name("rrra")


def sources() -> set[str]:
    return {Path(one["meta"]["source"]).name for one in payloads()}


@contextmanager
def bound_by_modes() -> Iterator[None]:
    """Let root, as which tests run in containers, read no more than the modes of files allow."""

    class Header(ctypes.Structure):
        _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))

    def capabilities(effective: int | None = None) -> int:
        # The sets of capabilities as linux/capability.h has them: effective, permitted, inheritable; low words, high.
        header, sets = Header(0x20080522, 0), (ctypes.c_uint32 * 6)()
        assert libc.capget(ctypes.byref(header), sets) == 0
        held = sets[0]
        if effective is not None:
            sets[0] = effective
            assert libc.capset(ctypes.byref(header), sets) == 0
        return held

    libc = ctypes.CDLL(None)
    reads_all = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    before = capabilities()
    capabilities(before & ~reads_all)
    try:
        yield
    finally:
        capabilities(before)


def test_index_is_incremental(workspace: Path, files: Path) -> None:
    assert "4 files added, 0 changed, 0 removed, 0 unchanged" in run("index", str(files))
    before = counts(run("index", str(files)))
    assert "0 files added, 0 changed, 0 removed, 4 unchanged" in before

    (files / "rivers.txt").write_text("The Elbe rises in the Giant Mountains.")
    (files / "tea.md").write_text("Oolong is half fermented.")
    (files / "moons.html").unlink()
    assert "1 files added, 1 changed, 1 removed, 2 unchanged" in run("index", str(files))

    found = json.loads(run("ask", "Where does the Elbe rise?", "--json"))
    contents = " ".join(document["content"] for document in found["documents"])
    assert "Elbe" in contents
    assert "Danube" not in contents
    assert "Ganymede" not in contents


def test_index_makes_codes_of_the_kind_that_is_asked_for(workspace: Path, files: Path) -> None:
    rivers = str(files / "rivers.txt")
    sizes = []
    for code, said in (("int8", "1 files added"), ("1bit", "1 changed")):
        assert said in run("index", rivers, "--code", code)
        (held,) = payloads()
        sizes.append(len(held["meta"]["rrra_codes"]))
    assert sizes[0] > 3 * sizes[1]
    assert "1 unchanged" in run("index", rivers, "--code", "1bit")
    with pytest.raises(Exception, match=r"code must be .* but got '3bit'"):
        run("index", rivers, "--code", "3bit")


def test_index_goes_on_after_a_kill(workspace: Path, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    # Blanks make each file a batch of its own, and cost no encoding.
    blanks = " " * indexing._BATCH_BYTES
    for i in range(30):
        (folder / f"{i:02}.txt").write_text(f"Report number {i}. " + f"A section of report {i}.\n\n" * 10 + blanks)
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    process = subprocess.Popen([RRRA, "index", str(folder)], env=environment, stdout=subprocess.DEVNULL)
    manifest = Path(".rrra/store/rrra-rrra-index.json")
    deadline = time.monotonic() + 120
    while not manifest.exists() or not json.loads(manifest.read_text())["files"]:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(json.loads(manifest.read_text())["files"])
    assert 0 < done < 30

    assert f"{30 - done} files added, 0 changed, 0 removed, {done} unchanged" in run("index", str(folder))
    interrupted = counts(run("index", str(folder)))
    whole = counts(run("index", str(folder), "--store", "whole"))
    assert interrupted.split("holds")[1] == whole.split("holds")[1]


def test_a_store_by_another_name_keeps_its_files(workspace: Path, files: Path) -> None:
    (workspace / "new.txt").write_text("Oolong is half fermented.")
    run("index", str(files), "--store", ".rrra/store")
    said = run("index", "new.txt", "--store", "./.rrra/store")
    assert "1 files added, 0 changed, 0 removed, 0 unchanged" in said
    assert "another pipeline" not in said
    assert sources() == {"rivers.txt", "kitchen.md", "moons.html", "bridge.pdf", "new.txt"}
    assert "4 unchanged" in run("index", str(files), "--store", str(workspace / ".rrra/store"))


def test_another_pipeline_indexes_what_is_named_anew_and_leaves_the_rest(workspace: Path, files: Path) -> None:
    run("index", str(files))
    whole = payloads()
    changed = Path("pipelines/indexing.yaml")
    changed.write_text(changed.read_text().replace("split_length: 180", "split_length: 10"))
    rivers = str(files / "rivers.txt")
    said = run("index", rivers, "--pipeline", str(changed))
    assert "0 files added, 1 changed, 0 removed, 0 unchanged" in said
    assert "3 files were indexed by another pipeline; name them again" in said
    held = payloads()
    others = [one for one in whole if one["meta"]["source"] != rivers]
    assert sorted(one["id"] for one in held if one["meta"]["source"] != rivers) == sorted(one["id"] for one in others)
    assert len(held) - len(others) > len(whole) - len(others)
    said = run("index", str(files), "--pipeline", str(changed))
    assert "3 changed, 0 removed, 1 unchanged" in said
    assert "another pipeline" not in said

    client = EdgeClient(".rrra/store")
    client.delete("rrra", models.FilterSelector(filter=models.Filter()))
    client.close()
    assert "4 files added" in run("index", str(files), "--pipeline", str(changed))


def test_codes_of_an_earlier_version_are_made_anew(
    workspace: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rivers = str(files / "rivers.txt")
    with monkeypatch.context() as earlier:
        for module in ("rrra_haystack.model.codes.codec", "rrra_haystack.indexing.pipeline_digest"):
            earlier.setattr(f"{module}.VERSION", 1)
        run("index", rivers)
    asked = ["ask", "Where does the Danube rise?", "--pipeline", "pipelines/search.yaml"]
    refused = CliRunner().invoke(app, asked)
    assert "have version 1, but this release reads version 3" in str(refused.exception)
    assert "0 files added, 1 changed, 0 removed, 0 unchanged" in run("index", rivers)
    assert "Black Forest" in run(*asked)


def test_a_model_that_is_trained_again_is_another_pipeline(workspace: Path, files: Path) -> None:
    shutil.copytree(bundled(DEFAULT_MODEL), "model")
    edit("indexing.yaml", "embedder", model="model")
    rivers = [str(files / "rivers.txt"), "--pipeline", "pipelines/indexing.yaml"]
    assert "1 files added" in run("index", *rivers)
    assert "0 changed, 0 removed, 1 unchanged" in run("index", *rivers)
    path = Path("model/rrra/adapter.safetensors")
    weights = load_file(path)
    weights["projection.weight"][0, 0] += 1
    save_file(weights, path)
    assert "1 changed, 0 removed, 0 unchanged" in run("index", *rivers)
    assert "0 changed, 0 removed, 1 unchanged" in run("index", *rivers)


def test_an_interruption_leaves_what_is_whole(workspace: Path, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "_BATCH_BYTES", 1)
    rivers = files / "rivers.txt"
    before = rivers.read_text()
    run("index", str(rivers))
    rivers.write_text("The Elbe rises in the Giant Mountains.")
    replace, written = StoredUnits.replace, []

    def interrupted(stored: StoredUnits, former: list, documents: list) -> None:
        # In the midst of the last one, when its former passages are deleted.
        if former:
            stored.delete(former)
            raise KeyboardInterrupt
        written.append(documents)
        replace(stored, former, documents)

    monkeypatch.setattr(StoredUnits, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        indexing.index([files], read_pipeline(None, "indexing.yaml", None))
    assert len(written) == 3
    manifest = json.loads(Path(".rrra/store/rrra-rrra-index.json").read_text())
    assert manifest["pending"] == [str(rivers)]
    monkeypatch.setattr(StoredUnits, "replace", replace)
    # Its bytes are those that the manifest knows, but its passages are gone.
    rivers.write_text(before)
    assert "0 files added, 1 changed, 0 removed, 3 unchanged" in run("index", str(files))
    assert "rivers.txt" in sources()


def test_nothing_to_index(workspace: Path) -> None:
    (workspace / "folder").mkdir()
    (workspace / "empty.jsonl").touch()
    assert "There is no file to index." in run("index", "folder")
    result = CliRunner().invoke(app, ["index", "empty.jsonl"])
    assert "0 files added, 0 changed, 0 removed, 0 unchanged" in result.output
    assert "empty.jsonl: it is empty" in " ".join(result.output.split())
    with pytest.raises(ValueError, match=r"The store empty\.jsonl is a file\. Name a folder"):
        run("index", "folder", "--store", "empty.jsonl")


@pytest.mark.parametrize("others", [True, False])
def test_former_passages_are_forgotten_where_no_manifest_tells_of_them(
    workspace: Path, files: Path, others: bool
) -> None:
    run("index", str(files))
    manifest = Path(".rrra/store/rrra-rrra-index.json")
    told = json.loads(manifest.read_text())
    del told["files"][str(files / "rivers.txt")]
    # As after a file was posted to a server over the same folder.
    manifest.write_text(json.dumps(told)) if others else manifest.unlink()
    (files / "rivers.txt").write_text("The Elbe rises in the Giant Mountains.")
    assert f"{1 if others else 4} files added" in run("index", str(files))
    held = [one["content"] for one in payloads() if one["meta"]["source"].endswith("rivers.txt")]
    assert held == ["The Elbe rises in the Giant Mountains."]


def test_former_passages_are_forgotten_that_another_machine_wrote(
    workspace: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with qdrant_server() as server:
        run("index", str(files / "rivers.txt"), "--store", server.url)
        # As on another machine, whose manifest tells of another file only.
        monkeypatch.chdir(tmp_path)
        run("index", str(files / "kitchen.md"), "--store", server.url)
        (files / "rivers.txt").write_text("The Elbe rises in the Giant Mountains.")
        run("index", str(files / "rivers.txt"), "--store", server.url)
        held = [record.payload for record in server.client.scroll("rrra", limit=1000)[0]]
    rivers = [one["content"] for one in held if one["meta"]["source"].endswith("rivers.txt")]
    assert rivers == ["The Elbe rises in the Giant Mountains."]


def test_a_file_that_cannot_be_read_is_skipped_and_not_forgotten(workspace: Path, files: Path) -> None:
    below = files / "below"
    below.mkdir()
    (below / "tea.md").write_text("Oolong is half fermented.")
    run("index", str(files))
    (files / "moons.html").unlink()
    (files / "rivers.txt").chmod(0)
    below.chmod(0)
    with bound_by_modes():
        result = CliRunner().invoke(app, ["index", str(files)], catch_exceptions=False)
    assert "0 files added, 0 changed, 1 removed, 2 unchanged" in result.output
    assert "rivers.txt: it cannot be read (Permission denied)" in " ".join(result.output.split())
    assert sources() == {"rivers.txt", "kitchen.md", "bridge.pdf", "tea.md"}
    (files / "rivers.txt").chmod(0o644)
    below.chmod(0o755)
    assert "0 files added, 0 changed, 0 removed, 4 unchanged" in run("index", str(files))


def test_pages_without_text_count(workspace: Path) -> None:
    report = PdfWriter()
    for text in ("", "", "The Elbe rises.", "The Oder rises."):
        report.append(io.BytesIO(pdf(text)))
    report.write("report.pdf")
    run("index", "report.pdf")
    (passage,) = payloads()
    assert passage["content"].split("\f") == ["The Elbe rises.", "The Oder rises."]
    assert passage["meta"]["page_number"] == 3


def test_what_fails_is_named_at_every_run_and_keeps_its_passages(workspace: Path, files: Path) -> None:
    run("index", str(files))
    (files / "rivers.txt").write_bytes(b"\x00\x01\x02" * 99)
    (files / "broken.pdf").write_bytes(b"%PDF-1.4 and nothing more")
    (files / "scanned.pdf").write_bytes(pdf(""))
    rows = ['{"_id": "half", "text": "Half a pair: \\ud835."}', '{"_id": "good", "text": "Tea."}']
    Path("corpus.jsonl").write_text("\n".join(rows))
    for said in (
        "1 files added, 0 changed, 0 removed, 3 unchanged",
        "0 files added, 0 changed, 0 removed, 4 unchanged",
    ):
        result = CliRunner().invoke(app, ["index", str(files), "corpus.jsonl"], catch_exceptions=False)
        output = " ".join(result.output.split())
        assert result.exit_code == 1
        assert said in output
        assert "rivers.txt: it is not text in any known encoding" in output
        assert "broken.pdf: it is damaged" in output
        assert "scanned.pdf: no text was found in it: it is probably scanned" in output
        assert any("Danube" in one["content"] for one in payloads())
    manifest = json.loads(Path(".rrra/store/rrra-rrra-index.json").read_text())
    assert {Path(key).name for key in manifest["failed"]} == {"rivers.txt", "broken.pdf", "scanned.pdf"}
    (files / "rivers.txt").write_bytes("Die Donau fließt.".encode("latin-1"))
    (files / "broken.pdf").unlink()
    (files / "scanned.pdf").unlink()
    assert "1 changed" in run("index", str(files))


def test_a_page_without_text_is_no_failure(workspace: Path, files: Path) -> None:
    """As of an application that a script fills; what the index had of it goes."""
    page = files / "page.html"
    page.write_text("<html><body><p>The ferry leaves at one.</p></body></html>")
    assert "5 files added" in run("index", str(files))
    page.write_text('<html><body><div id="root"></div><script src="app.js"></script></body></html>')
    for said in (
        "0 files added, 1 changed, 0 removed, 4 unchanged",
        "0 files added, 0 changed, 0 removed, 4 unchanged",
    ):
        output = run("index", str(files))
        assert said in output
        assert "page.html: no text was found in it" in " ".join(output.split())
        assert not any("ferry" in one["content"] for one in payloads())
    page.write_text("<html><body><p>The ferry leaves at two.</p></body></html>")
    assert "1 files added" in run("index", str(files))
    assert any("ferry leaves at two" in one["content"] for one in payloads())


@pytest.mark.parametrize("together", [True, False])
def test_a_file_that_cannot_be_encoded_ends_nothing(
    workspace: Path, files: Path, together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is alone in its batch or not."""
    encode = Encoder.encode

    def failing(encoder: Encoder, texts: list[str], **options: object) -> object:
        if any("yeast" in text for text in texts):
            msg = "no memory for it"
            raise RuntimeError(msg)
        return encode(encoder, texts, **options)

    monkeypatch.setattr(Encoder, "encode", failing)
    named = [str(files / "kitchen.md"), *([str(files / "rivers.txt")] if together else [])]
    result = CliRunner().invoke(app, ["index", *named], catch_exceptions=False)
    assert result.exit_code == 1
    assert "kitchen.md: no memory for it" in " ".join(result.output.split())
    assert f"{int(together)} files added" in result.output
    monkeypatch.setattr(Encoder, "encode", encode)
    assert "1 files added" in run("index", str(files / "kitchen.md"))


def test_index_leaves_hidden_folders_out_but_not_folders_below_one(workspace: Path) -> None:
    notes = workspace / ".hidden" / "notes"
    (notes / ".git").mkdir(parents=True)
    (notes / "seen.txt").write_text("The Danube rises in the Black Forest.")
    (notes / ".git" / "unseen.txt").write_text("Not meant to be read.")
    assert "1 files added" in run("index", str(notes))


def test_index_skips_what_it_cannot_read_and_says_so(workspace: Path, files: Path) -> None:
    (files / "empty.txt").write_text("")
    picture = files / "picture.png"
    picture.write_bytes(b"\x89PNG")
    result = CliRunner().invoke(app, ["index", str(files), str(picture)])
    assert result.exit_code == 0
    assert "picture.png" in result.output
    assert "empty.txt" in result.output
