"""
How many false negatives a language model finds among mined negatives, beside what ``rrra mine`` finds.

Of each candidate it is asked whether it answers the query as the labelled passage does; RLHN (arXiv 2505.16967) asks
of all candidates at once. Positives are hidden as in :mod:`~rrra_training.studies.mining`. The model stands behind any
OpenAI-compatible API that tells log-probabilities; its key is ``OPENAI_API_KEY``.

``python -m rrra_training.studies.mining_judge DATA/fairytaleqa:dev --output judged.json --judge MODEL``
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from openai import OpenAI
from rich.console import Console
from sklearn.metrics import roc_auc_score
from tqdm.auto import tqdm

from rrra_haystack.files import working_folder, write_json
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.pretrained import DEFAULT_MODEL
from rrra_training.adapting.writing import MENU
from rrra_training.data.beir import named_collections
from rrra_training.mining.mine import MinedNegatives, mine_negatives
from rrra_training.mining.settings import NegativesConfig
from rrra_training.runs.commands import run_command
from rrra_training.runs.places import FiguresFile
from rrra_training.studies.hiding import hidden_rows, hide_all
from rrra_training.studies.mining import measured, table

# Characters of a passage that are shown.
_SHOWN = 800
_SECONDS = 600.0
_TASK = "You judge whether a passage answers a question. You answer with one word: Yes or No."
_MOST_FALSE = 0.1

app = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class Judge:
    """
    A language model that says of a passage whether it answers a question.

    :param model: Its name.
    :param client: The API.
    """

    model: str
    client: OpenAI

    def log_odds(self, query: str, positive: str, passage: str) -> float:
        """
        How much likelier *Yes* is than *No*: the difference of their log-probabilities.

        :param query: The question.
        :param positive: The labelled passage.
        :param passage: What is judged.
        """
        # A small model follows what it is shown. What is judged stands last: servers remember what stood before it.
        turns = [("system", _TASK)]
        for shown, answer in ((positive, "Yes"), (MENU, "No"), (passage, None)):
            turns.append(("user", f"Passage:\n{shown[:_SHOWN]}\n\nDoes it answer: {query}"))
            turns += [] if answer is None else [("assistant", answer)]
        messages: Any = [{"role": role, "content": content} for role, content in turns]
        reply = self.client.chat.completions.create(
            model=self.model, messages=messages, max_tokens=1, temperature=0, logprobs=True, top_logprobs=20
        )
        told = reply.choices[0].logprobs
        if told is None or not told.content or not told.content[0].top_logprobs:
            msg = f"{self.model} tells no log-probabilities. A server may have an option for it, as --logits_all true."
            raise ValueError(msg)
        likeliest = told.content[0].top_logprobs
        # What is not among the likeliest is at most as likely as the last of them.
        least = min(one.logprob for one in likeliest)
        said = {"yes": [least], "no": [least]}
        for one in likeliest:
            if (word := one.token.strip().casefold()) in said:
                said[word].append(one.logprob)
        return max(said["yes"]) - max(said["no"])


@app.command()
def main(
    data: Annotated[list[str], typer.Argument(help="Folders in the BEIR layout, as FOLDER:SPLIT.")],
    output: FiguresFile,
    judge: Annotated[str, typer.Option(help="The language model.")],
    api_base_url: Annotated[str | None, typer.Option(help="Where its API is; that of OpenAI if not given.")] = None,
    model: Annotated[str, typer.Option(help="What mines.")] = DEFAULT_MODEL,
    negatives: Annotated[int, typer.Option(min=1, help="Negatives of a query.")] = 7,
    candidates: Annotated[int, typer.Option(min=1, help="How many of the nearest are judged.")] = 14,
    limit: Annotated[int | None, typer.Option(min=1, help="Hide positives of so many queries of a split.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of what is hidden and drawn.")] = 0,
    cache: Annotated[Path | None, typer.Option(file_okay=False, help="Where encoded corpora are kept.")] = None,
) -> None:
    """Hide labelled positives, ask a language model which candidates are relevant, and count what it overlooks."""
    chosen = named_collections(data, "train")
    loaded = RRRAModel.load(model)
    asked = Judge(judge, OpenAI(base_url=api_base_url, timeout=_SECONDS))
    config = NegativesConfig(negatives=negatives, seed=seed, max_false_negative=_MOST_FALSE)
    console, report = Console(), {}
    with working_folder(None) as scratch, working_folder(cache) as kept:
        for name, (folder, split, hidden) in hide_all(chosen, scratch, limit, seed).items():
            mined = mine_negatives(folder, split, config, model=loaded, cache=kept, show_progress=True)
            report[name] = figures = _figures(asked, mined, hidden, config, candidates)
            # A set takes its time: what is known of it is kept.
            content = {"model": model, "judge": judge, "seed": seed, "sets": report}
            write_json(output, content)
            console.print(table(name, figures))
            console.print(_pairs(figures))


def _pairs(figures: Mapping[str, Any]) -> str:
    judge, detection, time_each = (figures[one] for one in ("judge's pairs", "detection's pairs", "milliseconds"))
    return (
        f"Pairs of a hidden positive and another candidate that are in order: {judge:.3f} by the language model, "
        f"{detection:.3f} by rrra mine. {time_each:.0f} ms a candidate."
    )


def _figures(
    judge: Judge, mined: MinedNegatives, hidden: Mapping[str, set[str]], config: NegativesConfig, candidates: int
) -> dict[str, Any]:
    data = mined.data
    truth, found = hidden_rows(data, hidden)
    nearest = {query: _nearest(mined, query, candidates) for query in truth}
    begin = time.perf_counter()
    odds = {
        query: np.asarray([_judged(judge, mined, query, int(data.mined.rows[query][place])) for place in places])
        for query, places in tqdm(nearest.items(), desc="Judging", unit="query")
    }
    judged = sum(map(len, nearest.values()))
    seconds = time.perf_counter() - begin
    by_detection = {query: mined.probability[query][places] for query, places in nearest.items()}
    rows = {query: np.asarray(data.mined.rows[query])[places] for query, places in nearest.items()}
    is_hidden = np.concatenate([np.isin(own, list(truth[query])) for query, own in rows.items()])
    every, least = np.concatenate(list(odds.values())), np.concatenate(list(by_detection.values()))
    # The odds at which as many candidates are left out as by detection.
    level = float(np.quantile(every, 1 - float((least > _MOST_FALSE).mean())))
    cuts = {
        "the nearest": (odds, np.inf),
        "rrra mine, at most 0.1": (by_detection, _MOST_FALSE),
        "language model, likelier no": (odds, 0.0),
        "language model, as many left out as by rrra mine": (odds, level),
    }
    methods = {
        name: {query: rows[query][own[query] <= most][: config.negatives].tolist() for query in rows}
        for name, (own, most) in cuts.items()
    }
    return {
        "queries": len(truth),
        "hidden among the candidates": found,
        "judged": judged,
        "milliseconds": 1000 * seconds / judged,
        "judge's pairs": float(roc_auc_score(is_hidden, every)),
        "detection's pairs": float(roc_auc_score(is_hidden, least)),
        "methods": {name: measured(data, own, truth, config) for name, own in methods.items()},
    }


def _nearest(mined: MinedNegatives, query: int, count: int) -> np.ndarray:
    """Places of the nearest candidates that are not labelled."""
    rows = np.asarray(mined.data.mined.rows[query])
    return np.flatnonzero((rows >= 0) & ~np.isin(rows, mined.data.positives.of(query)))[:count]


def _judged(judge: Judge, mined: MinedNegatives, query: int, row: int) -> float:
    data = mined.data
    positive = int(data.positives.of(query)[0])
    return judge.log_odds(data.queries.text(query), data.passages.text(positive), data.passages.text(row))


if __name__ == "__main__":
    run_command(app)
