import io
import json
import re
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import docx
import openpyxl
import pptx
import pytest
from docx.enum.style import WD_STYLE_TYPE
from docx.oxml import OxmlElement, parse_xml
from docx.oxml.ns import nsdecls
from haystack import Pipeline
from haystack.dataclasses import ByteStream
from openpyxl.chart import BarChart, Reference
from texts import pdf

from rrra_haystack import RRRADocumentSplitter, RRRAFileToDocument
from rrra_haystack.documents.metadata import place_of
from rrra_haystack.documents.records import text_of_csv


def read(name: str, data: bytes | str) -> str:
    stream = ByteStream(data.encode() if isinstance(data, str) else data, meta={"file_path": name})
    return "\n---\n".join(document.content for document in RRRAFileToDocument().run([stream])["documents"])


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("a.txt", "Eins\r\n\r\nZwei", "Eins\n\nZwei"),
        ("a.rst", "Rivers\n======\n\n*The* Elbe.", "*The* Elbe."),
        ("a.py", "def rise():\n    pass\n", "def rise():\n    pass\n"),
        ("a.csv", "\ufeffriver,length\nElbe,1094\n\nOder,\n", "river: Elbe; length: 1094\n\nriver: Oder"),
        ("a.csv", "Fluß;Länge\nElbe;1094 km\n".encode("cp1252"), "Fluß: Elbe; Länge: 1094 km"),
        ("a.CSV", 'river,towns\nElbe,"Dresden,\nHamburg"\n', "river: Elbe; towns: Dresden, Hamburg"),
        ("a.tsv", "river\tlength\nElbe\t1094\textra\n", "river: Elbe; length: 1094; extra"),
        ("a.tsv", "City, State\tPopulation\nAustin, TX\t960000\nDallas, TX\t1300000",
         "City, State: Austin, TX; Population: 960000\n\nCity, State: Dallas, TX; Population: 1300000"),
        ("a.tsv", 'bolt\tsize\na\t"5\nb\t"7\nc\t9', 'bolt: a; size: "5\n\nbolt: b; size: "7\n\nbolt: c; size: 9'),
        ("a.tsv", 'river\ttowns\nElbe\t"Dresden,\nHamburg"', "river: Elbe; towns: Dresden, Hamburg"),
        ("a.csv", 'bolt,size\na,"one, two"\nb,"5\nc,7\nd,""',
         'bolt: a; size: one, two\n\nbolt: b; size: "5\n\nbolt: c; size: 7\n\nbolt: d'),
        ("a.csv", 'bolt,size\na,"5', 'bolt: a; size: "5'),
        ("a.csv", 'bolt,said\na,"they "fit", they said"\nb,"no"',
         'bolt: a; said: they fit"; they said"\n\nbolt: b; said: no'),
        ("a.csv", r"""bolt,size
"a, long","5\""
"b","7\" \\"
"c","C:\new"
""", 'bolt: a, long; size: 5"\n\nbolt: b; size: 7" \\\n\nbolt: c; size: C:\\new'),
        ("a.csv", 'bolt,size\n"a, long" ,1\nb,"5\nc,7\nd,"9\n"e,\nf",8',
         'bolt: a, long; size: 1\n\nbolt: b; size: "5\n\nbolt: c; size: 7\n\nbolt: d; size: "9\n\nbolt: e, f; size: 8'),
        ("a.csv", "Elbe,1094\nOder,840\n", "Elbe | 1094\n\nOder | 840"),
        ("a.csv", 'a,b\n"' + "x" * 200_000 + '",1\n', "a: " + "x" * 200_000 + "; b: 1"),
        ("a.jsonl", '{"river": "Elbe", "km": 1094, "no": null}\n\n["a"]\n', 'river: Elbe\nkm: 1094\n\n["a"]'),
        ("a.json", '[{"river": "Elbe"}, {"river": "Oder"}]', "river: Elbe\n\nriver: Oder"),
        ("a.json", '{"river": "Elbe"}', '{"river": "Elbe"}'),
        ("a.json", r'{"name": "M\u00fcnchen", "said": "\u0022no\u0022 \\u00fc", "face": "\ud83d\ude00"}',
         '{"name": "München", "said": "\\u0022no\\u0022 \\\\u00fc", "face": "\U0001f600"}'),
        ("a.ipynb", json.dumps({"cells": [{"source": ["# Elbe\n", "It rises."]}, {"source": "1 + 1"}]}),
         "# Elbe\nIt rises.\n\n1 + 1"),
        ("a.ipynb", '{"worksheets": []}', ""),
        ("a.json", '{"cut off', ""),
        ("a.json", r'["\ud83d alone"]', "\ufffd alone"),
        ("a.csv", "sep=;\nname;price\nFerry;5\n", "name: Ferry; price: 5"),
        ("blank.csv", "\r\nsep=;\nname, all;price\nFerry;5\n", "name, all: Ferry; price: 5"),
        ("a.md", ">" * 500 + " quoted", ">" * 500 + " quoted"),
        ("a.md", "\n".join("  " * at + f"- x{at}" for at in range(12)), "\n".join(f"x{at}" for at in range(12))),
    ],
)  # fmt: skip
def test_text_of_many_kinds(name: str, data: bytes | str, text: str) -> None:
    assert read(name, data) == text


