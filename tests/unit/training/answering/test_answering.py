import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from haystack import Document
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from rrra_training.answering.calibrating import Read, fit
from rrra_training.answering.figures import Said, by_passages, later_answers, report
from rrra_training.answering.showing import draw, render, render_passages
from rrra_training.answering.spans import Span, best_of_passages, first, opened_twice, passages_read, read
from rrra_training.data import Query
from texts import TEXTS

from rrra_haystack import RRRADocumentEmbedder
from rrra_haystack.pipeline_files import read_pipeline, store_parameters
from rrra_haystack.reader.answers import AnswerCalibration, AnswerRegression

QUESTION = Query(id="q", text="When was the Golden Gate Bridge opened?", answers=("1937", "May 1937"))
BRIDGE = next(number for number, text in enumerate(TEXTS) if "Golden Gate" in text)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store") / "store"
    documents = [Document(id=f"passage {number}", content=text) for number, text in enumerate(TEXTS)]
    (parameters,) = store_parameters(read_pipeline(None, "qa.yaml", str(folder)))
    filled = QdrantDocumentStore(**parameters)
    filled.write_documents(RRRADocumentEmbedder(progress_bar=False).run(documents)["documents"])
    filled.close()
    return folder


def spans(rng: np.random.Generator, questions: int, relevance: bool) -> list[list[Span]]:
    """Spans that are right by a known law of score and relevance."""
    found = []
    for _ in range(questions):
        own = []
        for rank in range(1, 6):
            score, trust = rng.normal(0, 3), rng.normal(-1, 2)
            right = rng.random() < 1 / (1 + np.exp(-(score + (trust if relevance else 0) - 1)))
            probability = float(1 / (1 + np.exp(-trust)))
            own.append(Span("x", score, probability if relevance else None, float(right), bool(right), rank))
        found.append(own)
    return found


def test_the_calibration_finds_the_law() -> None:
    rng = np.random.default_rng(0)
    # Nothing tells the questions without an answer from the others, so each has none as probably as any.
    adapted = Read(spans(rng, 3000, True), spans(rng, 1000, True))
    calibration = fit(adapted, Read(spans(rng, 3000, False), spans(rng, 1000, False)), none_share=0.2)
    # The best span of five was chosen for its probability, not for being right, so the law holds for it as well.
    assert calibration.right.span == pytest.approx(1, abs=0.25)
    assert calibration.right.relevance == pytest.approx(calibration.right.span, rel=0.15)
    assert calibration.right.bias == pytest.approx(-1, abs=0.4)
    assert calibration.right_alone.span == pytest.approx(1, abs=0.25)
    asked = spans(rng, 3000, True)
    said = Said.of(asked, calibration)
    assert said.none == pytest.approx(0.2, abs=0.06)
    given = said.probability / (1 - said.none)
    assert said.right[given > 0.9].mean() == pytest.approx(given[given > 0.9].mean(), abs=0.03)


def test_what_is_nowhere_is_known_by_its_scores() -> None:
    rng = np.random.default_rng(1)
    lower = [[replace(one, score=one.score - 8) for one in own] for own in spans(rng, 1000, False)]
    found = Read(spans(rng, 3000, False), lower)
    calibration = fit(found, found, none_share=0.1)
    assert Said.of(found.gone, calibration).refused.mean() > 0.9
    assert Said.of(found.there, calibration).refused.mean() < 0.1


def test_answers_that_nothing_can_be_fitted_to_are_told() -> None:
    some = spans(np.random.default_rng(0), 10, False)
    sure = [[replace(one, f1=1.0) for one in own] for own in some]
    for found, reason in (
        (Read([[], []], some), r"answers 0 of 2 questions, and 10 of the 10 that are asked again"),
        (Read(some, [[]]), r"answers 10 of 10 questions, and 0 of the 1 that are asked again.*\(--limit\)"),
        (Read(sure, some), r"All 50 answers that a fit is to tell apart are right\."),
        (Read([[replace(one, f1=0.0) for one in own] for own in some], some), r"are wrong\. Ask more questions"),
    ):
        with pytest.raises(ValueError, match=reason):
            fit(found, found, none_share=0.1)


