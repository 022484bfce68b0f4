# ruff: noqa: RUF001
"""A folder as users have them: every file is accounted for, at the second run as at the first."""

import gzip
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import docx
import openpyxl
import pptx
import pytest
import yaml
from pypdf import PdfReader, PdfWriter
from texts import pdf
from typer.testing import CliRunner

from rrra_haystack.cli import app
from rrra_haystack.indexing.index import index
from rrra_haystack.pipeline_files import read_pipeline

GERMAN = "Die Fähre fährt um zehn Uhr über den Fluß.\n\nDas Gasthaus öffnet im Frühling."
HIDDEN, ADDED, PASSED_OVER, EMPTY, FAILED = "hidden", "added", "passed over", "empty", "failed"


def encrypted(password: str) -> bytes:
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf("The deposit is two rents."))))
    writer.encrypt(password, owner_password="other", algorithm="RC4-128")
    written = io.BytesIO()
    writer.write(written)
    return written.getvalue()


def saved(document: object) -> bytes:
    written = io.BytesIO()
    document.save(written)
    return written.getvalue()


def office() -> dict[str, bytes]:
    text, slides, book = docx.Document(), pptx.Presentation(), openpyxl.Workbook()
    text.add_paragraph("The Elbe rises in the Giant Mountains.")
    slides.slides.add_slide(slides.slide_layouts[5]).shapes.title.text = "Rivers of the north"
    book.active.append(["river", "length"])
    book.active.append(["Elbe", 1094])
    return {"report.docx": saved(text), "slides.pptx": saved(slides), "table.xlsx": saved(book)}


def files() -> dict[str, tuple[bytes, str]]:
    made = office()
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("inner.txt", "The Oder.")
    notebook = {"cells": [{"source": ["The Oder rises ", "in Moravia."]}]}
    text = {
        **{f"german-{code}.txt": GERMAN.encode(code) for code in ("utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252")},
        "german-mac-lines.txt": GERMAN.replace("\n", "\r").encode("latin-1"),
        "windows lines.txt": GERMAN.replace("\n", "\r\n").encode(),
        "russian.txt": "Паром отправляется в десять часов утра от северного берега реки.".encode("koi8-r"),
        "japanese.txt": "渡し船は午前十時に北岸を出発します。宿は春に開きます。".encode("shift_jis"),
        "cut-off.txt": GERMAN.encode() + b"\xc3",
        "zero byte.txt": b"The ferry\x00 leaves at ten.",
        "huge line.txt": b"The ferry leaves at ten and returns at noon. " * 400,
        "UPPER.TXT": b"Capital letters in the suffix.",
        "notes.markdown": b"# Ferry\n\nIt leaves at ten.",
        "manual.rst": b"Ferry\n=====\n\nIt leaves at noon.",
        "page.htm": b"<html><body><p>The ferry leaves at one from the northern bank.</p></body></html>",
        "prices.csv": "\ufeffname;price\nFerry;5 \u20ac\n".encode(),
        "records.jsonl": b'{"name": "ferry", "hour": 10}\n',
        "passages.jsonl": b'{"_id": "p1", "text": "The inn opens in spring."}\n',
        "data.json": b'[{"name": "inn"}]',
        "book.ipynb": json.dumps(notebook).encode(),
        "ferry.py": b"def leave():\n    return 'at ten'\n",
        "server.log": b"2026-03-01 10:00 ferry left\n",
        "settings.yaml": b"ferry: ten\n",
        "bridge.pdf": pdf("The bridge was opened in May."),
        "opens-without-password.pdf": encrypted(""),
        "a.tar.gz.txt": b"A name like an archive's.",
        **made,
    }
    failed = {
        "scanned.pdf": pdf(""),
        "wants-password.pdf": encrypted("secret"),
        "truncated.pdf": pdf("The bridge.")[:80],
        "truncated.docx": made["report.docx"][:-200],
        "truncated.xlsx": made["table.xlsx"][:500],
        "renamed.pptx": b"no presentation",
        "binary.txt": bytes(range(256)) * 20,
        "broken.ipynb": b'{"cells": [',
        "broken.json": b"\xff\xfe\x00",
    }
    textless = {
        "shell.html": b'<html><head><title></title></head><body><div id="root"></div><script src="a.js"></script>',
        "nothing.json": b"{}",
        "no rows.csv": b",,\n,,\n",
        "rules.txt": b"-----\n\n-----\n",
    }
    others = {"photo.png": b"\x89PNG", "archive.zip": zipped.getvalue(), "LICENSE": b"free", "old.doc": b"\xd0\xcf\x11"}
    return {
        **{name: (data, ADDED) for name, data in text.items()},
        **{name: (data, FAILED) for name, data in failed.items()},
        **{name: (data, PASSED_OVER) for name, data in others.items()},
        "notes.txt.gz": (gzip.compress(b"The Oder."), PASSED_OVER),
        "nothing.txt": (b"", EMPTY),
        "mark alone.txt": (b"\xef\xbb\xbf", EMPTY),
        "blank.md": (b" \r\n", EMPTY),
        **{name: (data, EMPTY) for name, data in textless.items()},
        ".hidden.txt": (b"Hidden.", HIDDEN),
    }


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "odd"
    folder.mkdir()
    for name, (data, _) in files().items():
        (folder / name).write_bytes(data)
    return folder


