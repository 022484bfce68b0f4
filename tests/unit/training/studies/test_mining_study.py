import json
import shutil
from collections import defaultdict
from pathlib import Path

import pytest
from chat_server import chatting
from facts import write_facts
from openai import OpenAI
from rrra_training.mining.mine import mine_negatives
from rrra_training.mining.settings import NegativesConfig
from rrra_training.studies import mining, mining_judge
from rrra_training.studies.hiding import hidden_rows, hide
from typer.testing import CliRunner

from rrra_haystack import RRRAModel


@pytest.fixture(scope="module")
def towns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Towns on rivers: which towns lie on a river has several right passages."""
    folder = write_facts(tmp_path_factory.mktemp("study") / "towns", train=10)
    by_river = defaultdict(list)
    for line in (folder / "corpus.jsonl").read_text().splitlines():
        passage = json.loads(line)
        if "river" in passage["text"]:
            by_river[passage["text"].rsplit(" ", 1)[1].rstrip(".")].append(passage["_id"])
    with (folder / "queries.jsonl").open("a") as queries, (folder / "qrels" / "train.tsv").open("a") as qrels:
        for river, own in by_river.items():
            queries.write(json.dumps({"_id": river, "text": f"Which towns lie on the river {river}?"}) + "\n")
            qrels.writelines(f"{river}\t{passage}\t1\n" for passage in own)
    return folder


def test_hidden_positives_are_counted(towns: Path, tmp_path: Path) -> None:
    command = [f"{towns}:train", "--output", str(tmp_path / "mining.json"), "--negatives", "3", "--limit", "5"]
    result = CliRunner().invoke(mining.app, command)
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "mining.json").read_text())["sets"]["towns train"]
    assert figures["queries"] == 5
    assert figures["hidden among the candidates"] >= 1
    methods = figures["methods"]
    # Two programs that take the nearest passages take the same ones.
    for key, value in methods["sentence-transformers, no margin"].items():
        assert methods["the nearest"][key] == pytest.approx(value)
    assert methods["the nearest"]["negatives a query"] == 3
    shares = [methods[f"rrra mine, at most {most}"]["share of false ones"] for most in (0.3, 0.1, 0.03)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] < methods["the nearest"]["share of false ones"]


def test_a_language_model_is_asked_which_negatives_are_false(
    towns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "unused")
    command = [f"{towns}:train", "--output", str(tmp_path / "judged.json"), "--negatives", "3", "--limit", "5"]
    with chatting() as url:
        result = CliRunner().invoke(mining_judge.app, [*command, "--judge", "small", "--api-base-url", url])
        assert result.exit_code == 0, result.output
        judge = mining_judge.Judge("small", OpenAI(base_url=url))
        river = "Which towns lie on the river Oder?"
        assert judge.log_odds(river, "Here.", "Aken lies on the Oder.") == pytest.approx(0.9)
        assert judge.log_odds(river, "Here.", "Aken is a town.") == pytest.approx(-2)
    figures = json.loads((tmp_path / "judged.json").read_text())["sets"]["towns train"]
    assert figures["judged"] == 5 * 14
    assert figures["judge's pairs"] == 1
    methods = figures["methods"]
    assert methods["the nearest"]["share of false ones"] > 0
    assert methods["language model, likelier no"]["share of false ones"] == 0
    assert methods["language model, likelier no"]["queries with all"] == 1


def with_labels(folder: Path, target: Path, rows: str, questions: str = "") -> Path:
    """A set with other labels for train, and further questions."""
    shutil.copytree(folder, target)
    (target / "qrels" / "train.tsv").write_text(rows)
    with (target / "queries.jsonl").open("a") as queries:
        queries.write(questions)
    return target


def test_labels_of_passages_that_the_corpus_lacks(towns: Path, tmp_path: Path) -> None:
    rows = (towns / "qrels" / "train.tsv").read_text()
    first = rows.splitlines()[1].split("\t")[0]
    lacking = "".join(f"{query}\tgone{number}\t1\n" for query in (first, "Enz") for number in range(9))
    source = with_labels(towns, tmp_path / "lacking", rows + lacking)
    for seed in range(3):
        hidden = hide(source, "train", tmp_path / str(seed), None, seed)
        assert hidden == hide(towns, "train", tmp_path / f"{seed}b", None, seed)
    lone = with_labels(towns, tmp_path / "lone", f"{first}\tp1\t1\n{first}\tgone\t1\nnobody\tp1\t1\nnobody\tp2\t1\n")
    command = [f"{source}:train", f"{lone}:train", "--output", str(tmp_path / "out.json")]
    with pytest.raises(ValueError, match=r"No query of the split 'train' of .*lone has two relevant passages"):
        raise CliRunner().invoke(mining.app, command).exception


def test_queries_and_passages_with_the_same_text_are_told_apart(towns: Path, tmp_path: Path, model: RRRAModel) -> None:
    text = "Which towns lie on the river Enz?"
    rows = (towns / "qrels" / "train.tsv").read_text()
    again = "".join(line.replace("Enz", "again", 1) + "\n" for line in rows.splitlines() if line.startswith("Enz"))
    question = json.dumps({"_id": "again", "text": text}) + "\n"
    source = with_labels(
        towns, tmp_path / "same", f"query-id\tcorpus-id\tscore\n{again}{again.replace('again', 'Enz')}", question
    )
    lines = [json.loads(line) for line in (source / "corpus.jsonl").read_text().splitlines()]
    copies = "".join(json.dumps(one | {"_id": f"{one['_id']}-copy"}) + "\n" for one in lines)
    with (source / "corpus.jsonl").open("a") as corpus:
        corpus.write(copies)
    hidden = hide(source, "train", tmp_path / "hidden", None, 0)
    mined = mine_negatives(tmp_path / "hidden", "train", NegativesConfig(negatives=3), model=model, cache=tmp_path)
    truth, _ = hidden_rows(mined.data, hidden)
    ids = mined.data.passages.ids
    for query, own in truth.items():
        known = hidden[mined.data.queries.ids[query]]
        assert {ids[row] for row in own} == known | {f"{one}-copy" for one in known}
    figures = mining.measured(
        mined.data,
        mining._of_sentence_transformers(model, mined.data, list(truth), 3, (None, None)),
        truth,
        NegativesConfig(negatives=3),
    )
    assert (len(truth), figures["queries with all"]) == (2, 1)
    assert figures["share of false ones"] > 0


def test_sets_of_one_name_are_told_before_anything_is_mined(towns: Path, tmp_path: Path) -> None:
    other = shutil.copytree(towns, tmp_path / "towns")
    for app, further in ((mining.app, []), (mining_judge.app, ["--judge", "small"])):
        command = [f"{towns}:train", f"{other}:train", "--output", str(tmp_path / "out.json"), *further]
        with pytest.raises(ValueError, match=r"are both called 'towns train'"):
            raise CliRunner().invoke(app, command).exception
