"""
What the answers of ``qa.yaml`` are worth, end to end, and how far their confidence can be trusted.

``fit`` calibrates a reader on dev questions; ``evaluate`` asks test questions of the whole corpus with the adapter and
without it, and half of them again with the right passage taken away, where the right answer is none. It reads more
passages than ``qa.yaml`` does, to see what reading fewer or more of them is worth.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from haystack import Pipeline
from haystack_integrations.document_stores.qdrant.converters import convert_id
from matplotlib.figure import Figure
from qdrant_client import models
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from tqdm.auto import tqdm

from rrra_haystack.documents.metadata import SCORES_KEY
from rrra_haystack.files import atomic_file, atomic_write
from rrra_haystack.pipeline_files import question_inputs, read_pipeline, share_stores
from rrra_haystack.pretrained import bundled
from rrra_haystack.reader.answers import ANSWERS_FILE, AnswerCalibration, AnswerRegression, logit
from rrra_haystack.reader.loading import DEFAULT_READER
from rrra_training.data import BeirDataset, Query
from rrra_training.judging.fitting import expected_calibration_error
from rrra_training.measures.ranking import paired_interval, randomisation_test
from rrra_training.reading import exact_match, f1

# An answer is right if it shares this much with a right one.
_RIGHT_F1 = 0.5
_SPANS = 100
# How many passages are read, in the comparison of these numbers.
_READ = (1, 3, 5, 10)


@dataclass(frozen=True)
class Span:
    """
    The best span of a passage.

    :param text: What it says.
    :param score: Sum of the reader's logits.
    :param relevance: The passage's relevance probability; `None` without the adapter.
    :param f1: How far it is right, 0 to 1.
    :param exact: Whether it is right to the letter.
    :param rank: The passage's place among those that were read, from 1.
    """

    text: str
    score: float
    relevance: float | None
    f1: float
    exact: bool
    rank: int


# The spans of each passage that was read, one list a question.
Spans = list[list[Span]]


def passages_read() -> int:
    """How many passages the reader of ``qa.yaml`` reads."""
    return read_pipeline(None, "qa.yaml", None)["components"]["ranker"]["init_parameters"]["top_k"]


@contextmanager
def opened_twice(store: str, passages: int, reader: str = DEFAULT_READER) -> Iterator[tuple[Pipeline, Pipeline]]:
    """
    ``qa.yaml`` with the adapter and without it, over one store.

    :param store: Folder or URL of a filled Qdrant.
    :param passages: How many passages the reader reads in both.
    :param reader: What `RRRAReader` takes.
    """
    data = read_pipeline(None, "qa.yaml", store)
    bare = read_pipeline(None, "qa.yaml", store)
    for one in (data, bare):
        one["components"]["reader"]["init_parameters"]["model"] = reader
    data["components"]["ranker"]["init_parameters"]["top_k"] = passages
    del bare["components"]["ranker"]
    bare["components"]["retriever"]["init_parameters"]["top_k"] = passages
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
        in_order = sorted(best.values(), key=lambda answer: -answer.document.score)
        spans.append([_span(answer, query, rank) for rank, answer in enumerate(in_order, start=1)])
    return spans


def first(spans: Spans, passages: int) -> Spans:
    """
    What would have been read if fewer passages were.

    :param spans: One list a question.
    :param passages: How many passages.
    """
    return [[span for span in own if span.rank <= passages] for own in spans]


def _span(answer: Any, query: Query, rank: int) -> Span:
    told = answer.meta[SCORES_KEY]
    return Span(
        text=answer.data,
        score=told["span_score"],
        relevance=told.get("relevance_probability"),
        f1=max(f1(answer.data, right) for right in query.answers),
        exact=any(exact_match(answer.data, right) for right in query.answers),
        rank=rank,
    )


@dataclass(frozen=True)
class Read:
    """
    What was read for some questions: as they are, and for some of them with the right passages taken away.

    :param there: One list a question.
    :param gone: One list a question that was asked again.
    """

    there: Spans
    gone: Spans


def fit(with_adapter: Read, alone: Read, none_share: float) -> AnswerCalibration:
    """
    Fit the calibration: first which span of a question is right, then how probably the best one is, and any is.

    :param with_adapter: What the reader said of reranked passages.
    :param alone: What it said of passages that were not.
    :param none_share: Share of questions that are taken to have no answer in the corpus.
    """
    right, none = _regressions(with_adapter, none_share)
    right_alone, none_alone = _regressions(alone, none_share)
    return AnswerCalibration(right=right, none=none, right_alone=right_alone, none_alone=none_alone)


def _regressions(found: Read, none_share: float) -> tuple[AnswerRegression, AnswerRegression]:
    """Whether an answer is right where there is one, and whether there is none."""
    there = [(np.array([_features(one) for one in own]), own) for own in found.there if own]
    every = np.concatenate([rows for rows, _ in there])
    right = np.array([one.f1 >= _RIGHT_F1 for _, own in there for one in own])
    slopes = _logistic(every, right)[1:]
    # So scaled that the best of each question has the probability that it is right.
    best = [int(np.argmax(rows @ slopes)) for rows, _ in there]
    told = np.array([rows[i] for (rows, _), i in zip(there, best, strict=True)])
    truth = np.array([own[i].f1 >= _RIGHT_F1 for (_, own), i in zip(there, best, strict=True)])
    bias, scale = _logistic((told @ slopes)[:, None], truth)
    gone = [np.array([_features(one) for one in own]) for own in found.gone if own]
    lost = np.array([rows[np.argmax(rows @ slopes)] for rows in gone])
    odds = none_share / (1 - none_share) * len(told) / len(lost)
    none = _logistic(
        np.concatenate([told, lost]), np.repeat([False, True], [len(told), len(lost)]),
        weights=np.repeat([1, odds], [len(told), len(lost)]),
    )  # fmt: skip
    return _regression([bias, *(scale * slope for slope in slopes)]), _regression(none)


def _features(span: Span) -> tuple[float, ...]:
    return (span.score,) if span.relevance is None else (span.score, logit(span.relevance))


def _regression(values: Sequence[float]) -> AnswerRegression:
    return AnswerRegression(**dict(zip(("bias", "span", "relevance"), map(float, values), strict=False)))


def _logistic(features: np.ndarray, truth: np.ndarray, weights: np.ndarray | None = None) -> list[float]:
    """Logistic regression, the intercept first."""
    fitted = LogisticRegression(C=1e6, max_iter=3000).fit(features, truth, sample_weight=weights)
    return [float(fitted.intercept_[0]), *map(float, fitted.coef_[0])]


@dataclass(frozen=True)
class Said:
    """
    What was said first to each question: how far it is right, and how sure the pipeline was. Shape ``[n]`` each.

    :param f1: Of the best answer, 0 to 1.
    :param exact: Whether it is right to the letter, 0 or 1.
    :param probability: That it is right.
    :param none: That there is no answer.
    """

    f1: np.ndarray
    exact: np.ndarray
    probability: np.ndarray
    none: np.ndarray

    @classmethod
    def of(cls, spans: Spans, calibration: AnswerCalibration) -> "Said":
        """The most probable span of each question; nothing was said where nothing was read."""
        rows = []
        for own in spans:
            right, none = calibration.probabilities([(one.score, one.relevance) for one in own])
            if not own:
                rows.append((0.0, 0.0, 0.0, none))
                continue
            best = int(np.argmax(right))
            rows.append((own[best].f1, float(own[best].exact), right[best], none))
        return cls(*np.array(rows).T)

    @property
    def right(self) -> np.ndarray:
        """Whether each answer is right, 0 or 1."""
        return (self.f1 >= _RIGHT_F1).astype(float)

    @property
    def refused(self) -> np.ndarray:
        """Whether no answer is more probable than the best one."""
        return self.none > self.probability


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
            "EM with no answers": float((one.exact * ~one.refused).mean()),
            "no answer": float(one.refused.mean()),
            "right among those answered": _share(one.right, ~one.refused),
            "right among those refused": _share(one.right, one.refused),
            "no answer, passage removed": float(bare.refused.mean()),
            "AUROC of there being an answer": float(
                roc_auc_score(np.repeat([0, 1], [queries, gone]), np.concatenate([one.none, bare.none]))
            ),
        }
    for name, ours_of, base_of in (("EM", ours.exact, base.exact), ("F1", ours.f1, base.f1)):
        figures[f"{name} gain"] = {
            "mean": float((ours_of - base_of).mean()),
            "interval": paired_interval(ours_of, base_of, seed=seed),
            "p": randomisation_test(ours_of, base_of, seed=seed),
        }
    return figures


def by_passages(found: dict[str, Spans], calibration: AnswerCalibration) -> dict[str, dict[str, dict[str, float]]]:
    """
    EM and F1 by how many passages are read.

    :param found: What each system read, by its name.
    :param calibration: Chooses among the spans.
    :returns: Number of passages -> system -> ``EM`` and ``F1``, 0 to 1.
    """
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for passages in _READ:
        said = {name: Said.of(first(spans, passages), calibration) for name, spans in found.items()}
        figures[str(passages)] = {
            name: {"EM": float(one.exact.mean()), "F1": float(one.f1.mean())} for name, one in said.items()
        }
    return figures


def _share(values: np.ndarray, where: np.ndarray) -> float | None:
    return float(values[where].mean()) if where.any() else None


def draw(said: dict[str, Said], removed: dict[str, Said], path: Path) -> None:
    """Share of right answers against the probability that was said, in bins of equally many questions."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, title, with_removed in zip(
        panels, ("Questions as they are", "A third without their passage"), (False, True), strict=True
    ):
        axes.plot([0, 1], [0, 1], color="grey", linewidth=1, label="calibrated")
        for name, one in said.items():
            asked = [one, removed[name]] if with_removed else [one]
            probability = np.concatenate([own.probability for own in asked])
            right = np.concatenate([own.right for own in asked])
            bins = [own for own in np.array_split(np.argsort(probability), 12) if len(own)]
            axes.plot(
                [probability[own].mean() for own in bins], [right[own].mean() for own in bins],
                marker="o", markersize=4, label=name,
            )  # fmt: skip
        axes.set(xlabel="score of the answer", title=title)
    panels[0].set_ylabel("share of right answers")
    panels[0].legend(fontsize="small")
    with atomic_file(path) as work:
        figure.savefig(work, dpi=120)


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