def said_of(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["index", *arguments], catch_exceptions=False)
    return result.exit_code, " ".join(result.output.split())


def test_every_file_is_accounted_for(folder: Path) -> None:
    (folder / "dangling.txt").symlink_to("nowhere.txt")
    (folder / "loop").symlink_to(folder)
    (folder / "same.pdf").symlink_to("bridge.pdf")
    os.mkfifo(folder / "pipe.txt")
    elsewhere = folder.with_name("elsewhere")
    elsewhere.mkdir()
    (elsewhere / "linked.txt").write_text("The linked folder is read.")
    (folder / "linked").symlink_to(elsewhere)
    (folder / "linked again").symlink_to(elsewhere)
    (Path(os.fsdecode(os.fsencode(folder) + b"/not-\xff-utf8.txt"))).write_text("A name that is no UTF-8.")
    kinds = [kind for _, kind in files().values()]
    expected = {kind: kinds.count(kind) for kind in (ADDED, PASSED_OVER, EMPTY, FAILED)}
    assert sum(expected.values()) > 40
    for added, unchanged in ((expected[ADDED] + 1, 0), (0, expected[ADDED] + 1)):
        report = index([folder], read_pipeline(None, "indexing.yaml", None))
        assert (report.added, report.changed, report.removed, report.unchanged) == (added, 0, 0, unchanged)
        assert {Path(name).name for name, _ in report.skipped} == {
            name for name, (_, kind) in files().items() if kind == EMPTY
        }
        guessed = {Path(name).name for name in report.guessed}
        assert guessed >= {"german-cp1252.txt"} if added else not guessed
        assert "german-utf-8.txt" not in guessed
        named = {name for name, (_, kind) in files().items() if kind == FAILED}
        failed = {Path(name).name: reason for name, reason in report.failed}
        assert failed.keys() == named | {"dangling.txt", "not-\\xff-utf8.txt"}
        passed_over = {kind: [Path(name).name for name in names] for kind, names in report.passed_over.items()}
        assert passed_over == {
            ".png": ["photo.png"], ".zip": ["archive.zip"], "without a suffix": ["LICENSE"], ".doc": ["old.doc"],
            ".gz": ["notes.txt.gz"], "no file": ["pipe.txt"],
        }  # fmt: skip
        assert failed["dangling.txt"] == "it is a link that leads nowhere"
        assert failed["not-\\xff-utf8.txt"] == "its name is not UTF-8: rename it"
        assert failed["scanned.pdf"].startswith("no text was found in it: it is probably scanned")
        assert failed["wants-password.pdf"] == "it is encrypted and wants a password"
        assert failed["binary.txt"] == "it is not text in any known encoding"
        assert all(failed[name].startswith("it is damaged") for name in named if name.startswith("truncated"))
        assert all(reason and "\n" not in reason for reason in failed.values())
    code, said = said_of(str(folder))
    assert code == 1
    assert "6 files of kinds that the pipeline does not read: 1 " in said
    assert "1 without a suffix (odd/LICENSE)" in said
    assert said.count("Failed") == len(failed)
    # All as seen from here, whether they were read or not.
    assert said.count("Failed odd/") == len(failed)
    assert said.count("Skipped odd/") == len(report.skipped)
    (elsewhere / "linked.txt").unlink()
    assert "1 removed" in said_of(str(folder))[1]


def test_a_pipelines_own_kinds_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def own(change: Callable[[dict], None]) -> str:
        data = read_pipeline(None, "indexing.yaml", None)
        change(data)
        Path("own.yaml").write_text(yaml.safe_dump(data))
        return "own.yaml"

    def by_haystack(data: dict) -> None:
        data["components"]["router"]["init_parameters"] = {"mime_types": ["text/csv", "text/plain"]}
        kind = "haystack.components.converters.csv.CSVToDocument"
        data["components"]["converter"] = {"type": kind, "init_parameters": {}}
        kept = [one for one in data["connections"] if not one["sender"].startswith("router.")]
        data["connections"] = [{"sender": "router.text/csv", "receiver": "converter.sources"}, *kept]

    Path("prices.csv").write_text("name,price\nferry,5\n")
    Path("notes.txt").write_text("The router takes it, and leads it nowhere.")
    code, said = said_of("prices.csv", "notes.txt", "--pipeline", own(by_haystack))
    assert (code, "1 files added" in said) == (0, True)
    assert "Skipped notes.txt: the pipeline's router takes no file of the kind .txt" in said
    with pytest.raises(ValueError, match="no RRRAFileToDocument, which alone can be told an encoding"):
        said_of("prices.csv", "--pipeline", "own.yaml", "--encoding", "cp1250")
    with pytest.raises(ValueError, match=r"the pipeline's router takes no file of the kind \.txt"):
        index([Path("notes.txt")], read_pipeline(Path("own.yaml"), "unused", None))
