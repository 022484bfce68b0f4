import json
from pathlib import Path

import docx
import openpyxl
import pptx
import pytest
from haystack import Pipeline
from haystack.dataclasses import ByteStream
from texts import pdf

from rrra_haystack import RRRAFileToDocument


def read(name: str, data: bytes | str) -> str:
    stream = ByteStream(data.encode() if isinstance(data, str) else data, meta={"file_path": name})
    return "\n---\n".join(document.content for document in RRRAFileToDocument().run([stream])["documents"])


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("a.txt", "Eins\r\n\r\nZwei", "Eins\n\nZwei"),
        ("a.rst", "Rivers\n======\n\nThe Elbe.", "Rivers\n======\n\nThe Elbe."),
        ("a.py", "def rise():\n    pass\n", "def rise():\n    pass\n"),
        ("a.csv", "\ufeffriver,length\nElbe,1094\n\nOder,\n", "river: Elbe; length: 1094\n\nriver: Oder"),
        ("a.csv", "Fluß;Länge\nElbe;1094 km\n".encode("cp1252"), "Fluß: Elbe; Länge: 1094 km"),
        ("a.CSV", 'river,towns\nElbe,"Dresden,\nHamburg"\n', "river: Elbe; towns: Dresden, Hamburg"),
        ("a.tsv", "river\tlength\nElbe\t1094\textra\n", "river: Elbe; length: 1094; extra"),
        ("a.csv", "Elbe,1094\nOder,840\n", "Elbe | 1094\n\nOder | 840"),
        ("a.csv", 'a,b\n"' + "x" * 200_000 + '",1\n', "a: " + "x" * 200_000 + "; b: 1"),
        ("a.jsonl", '{"river": "Elbe", "km": 1094, "no": null}\n\n["a"]\n', 'river: Elbe\nkm: 1094\n\n["a"]'),
        ("a.json", '[{"river": "Elbe"}, {"river": "Oder"}]', "river: Elbe\n\nriver: Oder"),
        ("a.json", '{"river": "Elbe"}', '{"river": "Elbe"}'),
        ("a.ipynb", json.dumps({"cells": [{"source": ["# Elbe\n", "It rises."]}, {"source": "1 + 1"}]}),
         "# Elbe\nIt rises.\n\n1 + 1"),
        ("a.ipynb", '{"worksheets": []}', ""),
        ("a.json", '{"cut off', ""),
    ],
)  # fmt: skip
def test_text_of_many_kinds(name: str, data: bytes | str, text: str) -> None:
    assert read(name, data) == text


def test_office_files(tmp_path: Path) -> None:
    document = docx.Document()
    document.add_paragraph("The Elbe rises.")
    document.save(tmp_path / "a.docx")
    slides = pptx.Presentation()
    slides.slides.add_slide(slides.slide_layouts[5]).shapes.title.text = "Rivers of the north"
    slides.save(tmp_path / "a.pptx")
    book = openpyxl.Workbook()
    for row in (["river", "length"], ["Elbe", 1094], [None, None], ["Oder", 840]):
        book.active.append(row)
    book.create_sheet("Towns").append(["Dresden"])
    book.save(tmp_path / "a.xlsx")
    (tmp_path / "a.pdf").write_bytes(pdf("The Oder rises."))
    paths = sorted(tmp_path.iterdir())
    documents = RRRAFileToDocument().run(paths, meta=[{"source": str(path)} for path in paths])["documents"]
    assert [one.content.strip() for one in documents] == [
        "The Elbe rises.",
        "The Oder rises.",
        "Rivers of the north",
        "river: Elbe; length: 1094\n\nriver: Oder; length: 840",
        "Dresden",
    ]
    assert [one.meta["file_path"] for one in documents] == ["a.docx", "a.pdf", "a.pptx", "a.xlsx", "a.xlsx"]
    assert documents[-1].meta["xlsx"] == {"sheet_name": "Towns"}


@pytest.mark.parametrize("kind", ["docx", "pptx", "xlsx"])
def test_without_the_extra_the_others_are_read(
    kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    module = pytest.importorskip(f"haystack.components.converters.{kind}")
    name = {"xlsx": "pandas_xlsx_import"}.get(kind, f"{kind}_import")

    def missing() -> None:
        raise ImportError

    monkeypatch.setattr(getattr(module, name), "check", missing)
    streams = [ByteStream(b"The Elbe.", meta={"file_path": f"a.{suffix}"}) for suffix in (kind, "txt")]
    (document,) = RRRAFileToDocument().run(streams)["documents"]
    assert document.meta["file_path"] == "a.txt"
    assert f"reading .{kind} needs the extra 'files': pip install 'rrra-haystack[files]'" in caplog.text


def test_a_stream_is_known_by_its_type() -> None:
    stream = ByteStream(b"a;b\n1;2\n", mime_type="text/csv", meta={"url": "https://example.org/export"})
    (document,) = RRRAFileToDocument().run([stream], meta={"own": 1})["documents"]
    assert (document.content, document.meta) == ("a: 1; b: 2", {"url": "https://example.org/export", "own": 1})


def test_round_trip_and_pipeline(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("The Elbe.")
    pipeline = Pipeline()
    pipeline.add_component("converter", RRRAFileToDocument(store_full_path=True))
    (document,) = Pipeline.loads(pipeline.dumps()).run({"converter": {"sources": [path, tmp_path / "none"]}})[
        "converter"
    ]["documents"]
    assert document.meta["file_path"] == str(path)