@pytest.mark.parametrize("odd", ['"{}","5\\""\n', '{},"5\n', '"{}" "",5\n', '{},"5\n""",x\n'])
def test_many_quotes_that_nothing_closes_take_no_longer(odd: str) -> None:
    odds = "".join(odd.format(number) for number in range(3000))
    began = time.process_time()
    text = text_of_csv(f'id,size\n{odds}last,"9\n' + "a,b\n" * 100_000)
    assert time.process_time() - began < 5
    assert {*re.findall(r"\d+", text)} >= {str(number) for number in range(3000)}
    assert text.endswith("id: a; size: b\n\n" * 99_999 + "id: a; size: b")


def test_a_line_that_is_not_json_is_named(caplog: pytest.LogCaptureFixture) -> None:
    assert read("a.jsonl", '{"river": "Elbe"}\n\n{"river": Oder}\n') == ""
    assert "a.jsonl cannot be read: its line 3 is not JSON (Expecting value: column 11)" in caplog.text


def test_a_workbook_and_a_pdf(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (["river", "length"], ["Elbe", 1094], [None, None], ["Oder", 840]):
        book.active.append(row)
    book.create_sheet("Towns").append(["Dresden"])
    book.save(tmp_path / "a.xlsx")
    (tmp_path / "a.pdf").write_bytes(pdf("The Oder rises."))
    paths = sorted(tmp_path.iterdir())
    documents = RRRAFileToDocument().run(paths, meta=[{"source": str(path)} for path in paths])["documents"]
    assert [one.content.strip() for one in documents] == [
        "The Oder rises.",
        "river: Elbe; length: 1094\n\nriver: Oder; length: 840",
        "Dresden",
    ]
    assert [one.meta["file_path"] for one in documents] == ["a.pdf", "a.xlsx", "a.xlsx"]
    assert documents[-1].meta["xlsx"] == {"sheet_name": "Towns"}


def test_a_workbook_is_read_as_it_stands() -> None:
    book = openpyxl.Workbook()
    for row in (["code", "since", "sum"], ["NA", 1990, "=B2+1"], ["#N/A", None, 1e15], ["null", 1.5, 'nan, 5"']):
        book.active.append(row)
    chart = BarChart()
    chart.add_data(Reference(book.active, min_col=2, min_row=2, max_row=4))
    book.create_chartsheet("Chart").add_chart(chart)
    titled = book.create_sheet("Titled")
    # Such cells are left behind by formatting.
    book.create_sheet("Far")["XFD1048576"] = "here"
    book.create_sheet("Wide")["XFD2000"] = "there"
    book.create_sheet("Empty")
    for row in (["Rivers"], [], [None, "name", "km"], [None, "Elbe", 1094]):
        titled.append(row)
    written = io.BytesIO()
    book.save(written)
    began = time.process_time()
    assert read("a.xlsx", written.getvalue()) == (
        'code: NA; since: 1990\n\ncode: #N/A; sum: 1000000000000000\n\ncode: null; since: 1.5; sum: nan, 5"\n---\n'
        "Rivers |  | \n\n | name | km\n\n | Elbe | 1094\n---\nhere\n---\nthere"
    )
    assert time.process_time() - began < 20


def sections(name: str, document: Any) -> list[tuple[str, str | None, str | None, int]]:
    written = io.BytesIO()
    document.save(written)
    read = RRRAFileToDocument().run([ByteStream(written.getvalue(), meta={"file_path": name})])["documents"]
    return [(one.content, *(one.meta.get(key) for key in ("title", "headings", "page_number"))) for one in read]


def test_a_word_file_keeps_its_headings_and_the_names_of_its_columns() -> None:
    document = docx.Document()
    own = document.styles.add_style("Own", WD_STYLE_TYPE.PARAGRAPH)
    own.base_style = document.styles["Heading 2"]
    document.add_heading("Pump X200", 0)
    document.add_paragraph("For clean water.")
    document.add_heading("Starting", 1)
    document.add_paragraph("Cold", style="Own")
    paragraph = document.add_paragraph("Open the valve.")
    paragraph._p.append(parse_xml(f"<w:ins {nsdecls('w')}><w:r><w:t> Wait.</w:t></w:r></w:ins>"))
    document.add_paragraph()._p.get_or_add_pPr()
    document.add_heading("Data", 1)
    document.paragraphs[-1].runs[0]._r.insert(0, OxmlElement("w:lastRenderedPageBreak"))
    table = document.add_table(4, 2)
    for row, cells in zip(table.rows, (("Part", "Load"), ("Rotor", "5 kW"), ("", "7 kW"), ("Axle", "")), strict=True):
        for cell, text in zip(row.cells, cells, strict=True):
            cell.text = text
    table.cell(1, 0).merge(table.cell(2, 0))
    inner = table.cell(3, 1).add_table(1, 2)
    inner.cell(0, 0).text, inner.cell(0, 1).text = "steel", "oiled"
    document.add_heading("Nothing to oil", 1)
    assert sections("a.docx", document) == [
        ("For clean water.", "Pump X200", None, 1),
        ("Open the valve. Wait.", "Pump X200", "Starting > Cold", 1),
        (
            "Part: Rotor; Load: 5 kW\n\nPart: Rotor; Load: 7 kW\n\nPart: Axle; Load: steel; oiled",
            "Pump X200",
            "Data",
            2,
        ),
        ("Nothing to oil", "Pump X200", None, 2),
    ]


def begin_page(paragraph: Any) -> None:
    paragraph.runs[0]._r.insert(0, OxmlElement("w:lastRenderedPageBreak"))


def test_pages_go_on_in_a_table_of_a_word_file() -> None:
    document = docx.Document()
    table = document.add_table(4, 2)
    for at, text in enumerate(("Part", "Load", "Rotor", "5 kW", "Axle", "6 kW", "Belt", "7 kW")):
        table.cell(at // 2, at % 2).text = text
    for row in (1, 2):
        begin_page(table.cell(row, 0).paragraphs[0])
    for cell in table.rows[3].cells:
        begin_page(cell.add_paragraph("oiled"))
    document.add_heading("Starting", 1)
    document.add_paragraph("Open the valve.")
    (told, _, _, page), last = sections("a.docx", document)
    assert page == 2
    assert told == "Part: Rotor; Load: 5 kW\n\n\fPart: Axle; Load: 6 kW\n\nPart: Belt; oiled; Load: 7 kW; oiled"
    assert last == ("Open the valve.", "Starting", None, 4)


def test_a_word_file_that_tells_no_pages_is_cited_without_one() -> None:
    document = docx.Document()
    document.add_paragraph("The Elbe rises.")
    document.add_page_break()
    document.add_paragraph("The Oder rises.")
    written = io.BytesIO()
    document.save(written)
    stream = ByteStream(written.getvalue(), meta={"file_path": "a.docx"})
    (passage,) = RRRADocumentSplitter().run(RRRAFileToDocument().run([stream])["documents"])["documents"]
    assert place_of(passage) == "a.docx"


def test_a_text_box_in_a_table_of_a_word_file_is_read_once() -> None:
    document = docx.Document()
    box = "<w:txbxContent><w:p><w:r><w:t>Oil it.</w:t></w:r></w:p></w:txbxContent>"
    both = f"<mc:AlternateContent><mc:Choice>{box}</mc:Choice><mc:Fallback>{box}</mc:Fallback></mc:AlternateContent>"
    spaces = f'{nsdecls("w")} xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
    paragraph = document.add_table(1, 1).cell(0, 0).paragraphs[0]
    paragraph.add_run("Rotor")._r.append(parse_xml(f"<w:r {spaces}>{both}</w:r>"))
    assert [one[0] for one in sections("a.docx", document)] == ["Rotor; Oil it."]


def test_what_was_moved_or_deleted_in_a_word_file_is_read_where_it_is_now() -> None:
    document = docx.Document()
    run = "<w:r><w:tab/><w:lastRenderedPageBreak/><w:t>The Elbe rises.</w:t></w:r>"
    for tag in ("moveFrom", "del", "moveTo"):
        text = run.replace("w:t>", "w:delText>") if tag == "del" else run
        document.add_paragraph(f"{tag}:")._p.append(parse_xml(f"<w:{tag} {nsdecls('w')}>{text}</w:{tag}>"))
    document.add_heading("Mouth", 1)
    assert sections("a.docx", document) == [
        ("moveFrom:\n\ndel:\n\nmoveTo:\t\fThe Elbe rises.", "Mouth", None, 1),
        ("Mouth", None, None, 2),
    ]


def test_a_presentation_keeps_its_titles_its_tables_and_its_notes() -> None:
    presentation = pptx.Presentation()
    first, second, third = (presentation.slides.add_slide(presentation.slide_layouts[layout]) for layout in (0, 5, 5))
    first.shapes.title.text, first.placeholders[1].text = "Rivers of the north", "An overview"
    second.shapes.title.text = "Lengths"
    table = second.shapes.add_table(2, 2, 0, 0, 99, 99).table
    for at, text in enumerate(("river", "km", "Elbe", "1094")):
        table.cell(at // 2, at % 2).text = text
    second.notes_slide.notes_text_frame.text = "Say where it rises."
    third.shapes.title.text = "Towns"
    third.shapes.add_group_shape().shapes.add_textbox(0, 0, 9, 9).text_frame.text = "Dresden"
    assert sections("a.pptx", presentation) == [
        ("An overview", "Rivers of the north", None, 1),
        ("river: Elbe; km: 1094\n\nSay where it rises.", "Rivers of the north", "Lengths", 2),
        ("Dresden", "Rivers of the north", "Towns", 3),
    ]


def test_shapes_of_one_number_are_told_apart() -> None:
    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[1])
    slide.shapes.title.text, slide.placeholders[1].text = "Rivers", "The Elbe rises."
    slide.shapes.add_group_shape().shapes.add_textbox(0, 0, 9, 9).text_frame.text = "Dresden"
    for number in slide.shapes.element.iter("{*}cNvPr"):
        number.set("id", "2")
    assert sections("a.pptx", presentation) == [("The Elbe rises.\n\nDresden", "Rivers", None, 1)]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xd0\xcf\x11\xe0" + "EncryptedPackage".encode("utf-16-le"), "it is encrypted and wants a password"),
        (b"\xd0\xcf\x11\xe0 Word 97", "it is of a format before 2007: save it anew"),
        (b"PK\x05\x06" + bytes(18), "it is an archive, and no Office file"),
    ],
)
@pytest.mark.parametrize("suffix", ["docx", "xlsx"])
def test_no_office_file_of_today(suffix: str, data: bytes, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    assert read(f"a.{suffix}", data) == ""
    assert reason in caplog.text


@pytest.mark.parametrize("suffix", ["docx", "pptx", "xlsx"])
def test_without_the_extra_the_others_are_read(
    suffix: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl" if suffix == "xlsx" else suffix, None)
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr("[Content_Types].xml", "")
    streams = [ByteStream(written.getvalue(), meta={"file_path": f"a.{suffix}"}), ByteStream(b"The Elbe.")]
    (document,) = RRRAFileToDocument().run(streams)["documents"]
    assert document.content == "The Elbe."
    assert f"reading .{suffix} needs the extra 'files': pip install 'rrra-haystack[files]'" in caplog.text


def test_a_stream_is_known_by_its_type() -> None:
    stream = ByteStream(b"a;b\n1;2\n", mime_type="text/csv", meta={"url": "https://example.org/export"})
    (document,) = RRRAFileToDocument().run([stream], meta={"own": 1})["documents"]
    assert (document.content, document.meta) == ("a: 1; b: 2", {"url": "https://example.org/export", "own": 1})


@pytest.mark.parametrize(
    "address", ["https://example.org", "https://example.org/page?of=a.md", "http://a.org/b.md/c.php#d"]
)
def test_an_address_is_no_name_of_a_file(address: str) -> None:
    stream = ByteStream(
        b"<p>The <i>Elbe</i> rises.</p>", mime_type="text/html; charset=utf-8", meta={"source": address}
    )
    (document,) = RRRAFileToDocument().run([stream])["documents"]
    assert (document.content, document.meta) == ("The Elbe rises.", {"source": address})
    named = ByteStream(b"# Elbe\n\nIt rises.", meta={"source": "https://example.org/elbe.md?raw"})
    assert RRRAFileToDocument().run([named])["documents"][0].meta["title"] == "Elbe"


def test_the_pages_of_a_fetched_file_are_named() -> None:
    address = "https://example.org/fetch?of=1"
    meta = {"url": address, "content_type": "application/pdf"}
    stream = ByteStream(pdf("The Oder rises."), mime_type="application/pdf", meta=meta)
    (passage,) = RRRADocumentSplitter().run(RRRAFileToDocument().run([stream])["documents"])["documents"]
    assert place_of(passage) == f"{address}, page 1"


def test_metadata_that_are_given_stay() -> None:
    stream = ByteStream(b"# Elbe\n\nIt rises.", meta={"file_path": "below/a.md", "title": "of the stream"})
    (document,) = RRRAFileToDocument().run([stream], meta={"file_path": "above/b.md", "title": "Rivers"})["documents"]
    assert document.meta == {"file_path": "b.md", "title": "Rivers"}
    (document,) = RRRAFileToDocument().run([stream])["documents"]
    assert document.meta == {"file_path": "a.md", "title": "Elbe"}


def test_round_trip_and_pipeline(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("The Elbe.")
    pipeline = Pipeline()
    pipeline.add_component("converter", RRRAFileToDocument(store_full_path=True))
    (document,) = Pipeline.loads(pipeline.dumps()).run({"converter": {"sources": [path, tmp_path / "none"]}})[
        "converter"
    ]["documents"]
    assert document.meta["file_path"] == str(path)


def test_an_encoding_can_be_told_and_a_guess_is_noted() -> None:
    stream = ByteStream("Žák".encode("cp1250"), meta={"file_path": "a.txt"})
    (guessed,) = RRRAFileToDocument().run([stream])["documents"]
    assert "guessed_encoding" in guessed.meta
    (told,) = RRRAFileToDocument(encoding="cp1250").run([stream])["documents"]
    assert (told.content, told.meta) == ("Žák", {"file_path": "a.txt"})
    with pytest.raises(ValueError, match="There is no encoding 'cp12500'"):
        RRRAFileToDocument(encoding="cp12500")
