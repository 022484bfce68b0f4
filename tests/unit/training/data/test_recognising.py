import json
from pathlib import Path

import pytest
from facts import write_facts
from rrra_training.data.config import open_dataset
from rrra_training.data.recognising import recognised

PAIR = {"question": "Where does the Danube begin?", "positive": "It rises in the Black Forest."}
SQUAD = {"data": [{"title": "Danube", "paragraphs": [{"context": PAIR["positive"], "qas": []}]}]}
DPR = [{"question": PAIR["question"], "answers": [], "positive_ctxs": [{"title": "", "text": PAIR["positive"]}]}]
CSV = ",".join(PAIR) + "\n" + ",".join(PAIR.values()) + "\n"


@pytest.mark.parametrize(
    ("name", "text", "format_"),
    [
        ("pairs.csv", CSV, "columns"),
        ("pairs.jsonl", json.dumps(PAIR), "columns"),
        ("pairs.json", json.dumps([PAIR]), "columns"),
        ("train-v1.1.json", json.dumps(SQUAD), "squad"),
        ("nq-train.json", json.dumps(DPR), "dpr"),
    ],
)
def test_a_file_is_told_by_what_it_holds(tmp_path: Path, name: str, text: str, format_: str) -> None:
    (tmp_path / name).write_text(text)
    found = recognised(tmp_path / name)
    assert (found.format, open_dataset(found).splits()) == (format_, ["train"])


def test_a_folder_is_told_by_its_files(tmp_path: Path) -> None:
    assert recognised(write_facts(tmp_path / "facts")).format == "beir"
    pairs = tmp_path / "pairs"
    pairs.mkdir()
    for split in ("train", "dev", "test"):
        (pairs / f"{split}.csv").write_text(CSV)
    found = recognised(pairs)
    assert (found.format, found.name, open_dataset(found).splits()) == ("columns", "pairs", ["dev", "train"])
    marco = tmp_path / "marco"
    marco.mkdir()
    for name in ("collection", "queries.train", "qrels.train", "queries.test"):
        (marco / f"{name}.tsv").write_text("1\tx\n")
    assert (recognised(marco).format, open_dataset(recognised(marco)).splits()) == ("msmarco", ["train"])
    with pytest.raises(FileNotFoundError, match=r"There is no .*nowhere"):
        recognised(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="BEIR layout"):
        recognised(tmp_path / "empty")
