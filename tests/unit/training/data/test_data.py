import gzip
import json
import shutil
import tracemalloc
from pathlib import Path

import pytest
from datasets import Dataset
from pydantic import TypeAdapter, ValidationError
from rrra_training.data import (
    BeirDataset,
    ColumnsDataset,
    DataConfig,
    DprDataset,
    MsMarcoDataset,
    RetrievalData,
    SquadDataset,
    open_dataset,
)

HERE = Path(__file__).parents[3] / "data"


def msmarco(**files: object) -> MsMarcoDataset:
    given = {
        "collection": HERE / "collection.tsv",
        "queries_files": {"train": HERE / "queries.train.tsv"},
        "qrels_files": {"train": HERE / "qrels.train.tsv"},
    }
    return MsMarcoDataset(**given | files)


def texts(data: RetrievalData) -> dict[str, str]:
    return {passage.id: passage.title_and_text for passage in data.passages()}


def test_dpr_reads_questions_contexts_and_negatives() -> None:
    data = DprDataset({"train": HERE / "dpr.json"})
    found = texts(data)
    assert found["1"] == "Salt Salt keeps fish for months."
    assert len(found) == 4
    first, second = data.queries("train")
    assert (first.text, first.answers) == ("what keeps fish", ("salt",))
    assert data.qrels("train")[first.id] == {"1": 1}
    (without_id,) = set(data.qrels("train")[second.id]) - {"3"}
    assert found[without_id] == "Sand Sand melts to glass."
    assert data.negatives("train")[first.id] == ["2"]


def test_dpr_takes_its_corpus_from_the_passages_file() -> None:
    data = DprDataset({"train": HERE / "dpr.json"}, HERE / "psgs_w100.tsv")
    assert texts(data) == {
        "1": 'Salt Salt keeps "fish" for months.',
        "2": "Amber Amber washes ashore after storms.",
        "3": "Glass Glass is made of sand and soda.",
    }


