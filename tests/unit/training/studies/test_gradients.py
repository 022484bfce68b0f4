import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from facts import write_facts
from rrra_training.negatives.losses import InfoNCE
from rrra_training.negatives.sampler import Candidates
from rrra_training.negatives.samplers import Random, TopK
from rrra_training.studies.gradient_profiles import RankedLists, profile, score_gradients
from rrra_training.studies.gradients import SAMPLERS, main
from typer.testing import CliRunner

TEMPERATURE = 0.05

# With these scores the softmax terms are 4 (positive), 3, 2 and 1: probabilities 0.4, 0.3, 0.2 and 0.1.
ROW = [TEMPERATURE * math.log(term) for term in (3, 2, 1)]
POSITIVE = TEMPERATURE * math.log(4)


def tiny() -> RankedLists:
    """Two queries alike; the second one's first candidate is its positive and not eligible, its last is relevant."""
    candidates = Candidates(
        scores=torch.tensor([[*ROW, -1.0], [POSITIVE, *ROW]], dtype=torch.float64),
        positive_scores=torch.tensor([POSITIVE, POSITIVE], dtype=torch.float64),
        eligible=torch.tensor([[True, True, True, False], [False, True, True, True]]),
    )
    relevant = torch.zeros(2, 4, dtype=torch.bool)
    relevant[1, 1] = True
    return RankedLists(candidates, relevant)


def test_the_gradient_is_the_softmax_over_the_temperature() -> None:
    found = score_gradients(tiny().candidates, TEMPERATURE)
    expected = [[6, 4, 2, 0], [0, 6, 4, 2]]
    assert found.numpy() == pytest.approx(np.array(expected))


def test_the_gradient_is_that_of_our_loss_by_the_embedding() -> None:
    torch.manual_seed(0)
    query, contexts = (torch.nn.functional.normalize(torch.randn(n, 8), dim=-1) for n in (1, 6))
    contexts.requires_grad_()
    scores = query @ contexts.T
    InfoNCE(temperature=TEMPERATURE)(scores, torch.tensor([[1, 0, 0, 0, 0, 0]])).backward()
    scores = scores.detach()
    candidates = Candidates(scores[:, 1:], scores[:, 0], torch.ones(1, 5, dtype=torch.bool))
    found = score_gradients(candidates, TEMPERATURE)[0]
    assert found.numpy() == pytest.approx(contexts.grad.norm(dim=1)[1:].numpy(), rel=1e-4)


def test_expected_gradients_on_hand_computed_numbers() -> None:
    even = profile(Random(), tiny(), TEMPERATURE)
    # A third of 6, 4 and 2, at ranks that leave the positive out.
    assert even.every[:3] == pytest.approx([2, 4 / 3, 2 / 3])
    assert np.isnan(even.every[3])
    assert even.total == pytest.approx(4)
    # One of the two candidates at rank 1 is relevant: 2 of 8.
    assert even.relevant_share == pytest.approx(0.25)
    assert [even.relevant[0], even.unlabelled[0]] == pytest.approx([2, 2])
    assert np.isnan(even.relevant[1:]).all()
    hardest = profile(TopK(k=1), tiny(), TEMPERATURE)
    assert hardest.every[:3].tolist() == pytest.approx([6, 0, 0])


def test_the_command_draws_the_figure(tmp_path: Path) -> None:
    data = write_facts(tmp_path / "facts", train=12)
    # A second relevant passage for some questions: false negatives by the labels.
    qrels = data / "qrels" / "train.tsv"
    rows = [line.split("\t") for line in qrels.read_text().splitlines()[1:5]]
    with qrels.open("a") as file:
        file.writelines(f"{query}\tp{int(passage[1:]) ^ 1}\t1\n" for query, passage, _ in rows)
    figure, numbers = tmp_path / "out" / "gradients.png", tmp_path / "out" / "gradients.json"
    app = typer.Typer()
    app.command()(main)
    options = ["--data", str(data), "--output", str(figure), "--json", str(numbers), "--seed", "1"]
    result = CliRunner().invoke(app, options)
    assert result.exit_code == 0, result.output
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in sorted(figure.parent.iterdir())] == ["gradients.json", "gradients.png"]
    report = json.loads(numbers.read_text())
    assert (report["queries"], report["relevant_candidates"]) == (12, 4)
    assert list(report["samplers"]) == list(SAMPLERS)
    for name, own in report["samplers"].items():
        # 60 passages, of which each query's positive is none of the candidates.
        assert len(own["every"]) == 60, name
        assert own["every"][59] is None, name
        assert own["total"] == pytest.approx(sum(own["every"][:59])), name
        assert 0 <= own["relevant_share"] < 1, name
        assert name in result.output
    # The hardest candidates push hardest.
    assert report["samplers"]["top-k"]["total"] > 3 * report["samplers"]["random"]["total"]

    chosen = ["--sampler", "{name: top-k, k: 3}", "--sampler", "{name: rrra, gamma: 16}"]
    result = CliRunner().invoke(app, [*options, *chosen])
    assert result.exit_code == 0, result.output
    report = json.loads(numbers.read_text())
    assert list(report["samplers"]) == ["{name: top-k, k: 3}", "{name: rrra, gamma: 16}"]
    assert report["samplers"]["{name: top-k, k: 3}"]["every"][3] == 0
    result = CliRunner().invoke(app, [*options, "--sampler", "topk"], env={"TERMINAL_WIDTH": "200"})
    assert result.exit_code == 2
    assert "'topk' is no sampler" in result.output
