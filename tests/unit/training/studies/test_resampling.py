import json
import shutil
from pathlib import Path

import pytest
import typer
from rrra_training.data import BeirDataset, Passage, Query
from rrra_training.studies.hidden import main as hidden
from rrra_training.studies.resampling import main as resampling
from rrra_training.studies.windows import Article
from rrra_training.studies.windows import main as windows
from typer.testing import CliRunner, Result


def run(command: object, *arguments: str) -> Result:
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, list(arguments))


def test_an_answer_is_in_every_window_that_holds_its_place() -> None:
    words = [f"w{number:02}" for number in range(20)]
    paragraphs = [Passage("p0", "T", " ".join(words[:8])), Passage("p1", "T", " ".join(words[8:]) + " w01")]
    article = Article.of(paragraphs, 8, 4)
    texts = [article.text[begin:end] for begin, end in article.windows]
    assert [text.split()[0] for text in texts] == ["w00", "w04", "w08", "w12", "w16"]
    assert texts[1].split()[-1] == "w11"
    # Two windows hold it; it stands nearer to the middle of the second.
    assert article.holding("p1", Query("q", "?", ("w10",))) == [2, 1]
    # The same word at another place is no answer.
    assert article.holding("p0", Query("q", "?", ("w01",))) == [0]
    assert article.holding("p1", Query("q", "?", ("w01",))) == [4]
    assert article.holding("p0", Query("q", "?", ("elsewhere",))) == []


def test_neighbours_of_the_labelled_window_are_counted_where_they_are_drawn(folder: Path, tmp_path: Path) -> None:
    made, report = tmp_path / "windows", tmp_path / "table.md"
    result = run(windows, str(folder), "--output", str(made), "--words", "8")
    assert result.exit_code == 0, result.output
    truth, labels = (BeirDataset(made).qrels(split) for split in ("dev-truth", "dev"))
    assert truth.keys() == labels.keys()
    assert all(len(own) == 1 and own.items() <= truth[query].items() for query, own in labels.items())
    assert sum(map(len, truth.values())) > 1.3 * len(truth)
    rows = map(json.loads, (made / "queries.jsonl").read_text().splitlines())
    texts = {passage.id: passage.text for passage in BeirDataset(made).passages()}
    answers = {row["_id"]: row["answers"][0] for row in rows}
    assert all(answers[query] in texts[window] for query, own in truth.items() for window in own)

    half = tmp_path / "half"
    assert run(windows, str(folder), "--output", str(half), "--words", "8", "--only", "dev").exit_code == 0
    assert BeirDataset(half).qrels("dev-truth") == truth
    assert {passage.id for passage in BeirDataset(half).passages()} < texts.keys()

    result = run(resampling, f"{made}:dev-truth", "--output", str(report), "--cache", str(tmp_path / "cache"))
    assert result.exit_code == 0, result.output
    rows = [line.split("|") for line in report.read_text().splitlines() if line.startswith("| ")][1:]
    false = {row[1].strip(): float(row[2].replace("%", "")) for row in rows}
    assert false["top-k"] > 0
    assert false["rrra over the first 30"] <= false["top-k"]
    with pytest.raises(ValueError, match="No query of windows/dev has 2 relevant"):
        raise run(resampling, f"{made}:dev", "--cache", str(tmp_path / "cache")).exception


def test_all_labels_but_one_are_hidden_and_the_questions_kept_back_keep_theirs(folder: Path, tmp_path: Path) -> None:
    made, source = tmp_path / "hidden", BeirDataset(folder)
    result = run(hidden, str(folder), "--output", str(made), "--held", "3")
    assert result.exit_code == 0, result.output
    written = BeirDataset(made)
    labels, truth, held = (written.qrels(split) for split in ("train", "train-truth", "train-held"))
    assert truth | held == source.qrels("train")
    assert len(held) == 3
    assert labels.keys() == truth.keys()
    assert all(len(own) == 1 and own.items() < truth[query].items() for query, own in labels.items())
    # Of two labelled passages now the one is kept, now the other.
    assert len({next(iter(own)).endswith("b") for own in labels.values()}) == 2
    assert written.qrels("dev") == source.qrels("dev")
    assert list(written.passages()) == list(source.passages())
    assert [query.text for query in written.queries("train-held")] == [
        query.text for query in source.queries("train") if query.id in held
    ]
    result = run(hidden, str(folder), "--output", str(tmp_path / "none"), "--least", "3")
    assert result.exit_code == 2
    assert "none is left" in " ".join(result.output.replace("│", " ").split())


def test_labels_of_passages_that_the_corpus_lacks_are_left_out(folder: Path, tmp_path: Path) -> None:
    lacking = shutil.copytree(folder, tmp_path / "lacking")
    path = lacking / "qrels" / "train.tsv"
    head, *labels = path.read_text().splitlines()
    first, *others = dict.fromkeys(line.split("\t")[0] for line in labels)
    added = [f"{query}\tgone{number}\t1" for query in others for number in range(5)]
    path.write_text("\n".join([head, f"{first}\tgone\t1", *added, *labels[2:]]) + "\n")
    for command, options in ((hidden, ["--held", "3"]), (windows, ["--words", "8"])):
        made = tmp_path / command.__module__
        result = run(command, str(lacking), "--output", str(made), *options)
        assert result.exit_code == 0, result.output
        written = BeirDataset(made)
        known = {passage.id for passage in written.passages()}
        assert all(own.keys() <= known for split in written.splits() for own in written.qrels(split).values())
        assert first not in written.qrels("train-truth")
