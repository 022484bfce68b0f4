"""Data files in the shapes of other tools, with the flaws of real work: read as they are meant, or refused by line."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rrra_training.data import BeirDataset, ColumnsDataset, DprDataset, MsMarcoDataset

FISH, WOOL = "Salt keeps fish.", "Wool is warm."
CORPUS = [{"_id": "a", "title": "Salt", "text": FISH}, {"_id": "b", "title": "", "text": WOOL}]
QUERIES = [{"_id": "q1", "text": "what keeps fish"}, {"_id": "q2", "text": "what is warm"}]
JUDGED = {"q1": {"a": 1}, "q2": {"b": 1}}


def lines(rows: list[dict]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "qrels").mkdir()
    (tmp_path / "corpus.jsonl").write_text(lines(CORPUS))
    (tmp_path / "queries.jsonl").write_text(lines(QUERIES))
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\ta\t1\nq2\tb\t1\n")
    return tmp_path


def columns(tmp_path: Path, name: str, content: str | bytes) -> ColumnsDataset:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return ColumnsDataset({"train": path})


def read(data: ColumnsDataset) -> list[tuple[str, list[str], list[str]]]:
    """Query, positives and negatives of each row, as texts."""
    return [
        (
            one.query.text,
            [passage.title_and_text for passage in one.positives],
            [passage.title_and_text for passage in one.negatives],
        )
        for one in data.examples("train")
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_an_encoding_mark_changes_nothing(folder: Path, encoding: str) -> None:
    mark = "\ufeff" if encoding == "utf-16-le" else ""
    for part in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        path = folder / part
        path.write_bytes((mark + path.read_text()).encode(encoding))
    data = BeirDataset(folder)
    assert [passage.id for passage in data.passages()] == ["a", "b"]
    assert [query.id for query in data.queries("test")] == ["q1", "q2"]
    assert data.qrels("test") == JUDGED


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("question;positive;id\r\nwhat, then;{0};1\r\nbad;row\r\n", 3),
        ("sep=;\r\nquestion;positive, or what answers;positive\r\nwhat, then;other, text;{0}\r\n\r\nbad;row\r\n", 5),
        ('sep=,\nquestion,positive\n"what, then",{0}\nbad\n', 4),
        ("\nquestion\tpositive\nwhat, then\t{0}\nbad\n", 4),
        ("question|positive\nwhat, then|{0}\nbad\n", 3),
        ('question,positive,"tags (a; b; c; d)"\n"what, then",{0},x\nbad\n', 3),
        ('question;positive;"tags,\n\na, b, c"\nwhat, then;{0};x\nbad\n', 5),
        ('question,positive,tags|a|b|c\n"what, then",{0},x\nbad\n', 3),
        ("\r\n\nsep=;\nquestion;positive\nwhat, then;{0}\nbad\n", 6),
    ],
)
def test_the_header_of_a_csv_tells_what_separates_its_values(tmp_path: Path, content: str, line: int) -> None:
    data = columns(tmp_path, "excel.csv", content.format(WOOL))
    data.malformed.limit = 1
    assert [(query, positives) for query, positives, _ in read(data)] == [("what, then", [WOOL])]
    assert f"line {line}: " in data.malformed.rows[0]


def test_a_mark_before_the_header_of_a_csv(tmp_path: Path) -> None:
    data = columns(tmp_path, "excel.csv", f"\ufeffquestion,source,positive\nwhat keeps fish,http://x.org,{FISH}\n")
    assert read(data) == [("what keeps fish", [FISH], [])]


def test_a_mark_in_the_other_formats(tmp_path: Path) -> None:
    collection, queries, qrels = (tmp_path / name for name in ("collection.tsv", "queries.tsv", "qrels.tsv"))
    collection.write_text(f"\ufeff7\t{WOOL}\n")
    queries.write_text("\ufeff100\twhat is warm\n")
    qrels.write_text("\ufeff100\t0\t7\t1\n")
    data = MsMarcoDataset(collection, {"train": queries}, {"train": qrels})
    assert [passage.id for passage in data.passages()] == ["7"]
    assert [query.id for query in data.queries("train")] == ["100"]
    dpr = tmp_path / "dpr.json"
    dpr.write_text("\ufeff" + json.dumps([{"question": "q", "positive_ctxs": [{"text": WOOL, "psg_id": 7}]}]))
    passages = tmp_path / "passages.tsv"
    passages.write_text(f"\ufeffid\ttext\ttitle\n7\t{WOOL}\tWool\n")
    assert [passage.id for passage in DprDataset({"train": dpr}, passages).passages()] == ["7"]


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
def test_text_that_is_not_utf_8_is_named_by_its_line(folder: Path, name: str) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes() + "né\t\n".encode("latin-1"))
    data = BeirDataset(folder)
    line = 4 if "qrels" in name else 3
    with pytest.raises(ValueError, match=rf"{name}, line {line}: the text is not UTF-8 .*Save the file as UTF-8"):
        [*data.passages(), *data.queries("test")]


def test_every_file_may_be_gzipped(folder: Path, tmp_path: Path) -> None:
    for part in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        path = folder / part
        (folder / f"{part}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    data = BeirDataset(folder)
    assert data.splits() == ["test"]
    assert [passage.text for passage in data.passages()] == [FISH, WOOL]
    assert [query.id for query in data.queries("test")] == ["q1", "q2"]
    for name, text in (
        ("pairs.csv.gz", f"query,positive\nq,{WOOL}\n"),
        ("pairs.jsonl.gz", json.dumps({"query": "q", "positive": WOOL})),
        ("pairs.json.gz", json.dumps([{"query": "q", "positive": WOOL}])),
        ("pairs.tsv.gz", f"query\tpositive\nq\t{WOOL}\n"),
    ):
        assert read(columns(tmp_path, name, gzip.compress(text.encode()))) == [("q", [WOOL], [])]


def test_a_damaged_archive_is_named(folder: Path) -> None:
    whole = gzip.compress((folder / "corpus.jsonl").read_bytes() * 500)
    (folder / "corpus.jsonl").unlink()
    for damaged in (whole[: len(whole) // 2], whole[:20] + b"\xff" * 1000, b"no archive at all"):
        (folder / "corpus.jsonl.gz").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"corpus\.jsonl\.gz is damaged: it cannot be decompressed"):
            list(BeirDataset(folder).passages())


@pytest.mark.parametrize(
    "text",
    [
        "q1 0 a 1\nq2 0 b 1\n",
        "q1\t0\ta\t1\nq2\tQ0\tb\t1\n\n\n",
        "q1\ta\t1.0\nq2\tb\t1.0\n",
        "query_id\tdoc_id\trelevance\nq1\ta\t1\n\nq2\tb\t1\n",
    ],
)
def test_judgments_as_other_tools_write_them(folder: Path, text: str) -> None:
    (folder / "qrels" / "test.tsv").write_text(text)
    assert BeirDataset(folder).qrels("test") == JUDGED


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"_id": "c", "text": None}, "'text' is null, not text"),
        ({"_id": "c", "text": ["x"]}, "'text' is a list, not text"),
        ({"_id": "c", "text": 7}, "'text' is the number 7, not text"),
        ({"_id": None, "text": "x"}, "'_id' is null, no identifier"),
        ({"_id": ["c"], "text": "x"}, "'_id' is a list, no identifier"),
        ({"_id": "c", "title": {"en": "x"}, "text": "x"}, "'title' is an object, not text"),
    ],
)
def test_what_is_no_text_is_not_made_one(folder: Path, row: dict, reason: str) -> None:
    with (folder / "corpus.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    with pytest.raises(ValueError, match=rf"corpus\.jsonl, line 3: {reason}"):
        list(BeirDataset(folder).passages())


def test_whole_numbers_are_identifiers_and_a_null_title_is_none(folder: Path) -> None:
    (folder / "corpus.jsonl").write_text(lines([{"_id": 7, "title": None, "text": FISH}]))
    (passage,) = BeirDataset(folder).passages()
    assert (passage.id, passage.title) == ("7", "")


def test_a_cell_may_be_long(tmp_path: Path) -> None:
    long = "word " * 40_000
    assert read(columns(tmp_path, "long.csv", f"query,positive\nq,{long}\n")) == [("q", [long.strip()], [])]


def test_a_quote_that_is_not_closed_swallows_no_rows(tmp_path: Path) -> None:
    dpr, passages = tmp_path / "dpr.json", tmp_path / "psgs.tsv"
    dpr.write_text("[]")
    passages.write_text('id\ttext\ttitle\n1\tone\tA\n2\t"two\tB\n3\tthree\tC\n4\tfo"ur\tD\n')
    with pytest.raises(ValueError, match=r"psgs\.tsv, line 3: a quote is not closed"):
        list(DprDataset({"train": dpr}, passages).passages())
    data = DprDataset({"train": dpr}, passages, max_malformed=1)
    assert [passage.id for passage in data.passages()] == ["1", "3", "4"]
    with pytest.raises(ValueError, match=r"pairs\.csv, line 2: a quote is not closed"):
        read(columns(tmp_path, "pairs.csv", 'query,positive\n"q,p\nr,s\n'))


def test_every_bad_row_of_a_table_is_named_by_its_own_line(tmp_path: Path) -> None:
    # The quote of line 3 ends in line 4, where it may not.
    content = 'query,positive\n"a"b,p\n"c\nd"e,p\nq,p\n"f"g,p\nr,s,t\n'
    data = columns(tmp_path, "pairs.csv", content)
    data.malformed.limit = 4
    assert read(data) == [("q", ["p"], [])]
    told = [row.partition(": ")[0].rpartition(" ")[2] for row in data.malformed.rows]
    assert told == ["2", "3", "6", "7"]
    data = columns(tmp_path, "pairs.csv", content)
    data.malformed.limit = 2
    with pytest.raises(ValueError, match=r"pairs\.csv, line 6: not separated values .*3 malformed rows, more than"):
        read(data)


def test_a_quoted_cell_may_go_over_lines(tmp_path: Path) -> None:
    data = columns(tmp_path, "pairs.csv", 'query,positive\r\n"two\r\nlines",p\r\nq,r,s\r\n')
    with pytest.raises(ValueError, match=r"pairs\.csv, line 4: 3 cells where the header has 2"):
        read(data)
    data.malformed.limit = 1
    assert read(data) == [("two\r\nlines", ["p"], [])]


def test_an_identifier_is_no_query_wherever_it_stands(tmp_path: Path) -> None:
    data = columns(tmp_path, "pairs.csv", f"id,positive,query\n17,{WOOL},what is warm\n")
    assert read(data) == [("what is warm", [WOOL], [])]


def test_the_context_answers_and_the_answer_is_an_answer(tmp_path: Path) -> None:
    data = columns(tmp_path, "qa.csv", f"question,answer,context\nwhat is warm,wool,{WOOL}\n")
    assert read(data) == [("what is warm", [WOOL], [])]
    (query,) = data.queries("train")
    assert query.answers == ("wool",)
    assert data.negatives("train") == {query.id: []}


def test_each_row_is_read_by_its_own_names(tmp_path: Path) -> None:
    rows = [
        {"query": "a", "positive": FISH},
        {"positive": WOOL, "negative": FISH, "anchor": "b"},
        {"question": "c", "positive_1": WOOL, "positive_2": FISH, "negative-1": "x", "negative-2": "y"},
    ]
    assert read(columns(tmp_path, "rows.jsonl", lines(rows))) == [
        ("a", [FISH], []),
        ("b", [WOOL], [FISH]),
        ("c", [WOOL, FISH], ["x", "y"]),
    ]


def test_names_that_are_not_known_are_refused_with_what_was_understood(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"columns question, url, body; 'question' is the query understood"):
        read(columns(tmp_path, "a.csv", "question,url,body\nq,http://x.org,b\n"))
    with pytest.raises(ValueError, match=r"columns sentence1, sentence2; none of them understood\. Name the query"):
        read(columns(tmp_path, "b.csv", "sentence1,sentence2\na,b\n"))


def test_flag_embedding(tmp_path: Path) -> None:
    row = {
        "query": "what is warm", "pos": [WOOL], "neg": [FISH, "Glass breaks."], "pos_scores": [0.9],
        "neg_scores": [0.1, 0.2], "prompt": "Represent this sentence", "type": "normal", "id": "7",
    }  # fmt: skip
    assert read(columns(tmp_path, "flag.jsonl", lines([row]))) == [("what is warm", [WOOL], [FISH, "Glass breaks."])]


def test_tevatron(tmp_path: Path) -> None:
    row = {
        "query_id": "1",
        "query": "what is warm",
        "positive_passages": [{"docid": "7", "title": "Wool", "text": WOOL}],
        "negative_passages": [{"docid": "8", "title": "", "text": FISH}, {"docid": "9", "text": "Glass breaks."}],
    }
    data = columns(tmp_path, "tevatron.jsonl", lines([row]))
    assert read(data) == [("what is warm", [f"Wool {WOOL}"], [FISH, "Glass breaks."])]
    assert [passage.id for passage in data.passages()] == ["7", "8", "9"]


def test_lists_of_sentence_transformers(tmp_path: Path) -> None:
    path = tmp_path / "mined.parquet"
    pq.write_table(pa.table({"anchor": ["q"], "positive": [WOOL], "negatives": [[FISH, "Glass breaks."]]}), path)
    assert read(ColumnsDataset({"train": path})) == [("q", [WOOL], [FISH, "Glass breaks."])]


@pytest.mark.parametrize(("value", "reason"), [([7], "holds the number 7"), ([[WOOL]], "holds a list"), (7, "holds")])
def test_a_list_of_something_else_is_refused(tmp_path: Path, value: object, reason: str) -> None:
    data = columns(tmp_path, "rows.jsonl", lines([{"query": "q", "pos": [WOOL], "neg": value}]))
    with pytest.raises(ValueError, match=rf"rows\.jsonl, line 1: 'neg' {reason}"):
        read(data)


@pytest.mark.parametrize("folder", ["qrels", "default", "data"])
def test_mteb_in_parquet(tmp_path: Path, folder: str) -> None:
    for name in ("corpus", "queries", folder):
        (tmp_path / name).mkdir()
    for number, row in enumerate(CORPUS):
        pq.write_table(pa.Table.from_pylist([row]), tmp_path / "corpus" / f"corpus-0000{number}-of-00002.parquet")
    pq.write_table(pa.Table.from_pylist(QUERIES), tmp_path / "queries" / "queries-00000-of-00001.parquet")
    judged = [{"query-id": q, "corpus-id": p, "score": 1.0} for q, own in JUDGED.items() for p in own]
    pq.write_table(pa.Table.from_pylist(judged), tmp_path / folder / "test-00000-of-00001.parquet")
    data = BeirDataset(tmp_path)
    assert data.splits() == ["test"]
    assert data.qrels("test") == JUDGED
    assert [passage.title_and_text for passage in data.passages()] == [f"Salt {FISH}", WOOL]
    assert [query.text for query in data.queries("test")] == ["what keeps fish", "what is warm"]


def test_labels_in_json_lines(tmp_path: Path) -> None:
    (tmp_path / "qrels").mkdir()
    judged = [{"query-id": q, "corpus-id": p, "score": 1} for q, own in JUDGED.items() for p in own]
    for path, rows in (("corpus", CORPUS), ("queries", QUERIES), ("qrels/test", judged)):
        (tmp_path / f"{path}.jsonl").write_text(lines(rows))
    data = BeirDataset(tmp_path)
    assert (data.splits(), data.qrels("test")) == (["test"], JUDGED)


def test_a_damaged_parquet_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"rows\.parquet is no Parquet file, or a damaged one"):
        read(columns(tmp_path, "rows.parquet", b"PAR1 and no more"))
