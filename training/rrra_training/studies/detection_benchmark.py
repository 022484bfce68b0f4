"""
How well false negatives are found whose truth is known.

Of each query with several positives one is kept, the others are hidden among the candidates that the encoder mines, and
every method says how probable it is that a candidate is one of them.

``python -m rrra_training.studies.detection_benchmark DATA/cranfield:test --model rrra-minilm-l6 --output DIR``
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from sentence_transformers import CrossEncoder

from rrra_haystack.files import atomic_file, working_folder, write_json
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.model.weights import cast_weights, native_dtype
from rrra_haystack.pretrained import DEFAULT_MODEL
from rrra_training.data.beir import collections_of, split_of
from rrra_training.judging.fitting_detection import fit_detection
from rrra_training.runs.commands import run_command
from rrra_training.runs.places import fillable
from rrra_training.studies.detection_candidates import JudgedCandidates, judge_split
from rrra_training.studies.detection_figures import figures_of
from rrra_training.studies.detection_methods import Method, check_folds, cross_encoded, methods_for
from rrra_training.studies.detection_table import draw_reliability, render

app = typer.Typer(add_completion=False)


@app.command()
def main(
    data: Annotated[list[str], typer.Argument(help="Folders in the BEIR layout, as FOLDER:SPLIT; measured together.")],
    output: Annotated[Path, typer.Option(file_okay=False, callback=fillable, help="Where the figures go.")],
    model: Annotated[str, typer.Option(help="The model.")] = DEFAULT_MODEL,
    fit: Annotated[
        list[str] | None,
        typer.Option(help="Fit detection on the hidden positives of these, as FOLDER:SPLIT; the model's own if not."),
    ] = None,
    cross_encoder: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Directory of a cross-encoder to compare with.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Hide positives of so many queries of a split.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of what is hidden, and of the intervals.")] = 0,
    cache: Annotated[Path | None, typer.Option(file_okay=False, help="Where encoded corpora are kept.")] = None,
) -> None:
    """Measure how well each method finds hidden positives."""
    collections_of([*data, *(fit or ())], "train")
    loaded = RRRAModel.load(model)
    with working_folder(cache) as kept:
        splits = [judge_split(loaded, one, kept, seed=seed, limit=limit) for one in data]
        judged = JudgedCandidates.of(splits)
        check_folds(judged, ", ".join(data))
        others = [judge_split(loaded, one, kept, seed=seed, limit=limit) for one in fit or ()]
        detection = loaded.config.detection
        if others:
            detection = fit_detection([(one.features, one.hidden.truth) for one in others])
        methods = methods_for(judged, detection)
        if cross_encoder is not None:
            other = CrossEncoder(str(cross_encoder))
            cast_weights(other, native_dtype(other.device))
            said = np.concatenate([cross_encoded(other, one.hidden) for one in splits])
            methods["cross-encoder"] = Method.of_probability(said)
    report = {
        "data": [_without_folder(one) for one in data],
        "model": model,
        "fit": [_without_folder(one) for one in fit or ()],
        "queries": sum(len(one.hidden) for one in splits),
        "candidates": len(judged.truth),
        "hidden": int(judged.truth.sum()),
        "seed": seed,
        **figures_of(methods, judged, seed=seed),
        "detection": detection.model_dump(mode="json"),
    }
    write_json(output / "detection.json", report)
    with atomic_file(output / "reliability.png") as work:
        draw_reliability(methods, judged.truth, work)
    Console(width=170).print(render(report))


def _without_folder(data: str) -> str:
    folder, split = split_of(data, "train")
    return f"{folder.resolve().name}:{split}"


if __name__ == "__main__":
    run_command(app)