def test_the_report_of_known_answers(tmp_path: Path) -> None:
    law, never = AnswerRegression(bias=0, span=1, relevance=1), AnswerRegression(bias=0, span=-1)
    calibration = AnswerCalibration(right=law, none=never, right_alone=law, none_alone=never)
    right, wrong = Span("1937", 2.0, 0.5, 1.0, True, 1), Span("the", -2.0, 0.5, 0.0, False, 1)
    half = Span("in May 1937", 1.0, 0.5, 0.8, False, 2)
    ours = Said.of([[right, wrong], [wrong, half], [], [right]], calibration)
    base = Said.of([[wrong], [wrong], [right], [right]], calibration)
    assert ours.exact.tolist() == [1, 0, 0, 1]
    assert (ours.probability[2], ours.none[2]) == (0, 1)
    removed = {"without the adapter": base, "with the adapter": Said.of([[wrong]] * 4, calibration)}
    figures = report({"without the adapter": base, "with the adapter": ours}, removed, seed=0)
    assert figures["systems"]["with the adapter"]["EM"] == 0.5
    assert figures["systems"]["with the adapter"]["EM with no answers"] == 0.5
    assert figures["systems"]["with the adapter"]["F1"] == pytest.approx(0.7)
    assert figures["systems"]["with the adapter"]["no answer"] == 0.25
    assert figures["systems"]["with the adapter"]["no answer, passage removed"] == 1
    assert figures["systems"]["without the adapter"]["no answer, passage removed"] == 0.5
    assert figures["EM gain"]["mean"] == 0
    assert render(figures).row_count == 12
    draw({"without the adapter": base, "with the adapter": ours}, removed, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_who_reads_fewer_passages_has_the_first() -> None:
    law = AnswerRegression(bias=0, span=1, relevance=1)
    calibration = AnswerCalibration(right=law, none=law, right_alone=law, none_alone=law)
    question = [
        Span("no", 1.0, 0.5, 0.0, False, 1),
        Span("May 1937", 2.0, 0.5, 1.0, True, 3),
        Span("x", 9, 0.5, 0.2, False, 6),
    ]
    assert [len(own) for own in first([question, question[:1]], 3)] == [2, 1]
    figures = by_passages({"one": [question]}, calibration)
    assert {passages: own["one"]["EM"] for passages, own in figures.items()} == {"1": 0, "3": 1, "5": 1, "10": 0}
    assert figures["10"]["one"]["F1"] == pytest.approx(0.2)
    assert render_passages(figures).row_count == 4


def test_the_best_of_each_passage() -> None:
    low, high, other = (Span("x", score, None, 0.0, False, rank) for score, rank in ((1.0, 1), (3.0, 1), (2.0, 2)))
    assert best_of_passages([[high, other, low], []]) == [[high, other], []]


def test_second_and_third_answers_are_measured() -> None:
    law = AnswerRegression(bias=0, span=1)
    calibration = AnswerCalibration(right=law, none=AnswerRegression(bias=-50, span=0), right_alone=law, none_alone=law)
    question = [
        Span("x", score, 0.5, right, False, 1) for score, right in ((-1.0, 0.0), (2.0, 1.0), (0.0, 0.8), (-9, 1))
    ]
    figures = later_answers([question, []], calibration)
    second, third = ((1 / (1 + math.exp(-score))) / math.sqrt(1 + math.exp(2)) for score in (0, -1))
    assert figures["score of second and third answers"] == pytest.approx((second + third) / 2)
    assert figures["right of second and third answers"] == 0.5
    assert figures["ECE of second and third answers"] == pytest.approx((1 - second + third) / 2)


def test_where_there_is_one_answer_at_most_nothing_is_said_of_later_ones() -> None:
    law = AnswerRegression(bias=0, span=1)
    calibration = AnswerCalibration(right=law, none=law, right_alone=law, none_alone=law)
    one = [Span("x", 1.0, 0.5, 1.0, True, 1)]
    said = {name: Said.of([one, one], calibration) for name in ("without the adapter", "with the adapter")}
    figures = report(said, said, seed=0)
    later = later_answers([one, []], calibration)
    assert list(later.values()) == [None] * 3
    for name in said:
        figures["systems"][name] |= later
    assert render(figures).row_count == 15


def test_answers_with_and_without_the_adapter_and_the_passage(store: Path) -> None:
    with opened_twice(str(store), passages_read()) as (adapted, bare):
        (with_adapter,), (alone,) = read(adapted, [QUESTION]), read(bare, [QUESTION])
        (hidden,) = read(adapted, [QUESTION], {"q": [f"passage {BRIDGE}"]})
    assert max(with_adapter, key=lambda span: span.score).exact
    assert max(alone, key=lambda span: span.score).exact
    assert all(span.relevance is not None for span in with_adapter)
    assert all(span.relevance is None for span in alone)
    for found in (with_adapter, alone):
        (best,) = best_of_passages([found])
        assert {span.rank for span in found} == {span.rank for span in best} == {1, 2, 3}
        assert len(best) == 3
        assert max(span.score for span in found) == max(span.score for span in best)
    assert not any(span.exact for span in hidden)
