import json

import numpy as np
import pytest
import torch
from rrra_training.candidates.evidence import EvidenceConfig, Source
from rrra_training.candidates.lists import ListConfig, draw_lists
from rrra_training.candidates.mining import MiningConfig
from rrra_training.candidates.preparing import prepare
from rrra_training.candidates.sets import CandidateSet
from rrra_training.candidates.splits import SplitConfig
from rrra_training.judging.projecting import projected
from rrra_training.judging.verdicts import judge
from rrra_training.negatives.sampler import Sampler
from rrra_training.negatives.samplers import Random, SimANS, TopK
from rrra_training.phases.adapter.gradients import stored
from rrra_training.phases.adapter.learner import AdapterLearner
from rrra_training.phases.adapter.losses import AdapterLoss
from rrra_training.phases.adapter.observing import observations
from rrra_training.phases.adapter.taking_over import learner_of
from rrra_training.phases.adapter.training import learning_groups
from rrra_training.phases.joint.drawing import draw_negatives
from rrra_training.phases.joint.gradients import contrastive_labels, list_labels
from rrra_training.phases.joint.rounds import adapter_training
from rrra_training.recipe.settings import AdapterTraining, JointTraining

from rrra_haystack import RRRAModel
from rrra_haystack.model.adapter.parts import AdapterConfig
from rrra_haystack.model.codes.kinds import CodeKind

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


def test_the_adapter_is_told_of_a_list_what_phase_2_would_tell_it(doubled: CandidateSet) -> None:
    config = AdapterTraining(lists=ListConfig(candidates=5, retrieved_k=3))
    loss = AdapterLoss(config, doubled.labels.prior, torch.ones(4))
    drawn = draw_lists(doubled, np.arange(COUNT), config.lists, np.random.default_rng(0))
    for query, rows in enumerate(drawn.rows):
        labels = list_labels(doubled, query, rows, loss)
        assert labels.target.tolist() == drawn.target[query].tolist()
        assert labels.known.tolist() == drawn.known[query].tolist()
        assert labels.retrieved.tolist() == drawn.retrieved[query].tolist()
        assert labels.retrieved.tolist() == [row in doubled.mined.rows[query][:3] for row in rows]
    assert 0 < drawn.retrieved.mean() < 1


@pytest.mark.parametrize("kind", ["int8", "1bit"])
def test_phase_3_sees_lists_as_phase_2_and_serving_do(doubled: CandidateSet, model: RRRAModel, kind: CodeKind) -> None:
    learner = learner_of(model)
    rows = np.asarray(doubled.mined.rows[0][:4])
    asked, read = stored(doubled.queries, np.arange(1)), stored(doubled.passages, rows)
    (seen,) = observations(learner, asked, read, [np.arange(4)], kind)
    assert seen.tokens.is_binary == (kind == "1bit")
    with projected(doubled.passages, learner.projection, doubled.passages.path.parent) as passages:
        served = passages.tokens(rows, kind)
        assert served.is_binary == seen.tokens.is_binary
        states = seen.tokens.states.detach()
        assert (served.states * states).sum(dim=1).numpy() == pytest.approx((states * states).sum(dim=1), abs=0.02)
    judged = learner.adapter(seen).adapter.detach()
    verdicts = judge_of(model, doubled, kind)
    assert judged.numpy() == pytest.approx(verdicts[0, :4], abs=0.02)


def judge_of(model: RRRAModel, data: CandidateSet, kind: CodeKind) -> np.ndarray:
    with projected(data.passages, model.projection, data.passages.path.parent) as passages:
        return judge(model.adapter, model.projection, data, passages, kind, lexical=None).adapter


def test_the_projection_rests_in_phase_3_too_and_single_numbers_do_not_decay() -> None:
    learner = AdapterLearner(AdapterConfig(pooled_dim=384, token_dim=128), hidden_size=384)
    config = AdapterTraining(projection_learning_rate=0)
    joint = JointTraining(adapter_learning_rate=1e-3, weight_decay=0.5)
    groups = learning_groups(learner, adapter_training(config, joint))
    assert learner.projection is not None
    assert not learner.projection.weight.requires_grad
    decay = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    assert decay[id(learner.log_scale)] == decay[id(learner.adapter.score_mix)] == 0
    assert 0.5 in decay.values()
    rates = [adapter_training(AdapterTraining(projection_learning_rate=own), joint) for own in (1e-4, 1e-2)]
    assert [own.projection_learning_rate for own in rates] == [1e-4, 1e-3]
