import json

import numpy as np
import pytest
from rrra_training.candidates.evidence import EvidenceConfig, Source
from rrra_training.candidates.mining import MiningConfig
from rrra_training.candidates.preparing import prepare
from rrra_training.candidates.sets import CandidateSet
from rrra_training.candidates.splits import SplitConfig
from rrra_training.negatives.sampler import Sampler
from rrra_training.negatives.samplers import Random, SimANS, TopK
from rrra_training.phases.joint.drawing import draw_negatives
from rrra_training.phases.joint.gradients import contrastive_labels
from rrra_training.recipe.settings import JointTraining

from rrra_haystack import RRRAModel

COUNT = 8


@pytest.fixture(scope="module")
def doubled(tmp_path_factory: pytest.TempPathFactory, model: RRRAModel) -> CandidateSet:
    """Questions among questions: each is a passage itself, and its labelled passage stands there twice."""
    folder = tmp_path_factory.mktemp("doubled") / "doubled"
    (folder / "qrels").mkdir(parents=True)
    asked = [f"How do I solve problem {number} of chapter {number * number}?" for number in range(COUNT)]
    passages = {f"itself{number}": text for number, text in enumerate(asked)}
    for number in range(COUNT):
        right = f"The way to solve problem {number} of chapter {number * number}."
        passages |= {f"right{number}": right, f"double{number}": right.lower()}
    rows = [{"_id": name, "title": "", "text": text} for name, text in passages.items()]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rows = [{"_id": f"q{number}", "text": text} for number, text in enumerate(asked)]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    qrels = [f"q{number}\tright{number}\t1\n" for number in range(COUNT)]
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(qrels))
    config = SplitConfig.model_validate({"data": {"format": "beir", "path": folder}, "ignore_identical": True})
    cache = tmp_path_factory.mktemp("doubled-cache")
    return prepare(config, model.encoder, cache, mining=MiningConfig(top_k=10), evidence=EvidenceConfig())


@pytest.mark.parametrize("sampler", [TopK(k=3), SimANS(), Random()])
def test_no_sampler_draws_what_evidence_calls_relevant_or_what_is_left_out(
    doubled: CandidateSet, sampler: Sampler
) -> None:
    assert (np.asarray(doubled.labels.source) == Source.DUPLICATE).sum() == COUNT
    config = JointTraining(sampler=sampler, negatives=4, random_share=0.5)
    ids = np.array(doubled.passages.ids)
    for seed in range(20):
        lists = draw_negatives(doubled, np.arange(COUNT), config, np.random.default_rng(seed), None)
        for number, own in enumerate(lists):
            assert ids[own[0]] == f"right{number}"
            others = set(ids[own[1:][own[1:] >= 0]])
            assert others
            assert not others & {f"right{number}", f"double{number}", f"itself{number}"}


def test_passages_of_other_queries_that_are_no_negatives_are_left_out_of_the_loss(doubled: CandidateSet) -> None:
    rows = np.arange(len(doubled.passages))
    row_of = doubled.passages.row_of
    positives = np.array([row_of[f"right{number}"] for number in range(2)])
    labels = contrastive_labels(doubled, np.arange(2), positives, rows)
    for number, own in enumerate(labels):
        assert own.nonzero()[:, 0].tolist() == [row_of[f"{name}{number}"] for name in ("itself", "right", "double")]
        assert own[own != 0].tolist() == [-1, 1, -1]
