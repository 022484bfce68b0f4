"""What the rooms of the training share: a small corpus on disk, and questions of several positives."""

import json
from pathlib import Path

import pytest
from facts import write_facts
from rrra_training.candidates.evidence import EvidenceConfig
from rrra_training.candidates.mining import MiningConfig
from rrra_training.candidates.preparing import prepare
from rrra_training.candidates.sets import CandidateSet
from rrra_training.candidates.splits import SplitConfig
from rrra_training.corpora.building import build_store
from rrra_training.corpora.store import StateStore
from texts import TEXTS

from rrra_haystack import RRRAModel
from rrra_haystack.model.encoder import Encoder


@pytest.fixture(scope="session")
def encoder(model: RRRAModel) -> Encoder:
    return model.encoder


@pytest.fixture(scope="session")
def kept(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> StateStore:
    return build_store(
        tmp_path_factory.mktemp("store") / "texts",
        ((f"t{number}", text) for number, text in enumerate(TEXTS)),
        encoder,
        task="document",
    )


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The invented towns, each passage told twice in other words, so that every question has two positives."""
    folder = write_facts(tmp_path_factory.mktemp("several") / "facts")
    rows = [json.loads(line) for line in (folder / "corpus.jsonl").read_text().splitlines()]
    again = [
        row | {"_id": row["_id"] + "b", "text": f"The chronicle has it that {row['text'][0].lower()}{row['text'][1:]}"}
        for row in rows
    ]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows + again))
    for path in (folder / "qrels").glob("*.tsv"):
        head, *pairs = path.read_text().splitlines()
        twice = [line for pair in pairs for line in (pair, pair.replace("\t1", "b\t1"))]
        path.write_text("\n".join([head, *twice]) + "\n")
    return folder


@pytest.fixture(scope="session")
def data(folder: Path, tmp_path_factory: pytest.TempPathFactory, model: RRRAModel) -> CandidateSet:
    config = SplitConfig.model_validate({"data": {"format": "beir", "path": folder}, "split": "train"})
    cache = tmp_path_factory.mktemp("cache")
    return prepare(config, model.encoder, cache, mining=MiningConfig(), evidence=EvidenceConfig())
