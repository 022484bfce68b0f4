"""
What the answers of ``qa.yaml`` are worth, end to end, and how far their confidence can be trusted.

``fit`` calibrates a reader on dev questions; ``evaluate`` asks test questions of the whole corpus with the adapter and
without it, and half of them again with the right passage taken away, where the right answer is none. It reads more
passages than ``qa.yaml`` does, to see what reading fewer or more of them is worth.

``python -m rrra_training.answering --help``
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from rrra_haystack.files import atomic_write, write_json
from rrra_haystack.pretrained import bundled
from rrra_haystack.reader.answers import ANSWERS_FILE, AnswerCalibration
from rrra_haystack.reader.loading import DEFAULT_READER
from rrra_training.answering.calibrating import Read, fit
from rrra_training.answering.figures import ADAPTED, BARE, COMPARED_PASSAGES, Said, by_passages, later_answers, report
from rrra_training.answering.showing import draw, render, render_passages
from rrra_training.answering.spans import best_of_passages, first, opened_twice, passages_read, read
from rrra_training.data import BeirDataset, Query
from rrra_training.runs.commands import run_command
from rrra_training.runs.places import JsonFile, drawable, fillable

app = typer.Typer(help="Calibrate and measure the answers of qa.yaml.", no_args_is_help=True, add_completion=False)
Data = Annotated[Path, typer.Argument(exists=True, file_okay=False, help="SQuAD in the BEIR layout, with answers.")]
Store = Annotated[
    str, typer.Option(help="Folder or URL of a Qdrant with the whole corpus: rrra index DATA/corpus.jsonl.")
]
Limit = Annotated[int, typer.Option(min=1, help="Draw this many questions.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the draw, of intervals and tests.")]
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
    output: Annotated[
        Path, typer.Option(exists=True, file_okay=False, callback=fillable, help="Directory of the reader.")
    ],
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
        found = [
            Read(best_of_passages(read(one, queries)), best_of_passages(read(one, queries[::4], right)))
            for one in pipelines
        ]
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
    json_file: JsonFile = None,
    plot: Annotated[
        Path | None, typer.Option(dir_okay=False, callback=drawable, help="Draw the reliability of the scores here.")
    ] = None,
) -> None:
    """Answer questions from the whole corpus, with the adapter and without it; half of them without passage, too."""
    calibration = AnswerCalibration.load(bundled(reader) or Path(reader))
    if calibration is None:
        msg = f"The reader {reader} is not calibrated. Run: python -m rrra_training.answering fit"
        raise typer.BadParameter(msg)
    queries, right = _asked(data, split, limit, seed)
    own = passages_read()
    with opened_twice(store, max(own, *COMPARED_PASSAGES), reader) as (adapted, bare):
        found = {
            BARE: Read(read(bare, queries), read(bare, queries[::2], right)),
            ADAPTED: Read(read(adapted, queries), read(adapted, queries[::2], right)),
        }
    said = {name: Said.of(first(one.there, own), calibration) for name, one in found.items()}
    removed = {name: Said.of(first(one.gone, own), calibration) for name, one in found.items()}
    figures = report(said, removed, seed)
    for name, one in found.items():
        figures["systems"][name] |= later_answers(first(one.there, own), calibration)
    figures["passages read"] = by_passages({name: one.there for name, one in found.items()}, calibration)
    Console().print(render(figures), render_passages(figures["passages read"]))
    if json_file:
        write_json(json_file, figures)
    if plot:
        draw(said, removed, plot)


if __name__ == "__main__":
    run_command(app)