def render_passages(figures: dict[str, dict[str, dict[str, float]]]) -> Table:
    """What :func:`by_passages` returns as a table, in percent."""
    table = Table(title="By passages read")
    table.add_column("passages", justify="right")
    systems = next(iter(figures.values()))
    for name in systems:
        for measure in ("EM", "F1"):
            table.add_column(f"{measure}, {name}", justify="right")
    for passages, own in figures.items():
        table.add_row(passages, *(f"{100 * value:.1f}" for name in systems for value in own[name].values()))
    return table


app = typer.Typer(help="Calibrate and measure the answers of qa.yaml.", no_args_is_help=True, add_completion=False)

Data = Annotated[Path, typer.Argument(exists=True, file_okay=False, help="SQuAD in the BEIR layout, with answers.")]
Store = Annotated[
    str, typer.Option(help="Folder or URL of a Qdrant with the whole corpus: rrra index DATA/corpus.jsonl.")
]
Limit = Annotated[int, typer.Option(min=1, help="Draw this many questions.")]
Seed = Annotated[int, typer.Option(help="Seed of the draw, of intervals and tests.")]
Reader = Annotated[str, typer.Option(help="A bundled name, or the directory of a reader.")]


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
    reader: Reader = DEFAULT_READER,
    split: Annotated[str, typer.Option(help="Which questions.")] = "dev",
    limit: Limit = 1000,
    seed: Seed = 0,
    none_share: Annotated[
        float, typer.Option(min=0.01, max=0.99, help="Share of questions taken to have no answer in the corpus.")
    ] = 0.1,
) -> None:
    """Calibrate answers on questions of which one in four is asked once more, without its right passage."""
    queries, right = _asked(data, split, limit, seed)
    with opened_twice(store, passages_read(), reader) as pipelines:
        found = [Read(read(one, queries), read(one, queries[::4], right)) for one in pipelines]
    calibration = fit(found[0], found[1], none_share)
    atomic_write(output / ANSWERS_FILE, calibration.model_dump_json(indent=2) + "\n")
    Console().print(calibration)


