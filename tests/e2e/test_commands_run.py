"""The commands of the README and the documentation do what they say, on sets that are small enough for a test."""

import json
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
import yaml
from documented import ROOT, commands, program
from facts import write_facts
from texts import pdf
from typer.testing import CliRunner, Result

from rrra_haystack.pretrained import bundled

# What these need a test has not, or it stands in another one: a server, HTML pages, a cluster, a language model, small
# parts of sets, somebody who stops the command, documents of many sentences, a million passages, or time for the
# trainings of the bundled plans, of which there are 3 to 15 (test_adapting, test_benchmark, test_compressed_form,
# test_made_questions, test_scale, test_train and test_trust run the same commands on texts and plans of their own).
ELSEWHERE = (
    "http://", "10.0.0.5", "--ray", "docker", "torchrun", "serve pipelines/", "serving_speed", "rag.yaml",
    "benchmark-minilm-l6", "heads.yaml", "samplers.yaml", "resampling.yaml", "ablation.yaml",
    "rrra adapt", "studies.adapted", "studies.compressed_kinds", "studies.trust", "studies.shared_cores",
    "made_questions", "with-pages", "studies.scale", "search_quality", "serving_filled",
    "data_root=LEARN", "mpnet=", "--model rrra-mpnet-base --systems", "data_root=SMALL", "SMALL/squad:test",
    "SMALL/squad-dev", "runs/late-interaction",
)  # fmt: skip
# What makes a command short: it stands behind what the page says.
SHORTER = {
    "rrra compress": ["--max-loss=100"],
    "rrra evaluate": ["--limit=4"],
    # So few labels are not trained on, and settings of a training are refused.
    "rrra train my-data": [],
    "rrra train": ["--set=adapter.steps=2", "--set=adapter.batch_size=2"],
    "rrra_training.answering": ["--limit=10"],
    "rrra_training.studies.audit_benchmark": ["--limit=8"],
    "rrra_training.studies.many_sets": ["--limit=4"],
    "rrra_training.studies.windows": ["--words=8"],
    "rrra_training.studies.hidden": ["--held=1"],
    "rrra_training.studies.speed": ["--passages=64", "--rounds=1", "--repeats=5"],
}
SETS = "squad medquad scifact cranfield fairytaleqa cosqa cisi cacm npl time".split()
PREPARATION = (
    "rrra init pipelines/",
    "rrra index my-documents/",
    "rrra copy .rrra/store .rrra/edge",
    "rrra index DATA/squad/corpus.jsonl --store .rrra/squad",
    "rrra audit my-data --split train --output audit",
    "python -m rrra_training.studies.windows DATA/squad --output DATA/squad-windows",
)
CONTRACT = "The contract about the pump XK-962 was signed by Edith Fell in 1987."


def documented() -> list:
    found = {}
    for one in commands():
        (words,) = one.values
        line = " ".join(words)
        if program(words) is not None and not any(part in line for part in ELSEWHERE):
            found[line] = one
    return list(found.values())


def run(words: list[str]) -> Result:
    found = program(words)
    assert found is not None
    application, arguments = found
    line = " ".join(words)
    shorter = next((own for name, own in SHORTER.items() if name in line), [])
    return CliRunner().invoke(application, [*arguments, *shorter])


def write_set(folder: Path) -> None:
    """Invented towns, with questions of one right passage and of several."""
    write_facts(folder, train=30, dev=20, test=8)
    passages = [json.loads(line) for line in (folder / "corpus.jsonl").read_text().splitlines()]
    by_river = defaultdict(list)
    for passage in passages:
        if "river" in passage["text"]:
            by_river[passage["text"].rsplit(" ", 1)[1].rstrip(".")].append(passage["_id"])
    with (folder / "queries.jsonl").open("a") as queries:
        for river in by_river:
            question = f"Which towns lie on the river {river}?"
            queries.write(json.dumps({"_id": river, "text": question, "answers": [river]}) + "\n")
    for split in ("train", "dev", "test"):
        with (folder / "qrels" / f"{split}.tsv").open("a") as qrels:
            qrels.writelines(f"{river}\t{passage}\t1\n" for river, own in by_river.items() for passage in own)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the pages take for granted."""
    folder = tmp_path_factory.mktemp("prepared")
    for name in SETS:
        write_set(folder / "DATA" / name)
    shutil.copytree(folder / "DATA", folder / "data")
    shutil.copytree(folder / "DATA" / "squad", folder / "my-data")
    shutil.copy(folder / "my-data" / "corpus.jsonl", folder / "corpus.jsonl")
    for name in ("my-documents", "manuals"):
        (folder / name).mkdir()
        (folder / name / "contract.txt").write_text(CONTRACT)
    (folder / "contract.pdf").write_bytes(pdf(CONTRACT))
    source = {"format": "beir", "path": "my-data"}
    recipe = {"name": "mine", "train": [{"data": source}], "dev": [{"data": source, "split": "dev"}]}
    for name in ("my-recipe.yaml", "RECIPE"):
        (folder / name).write_text(yaml.safe_dump(recipe))
    shutil.copy(folder / "my-data" / "qrels" / "train.tsv", folder / "my-data" / "qrels" / "train-audited.tsv")
    shutil.copytree(ROOT / "training", folder / "training")
    reader = bundled("rrra-minilm-l6-reader")
    adapter = bundled("rrra-minilm-l6")
    assert reader is not None
    assert adapter is not None
    shutil.copytree(reader, folder / "READER")
    shutil.copytree(adapter, folder / "runs" / "only-squad" / "model")
    shutil.copytree(adapter, folder / "runs" / "my-adapter" / "model")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        for line in PREPARATION:
            result = run(line.split())
            assert result.exit_code == 0, result.output
        pipeline = yaml.safe_load((folder / "pipelines" / "search.yaml").read_text())
        (folder / "store.yaml").write_text(
            yaml.safe_dump(pipeline["components"]["retriever"]["init_parameters"]["document_store"])
        )
        audited = json.loads((folder / "audit" / "audit.json").read_text())
        decided = {name: audited[name] for name in ("dataset", "split", "digest")} | {"decisions": []}
        (folder / "decisions-train-50-1f3a9c2b.json").write_text(json.dumps(decided))
    return folder


@pytest.mark.parametrize("words", documented())
def test_command_runs(words: list[str], prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "project"
    # The files of Edge have holes, which shutil would fill: 540 MB in the place of 9.
    subprocess.run(["cp", "-R", str(prepared), str(folder)], check=True)
    monkeypatch.chdir(folder)
    line = " ".join(words)
    if line.startswith("rrra init"):
        shutil.rmtree("pipelines")
    if line.startswith("rrra train"):
        shutil.rmtree("runs")
    if "studies.windows" in line:
        shutil.rmtree("DATA/squad-windows")
    if "--apply" in words:
        Path("my-data/qrels/train-audited.tsv").unlink()
    if "--resume" in line:
        assert run([word for word in words if word != "--resume"]).exit_code == 0
    result = run(words)
    assert result.exit_code == 0, result.output
