"""
What the answers of ``qa.yaml`` are worth, end to end, and how far their confidence can be trusted.

``fit`` calibrates a reader on dev questions; ``evaluate`` asks test questions of the whole corpus with the adapter and
without it, and half of them again with the right passage taken away, where the right answer is none.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import matplotlib.pyplot as plt
import numpy as np
import typer
from haystack import Pipeline
from haystack_integrations.document_stores.qdrant.converters import convert_id
from qdrant_client import models
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from tqdm.auto import tqdm

from rrra_haystack.answers import ANSWERS_FILE, AnswerCalibration, logit
from rrra_haystack.cli.pipelines import question_inputs, read_pipeline, share_stores
from rrra_haystack.documents import SCORES_KEY
from rrra_haystack.files import atomic_write
from rrra_haystack.pretrained import bundled
from rrra_haystack.reader import DEFAULT_READER
from rrra_training.data import BeirDataset, Query
from rrra_training.fitting import expected_calibration_error
from rrra_training.metrics import paired_interval, randomisation_test
from rrra_training.reading import exact_match, f1

# An answer is right if it shares this much with a right one.
_RIGHT_F1 = 0.5
# An answer that is less probable than none is not given.
_SURE = 0.5
_SPANS = 100


@dataclass(frozen=True)
class Span:
    """
    The best span of a passage.

    :param text: What it says.
    :param score: Sum of the reader's logits.
    :param relevance: The passage's relevance probability; `None` without the adapter.
    :param f1: How far it is right, 0 to 1.
    :param exact: Whether it is right to the letter.
    """

    text: str
    score: float
    relevance: float | None
    f1: float
    exact: bool

    def probability(self, calibration: AnswerCalibration) -> float:
        """How probably it is right."""
        return calibration.probability(self.score, self.relevance)


# The spans of each passage that was read, one list a question.
Spans = list[list[Span]]


@contextmanager
def opened_twice(store: str) -> Iterator[tuple[Pipeline, Pipeline]]:
    """``qa.yaml`` with the adapter and without it, over one store; the reader reads as many passages in both."""
    data = read_pipeline(None, "qa.yaml", store)
    bare = read_pipeline(None, "qa.yaml", store)
    ranker = bare["components"].pop("ranker")
    bare["components"]["retriever"]["init_parameters"]["top_k"] = ranker["init_parameters"]["top_k"]
    bare["connections"] = [one for one in bare["connections"] if not one["receiver"].startswith("ranker.")]
    for one in bare["connections"]:
        one["sender"] = one["sender"].replace("ranker.", "retriever.")
    pipelines = Pipeline.from_dict(data), Pipeline.from_dict(bare)
    share_stores(pipelines)
    try:
        yield pipelines
    finally:
        for pipeline in pipelines:
            pipeline.close()


def read(pipeline: Pipeline, queries: Sequence[Query], without: dict[str, list[str]] | None = None) -> Spans:
    """
    Let a pipeline answer questions.

    :param pipeline: ``qa.yaml`` or a pipeline of its kind.
    :param queries: Questions with answers.
    :param without: Ids of passages that are hidden from a question, by the question's id.
    :returns: The best span of each passage that was read, one list a question.
    """
    spans = []
    for query in tqdm(queries, desc="Answering", unit="question"):
        inputs = question_inputs(pipeline, query.text)
        inputs["reader"] |= {"top_k": _SPANS, "no_answer": False}
        if without:
            hidden = models.HasIdCondition(has_id=[convert_id(one) for one in without[query.id]])
            inputs["retriever"] = {"filters": models.Filter(must_not=[hidden])}
        best: dict[str, Any] = {}
        for answer in pipeline.run(inputs)["reader"]["answers"]:
            told = answer.meta[SCORES_KEY]["span_score"]
            if answer.document.id not in best or told > best[answer.document.id].meta[SCORES_KEY]["span_score"]:
                best[answer.document.id] = answer
        spans.append([_span(answer, query) for answer in best.values()])
    return spans


def _span(answer: Any, query: Query) -> Span:
    told = answer.meta[SCORES_KEY]
    return Span(
        text=answer.data,
        score=told["span_score"],
        relevance=told.get("relevance_probability"),
        f1=max(f1(answer.data, right) for right in query.answers),
        exact=any(exact_match(answer.data, right) for right in query.answers),
    )


def fit(with_adapter: Spans, alone: Spans) -> AnswerCalibration:
    """
    Fit the calibration: first which span of a question is right, then how probably the best one is.

    :param with_adapter: What the reader said of reranked passages.
    :param alone: What it said of passages that were not.
    """
    bias, span, relevance = _regression([[_features(one) for one in spans] for spans in with_adapter], with_adapter)
    bias_alone, span_alone = _regression([[(one.score,) for one in spans] for spans in alone], alone)
    return AnswerCalibration(bias=bias, span=span, relevance=relevance, bias_alone=bias_alone, span_alone=span_alone)


def _features(span: Span) -> tuple[float, ...]:
    assert span.relevance is not None
    return span.score, logit(span.relevance)


def _regression(features: list[list[tuple[float, ...]]], spans: Spans) -> list[float]:
    """Intercept and slopes, so scaled that the best of each question has the probability that it is right."""
    every = np.array([row for rows in features for row in rows])
    right = np.array([one.f1 >= _RIGHT_F1 for own in spans for one in own])
    intercept, *slopes = _logistic(every, right)
    best = [int(np.argmax(np.array(rows) @ slopes)) for rows in features if rows]
    told = np.array([np.array(rows)[i] @ slopes for rows, i in zip(filter(None, features), best, strict=True)])
    truth = np.array([own[i].f1 >= _RIGHT_F1 for own, i in zip(filter(None, spans), best, strict=True)])
    intercept, scale = _logistic(told[:, None], truth)
    return [intercept, *(float(scale * slope) for slope in slopes)]


def _logistic(features: np.ndarray, truth: np.ndarray) -> list[float]:
    """Logistic regression, the intercept first."""
    fitted = LogisticRegression(C=1e6, max_iter=3000).fit(features, truth)
    return [float(fitted.intercept_[0]), *map(float, fitted.coef_[0])]


@dataclass(frozen=True)
class Said:
    """What was said first to each question: how far it is right, and how sure the pipeline was. Shape ``[n]`` each."""

    f1: np.ndarray
    exact: np.ndarray
    probability: np.ndarray

    @classmethod
    def of(cls, spans: Spans, calibration: AnswerCalibration) -> "Said":
        """The most probable span of each question; nothing was said where nothing was read."""
        best = [max(own, key=lambda one: one.probability(calibration), default=None) for own in spans]
        return cls(
            f1=np.array([one.f1 if one else 0.0 for one in best]),
            exact=np.array([float(one.exact) if one else 0.0 for one in best]),
            probability=np.array([one.probability(calibration) if one else 0.0 for one in best]),
        )

    @property
    def right(self) -> np.ndarray:
        """Whether each answer is right, 0 or 1."""
        return (self.f1 >= _RIGHT_F1).astype(float)


def report(said: dict[str, Said], removed: dict[str, Said], seed: int) -> dict[str, Any]:
    """
    Figures of both systems.

    :param said: Answers of ``encoder alone`` and ``with the adapter``.
    :param removed: Their answers where the right passage was taken away.
    :param seed: Seed of intervals and tests.
    """
    base, ours = said["encoder alone"], said["with the adapter"]
    queries, gone = len(ours.f1), len(next(iter(removed.values())).f1)
    figures: dict[str, Any] = {"queries": queries, "passage removed": gone, "seed": seed, "systems": {}}
    for name, one in said.items():
        bare = removed[name]
        mixed = np.concatenate([one.probability, bare.probability]), np.concatenate([one.right, bare.right])
        figures["systems"][name] = {
            "EM": float(one.exact.mean()),
            "F1": float(one.f1.mean()),
            "ECE": expected_calibration_error(one.probability, one.right),
            "ECE with removed passages": expected_calibration_error(*mixed),
            "no answer": float((one.probability < _SURE).mean()),
            "right among those answered": _share(one.right, one.probability >= _SURE),
            "no answer, passage removed": float((bare.probability < _SURE).mean()),
            "AUROC of there being an answer": float(roc_auc_score(np.repeat([1, 0], [queries, gone]), mixed[0])),
        }
    for name, ours_of, base_of in (("EM", ours.exact, base.exact), ("F1", ours.f1, base.f1)):
        figures[f"{name} gain"] = {
            "mean": float((ours_of - base_of).mean()),
            "interval": paired_interval(ours_of, base_of, seed=seed),
            "p": randomisation_test(ours_of, base_of, seed=seed),
        }
    return figures


def _share(values: np.ndarray, where: np.ndarray) -> float | None:
    return float(values[where].mean()) if where.any() else None


def draw(said: dict[str, Said], removed: dict[str, Said], path: Path) -> None:
    """Share of right answers against the probability that was said, in bins of equally many questions."""
    figure, axes = plt.subplots(figsize=(6, 5), layout="constrained")
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1, label="calibrated")
    for name, one in said.items():
        probability = np.concatenate([one.probability, removed[name].probability])
        right = np.concatenate([one.right, removed[name].right])
        bins = [own for own in np.array_split(np.argsort(probability), 12) if len(own)]
        axes.plot(
            [probability[own].mean() for own in bins], [right[own].mean() for own in bins],
            marker="o", markersize=4, label=name,
        )  # fmt: skip
    axes.set(
        xlabel="score of the answer", ylabel="share of right answers", title="Answers, a third without their passage"
    )
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def render(figures: dict[str, Any]) -> Table:
    """The figures as a table, in percent."""
    table = Table(title=f"{figures['queries']} questions, seed {figures['seed']}")
    names = list(next(iter(figures["systems"].values())))
    table.add_column("")
    for name in figures["systems"]:
        table.add_column(name, justify="right")
    for name in names:
        values = [figures["systems"][system][name] for system in figures["systems"]]
        table.add_row(name, *("" if value is None else f"{100 * value:.1f}" for value in values))
    for name in ("EM gain", "F1 gain"):
        gain = figures[name]
        low, high = (100 * bound for bound in gain["interval"])
        table.add_row(name, "", f"{100 * gain['mean']:+.1f} ({low:+.1f} to {high:+.1f}), p {gain['p']:.4f}")
    return table


app = typer.Typer(help="Calibrate and measure the answers of qa.yaml.", no_args_is_help=True, add_completion=False)

Data = Annotated[Path, typer.Argument(exists=True, file_okay=False, help="SQuAD in the BEIR layout, with answers.")]
Store = Annotated[
    str, typer.Option(help="Folder or URL of a Qdrant with the whole corpus: rrra index DATA/corpus.jsonl.")
]
Limit = Annotated[int, typer.Option(min=1, help="Draw this many questions.")]
Seed = Annotated[int, typer.Option(help="Seed of the draw, of intervals and tests.")]


def _asked(data: Path, split: str, limit: int, seed: int) -> tuple[list[Query], dict[str, list[str]]]:
    dataset = BeirDataset(data)
    queries = [query for query in dataset.queries(split, limit=limit, seed=seed) if query.answers]
    qrels = dataset.qrels(split)
    return queries, {query.id: list(qrels[query.id]) for query in queries}


@app.command("fit")
def fit_command(
    data: Data,
    store: Store,
    output: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Directory of the reader.")],
    split: Annotated[str, typer.Option(help="Which questions.")] = "dev",
    limit: Limit = 1000,
    seed: Seed = 0,
) -> None:
    """Calibrate answers on questions of which one in four is asked once more, without its right passage."""
    queries, right = _asked(data, split, limit, seed)
    gone = queries[::4]
    with opened_twice(store) as (adapted, bare):
        calibration = fit(
            read(adapted, queries) + read(adapted, gone, right), read(bare, queries) + read(bare, gone, right)
        )
    atomic_write(output / ANSWERS_FILE, calibration.model_dump_json(indent=2) + "\n")
    Console().print(calibration)


@app.command("evaluate")
def evaluate_command(
    data: Data,
    store: Store,
    split: Annotated[str, typer.Option(help="Which questions.")] = "test",
    limit: Limit = 1000,
    seed: Seed = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the reliability of the scores here.")] = None,
) -> None:
    """Answer questions from the whole corpus, with the adapter and without it; half of them without passage, too."""
    directory = bundled(DEFAULT_READER)
    calibration = AnswerCalibration.load(directory) if directory else None
    if calibration is None:
        msg = "The bundled reader is not calibrated. Run: python -m rrra_training.answering fit"
        raise typer.BadParameter(msg)
    queries, right = _asked(data, split, limit, seed)
    with opened_twice(store) as (adapted, bare):
        systems = {"encoder alone": bare, "with the adapter": adapted}
        said = {name: Said.of(read(pipeline, queries), calibration) for name, pipeline in systems.items()}
        gone = queries[::2]
        removed = {name: Said.of(read(pipeline, gone, right), calibration) for name, pipeline in systems.items()}
    figures = report(said, removed, seed)
    Console().print(render(figures))
    if json_file:
        atomic_write(json_file, json.dumps(figures, indent=2) + "\n")
    if plot:
        draw(said, removed, plot)


if __name__ == "__main__":
    app()
