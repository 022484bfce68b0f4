import json
from collections import defaultdict
from pathlib import Path

import pytest
from chat_server import chatting
from facts import write_facts
from openai import OpenAI
from rrra_training.studies import mining, mining_judge
from typer.testing import CliRunner


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