@app.command("evaluate")
def evaluate_command(
    data: Data,
    store: Store,
    reader: Reader = DEFAULT_READER,
    split: Annotated[str, typer.Option(help="Which questions.")] = "test",
    limit: Limit = 1000,
    seed: Seed = 0,
    json_file: Annotated[Path | None, typer.Option("--json", dir_okay=False, help="Write the figures here.")] = None,
    plot: Annotated[Path | None, typer.Option(dir_okay=False, help="Draw the reliability of the scores here.")] = None,
) -> None:
    """Answer questions from the whole corpus, with the adapter and without it; half of them without passage, too."""
    calibration = AnswerCalibration.load(bundled(reader) or Path(reader))
    if calibration is None:
        msg = f"The reader {reader} is not calibrated. Run: python -m rrra_training.answering fit"
        raise typer.BadParameter(msg)
    queries, right = _asked(data, split, limit, seed)
    own = passages_read()
    with opened_twice(store, max(own, *_READ), reader) as (adapted, bare):
        found = {
            "encoder alone": Read(read(bare, queries), read(bare, queries[::2], right)),
            "with the adapter": Read(read(adapted, queries), read(adapted, queries[::2], right)),
        }
    said = {name: Said.of(first(one.there, own), calibration) for name, one in found.items()}
    removed = {name: Said.of(first(one.gone, own), calibration) for name, one in found.items()}
    figures = report(said, removed, seed)
    figures["passages read"] = by_passages({name: one.there for name, one in found.items()}, calibration)
    Console().print(render(figures), render_passages(figures["passages read"]))
    if json_file:
        atomic_write(json_file, json.dumps(figures, indent=2) + "\n")
    if plot:
        draw(said, removed, plot)


if __name__ == "__main__":
    app()