def test_dpr_reads_json_lines_and_compressed_files(tmp_path: Path) -> None:
    rows = json.loads((HERE / "dpr.json").read_text())
    lines = tmp_path / "dpr.jsonl.gz"
    with gzip.open(lines, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    plain = DprDataset({"train": HERE / "dpr.json"})
    assert DprDataset({"train": lines}).qrels("train") == plain.qrels("train")


def test_msmarco_reads_passages_and_judgments() -> None:
    data = msmarco(triples={"train": HERE / "qidpidtriples.train.tsv"}, top1000={"train": HERE / "top1000.train.tsv"})
    assert texts(data) == {
        "7": "Wool is spun in winter.",
        "8": "Timber floats down the river.",
        "9": "Copper turns green.",
    }
    assert [query.id for query in data.queries("train")] == ["100", "101"]
    assert data.qrels("train") == {"100": {"7": 1}, "101": {"9": 1}}
    assert data.negatives("train") == {"100": ["8", "9"], "101": ["8", "7"]}


def test_msmarco_documents_have_titles() -> None:
    data = msmarco(collection=HERE / "msmarco-docs.tsv")
    assert texts(data) == {"D1": "Wool Wool is spun in winter.", "D2": "Copper Copper turns green."}


def test_squad_makes_a_passage_of_each_paragraph() -> None:
    data = SquadDataset({"train": HERE / "squad.json"})
    assert list(texts(data).values()) == ["River towns Arlow lies on the Alda.", "River towns Tarn lies in the hills."]
    first, second = data.queries("train")
    assert (first.id, first.text, first.answers) == ("a", "Where does Arlow lie?", ("on the Alda", "the Alda"))
    assert data.impossible == 1
    (passage,) = data.qrels("train")[second.id]
    assert texts(data)[passage].endswith("in the hills.")
    assert data.negatives("train") == {}


def test_columns_of_csv() -> None:
    data = ColumnsDataset({"train": HERE / "columns.csv"})
    found = texts(data)
    assert len(found) == 5
    fish, warm = data.queries("train")
    assert {found[passage] for passage in data.qrels("train")[fish.id]} == {
        "Salt keeps fish.",
        "Smoke, too, keeps fish.",
    }
    assert [found[passage] for passage in data.negatives("train")[fish.id]] == [
        "Amber floats.", "Glass breaks.", "Wool is warm.",
    ]  # fmt: skip
    assert [found[passage] for passage in data.qrels("train")[warm.id]] == ["Wool is warm."]


def test_an_answer_is_the_positive_where_there_is_no_passage() -> None:
    data = ColumnsDataset({"train": HERE / "columns.jsonl"})
    assert [query.text for query in data.queries("train")] == ["what is warm", "what breaks"]
    assert set(texts(data).values()) == {"Wool is warm.", "Glass breaks."}


def test_columns_of_a_dataset_and_by_name() -> None:
    rows = Dataset.from_dict({"negative": ["n"], "positive": ["p"], "anchor": ["a"], "source": ["web"]})
    data = ColumnsDataset({"train": rows})
    assert [query.text for query in data.queries("train")] == ["a"]
    assert sorted(texts(data).values()) == ["n", "p"]


def test_columns_with_labels_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("sentence1,sentence2,label\na,b,1\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"pairs.csv has the column 'label'"):
        ColumnsDataset({"train": path}).queries("train")


def malformed(tmp_path: Path, kind: str, **options: int) -> tuple[RetrievalData, str]:  # noqa: PLR0911  (one a kind)
    """Data with one bad row, and what is said of it."""
    path = tmp_path / "bad"
    if kind == "dpr":
        rows = json.loads((HERE / "dpr.json").read_text())
        del rows[1]["question"]
        path.write_text(json.dumps(rows), encoding="utf-8")
        return DprDataset({"train": path}, **options), f"{path}, line 2: the key 'question' is missing"
    if kind == "dpr cut off":
        path.write_text((HERE / "dpr.json").read_text()[:-20], encoding="utf-8")
        return DprDataset({"train": path}, **options), f"{path}, line 3: not valid JSON"
    if kind == "msmarco qrels":
        path.write_text("100\t0\t7\t1\n101\t0\t9\tyes\n", encoding="utf-8")
        return msmarco(qrels_files={"train": path}, **options), f"{path}, line 2: expected 'query-id<TAB>"
    if kind == "msmarco queries":
        path.write_text("100\twhen is wool spun\nno tab here\n", encoding="utf-8")
        return msmarco(queries_files={"train": path}, **options), f"{path}, line 2: expected 2 columns"
    if kind == "squad":
        data = json.loads((HERE / "squad.json").read_text())
        del data["data"][0]["paragraphs"][1]["qas"][0]["id"]
        path.write_text(json.dumps(data), encoding="utf-8")
        return SquadDataset({"train": path}, **options), f"{path}, line 3: question number 3: the key 'id' is missing"
    if kind == "columns":
        path = tmp_path / "bad.csv"
        path.write_text("anchor,positive\na,b\n,c\nd,e,f\n", encoding="utf-8")
        return ColumnsDataset({"train": path}, **options), f"{path}, line 3: 'anchor' is empty"
    path = tmp_path / "beir"
    (path / "qrels").mkdir(parents=True)
    (path / "corpus.jsonl").write_text('{"_id": "1", "text": "a"}\n', encoding="utf-8")
    (path / "queries.jsonl").write_text('{"_id": "q", "text": "b"}\n{"_id": "r"}\n', encoding="utf-8")
    (path / "qrels" / "train.tsv").write_text("q\t1\t1\nr\t1\t1\n", encoding="utf-8")
    return BeirDataset(path, **options), f"{path / 'queries.jsonl'}, line 2: the key 'text' is missing"


KINDS = ["dpr", "dpr cut off", "msmarco qrels", "msmarco queries", "squad", "columns", "beir"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_malformed_row_is_told_with_file_and_line(tmp_path: Path, kind: str) -> None:
    data, reason = malformed(tmp_path, kind)
    with pytest.raises(ValueError, match=r"Mend the row\.") as caught:
        data.queries("train")
    assert str(caught.value).startswith(reason)


def test_advice_names_what_a_recipe_can_set(tmp_path: Path) -> None:
    data, _ = malformed(tmp_path, "beir", max_malformed=0)
    with pytest.raises(
        ValueError, match=r"max_malformed, a key of the data, as --set train\.0\.data\.max_malformed=10\.$"
    ):
        data.queries("train")


@pytest.mark.parametrize("kind", KINDS)
def test_malformed_rows_are_skipped_and_counted_up_to_a_limit(tmp_path: Path, kind: str, caplog: object) -> None:
    data, reason = malformed(tmp_path, kind, max_malformed=2)
    assert data.queries("train")
    assert data.malformed.rows[0].startswith(reason)
    list(data.passages())
    count, path = len(data.malformed.rows), reason.partition(", line")[0]
    assert f"{path}: {count} malformed {'row was' if count == 1 else 'rows were'} skipped." in caplog.text
    # Who opens the data again is not told again.
    told = len(caplog.records)
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    again, _ = malformed(tmp_path, kind, max_malformed=2)
    again.queries("train")
    list(again.passages())
    assert len(caplog.records) == told


def test_too_many_malformed_rows_name_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "queries.tsv"
    path.write_text("no tab\n" * 4, encoding="utf-8")
    with pytest.raises(ValueError, match="4 malformed rows, more than max_malformed=3"):
        msmarco(queries_files={"train": path}, max_malformed=3).queries("train")


@pytest.mark.parametrize(
    "data", [DprDataset({"a": "x"}), SquadDataset({"a": "x"}), ColumnsDataset({"a": "x"}), msmarco()]
)
def test_unknown_splits_name_the_known_ones(data: RetrievalData) -> None:
    with pytest.raises(ValueError, match=f"no split 'nowhere'; it has: {data.splits()[0]}"):
        data.queries("nowhere")


def test_missing_files_are_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.json is missing"):
        DprDataset({"train": "nothing.json"}).queries("train")
    with pytest.raises(ValueError, match="is not a file of SQuAD"):
        SquadDataset({"train": HERE / "dpr.json"}).queries("train")


def test_draws_are_seeded(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps({"anchor": f"q{i}", "positive": f"p{i}"}) + "\n" for i in range(50)))
    data = ColumnsDataset({"train": path})
    assert data.queries("train", limit=5, seed=1) == data.queries("train", limit=5, seed=1)
    assert data.queries("train", limit=5, seed=1) != data.queries("train", limit=5, seed=2)
    assert len(data.queries("train", limit=500)) == 50


def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    def peak(rows: int) -> int:
        path = tmp_path / f"collection-{rows}.tsv"
        with path.open("w", encoding="utf-8") as file:
            file.writelines(f"{i}\t{'word ' * 100}\n" for i in range(rows))
        tracemalloc.start()
        count = sum(1 for _ in msmarco(collection=path).passages())
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert count == rows
        return highest

    assert peak(8000) < 1.5 * peak(1000)


def test_a_large_array_is_read_element_by_element(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    row = {"question": "q " * 200, "positive_ctxs": [{"text": "t " * 500, "passage_id": "1"}]}
    path.write_text(json.dumps([row] * 4000), encoding="utf-8")
    data = DprDataset({"train": path})
    tracemalloc.start()
    assert sum(1 for _ in data.passages()) == 1
    _, highest = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert highest < path.stat().st_size / 10


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"format": "dpr", "splits": {"train": HERE / "dpr.json"}}, DprDataset),
        ({"format": "squad", "splits": {"train": HERE / "squad.json"}}, SquadDataset),
        ({"format": "columns", "splits": {"train": HERE / "columns.csv"}, "name": "fish"}, ColumnsDataset),
        (
            {
                "format": "msmarco",
                "collection": HERE / "collection.tsv",
                "queries": {"train": HERE / "queries.train.tsv"},
                "qrels": {"train": HERE / "qrels.train.tsv"},
            },
            MsMarcoDataset,
        ),
    ],
)
def test_recipes_name_the_format(config: dict, kind: type) -> None:
    data = open_dataset(TypeAdapter(DataConfig).validate_python(config))
    assert isinstance(data, kind)
    assert data.name == config.get("name", config["format"])
    assert data.queries("train")
    with pytest.raises(ValidationError, match="format"):
        TypeAdapter(DataConfig).validate_python(config | {"format": "trec"})
