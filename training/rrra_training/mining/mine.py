"""Hard negatives for other trainers: mined by an encoder, judged by the adapter, written in the trainer's format."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rrra_haystack.model.rrra_model import RRRAModel
from rrra_training.candidates.evidence import EvidenceConfig
from rrra_training.candidates.mining import MiningConfig
from rrra_training.candidates.preparing import prepare
from rrra_training.candidates.sets import CandidateSet
from rrra_training.candidates.splits import SplitConfig
from rrra_training.data import BeirData, BeirDataset, ColumnsData, ColumnsDataset, RetrievalData
from rrra_training.data.checks import Corpus, Labelled, examine
from rrra_training.data.rows import known_split
from rrra_training.data.writing import corpus_row
from rrra_training.formats import EVEN, Example, Text, write_beir, write_lines
from rrra_training.mining.drawing import SUSPECTED, Drawn, draw_negatives
from rrra_training.mining.judged import probably_relevant
from rrra_training.mining.settings import NegativesConfig


@dataclass(frozen=True)
class MinedNegatives:
    """
    The queries of a split with their negatives.

    :param source: The data.
    :param split: The split.
    :param data: Its queries and their candidates.
    :param drawn: The negatives and suspects.
    :param probability: How probably each candidate is relevant, shape ``[Q, k]``.
    """

    source: RetrievalData
    split: str
    data: CandidateSet
    drawn: Drawn
    probability: np.ndarray

    def examples(self, *, only_even: bool = False) -> Iterator[Example]:
        """
        The queries one by one, their texts read from disk.

        :param only_even: Leave out queries with fewer negatives than the others.
        """
        data, drawn = self.data, self.drawn
        for query in np.flatnonzero(drawn.is_full).tolist() if only_even else range(len(data)):
            added = np.asarray(data.mined.rows[query])[drawn.added[query]]
            right = data.positives.judged(query) | dict.fromkeys(added.tolist(), 1)
            wrong = dict.fromkeys(drawn.rows[query][drawn.rows[query] >= 0].tolist(), 0)
            yield Example(
                Text(data.queries.ids[query], data.queries.text(query)),
                [self._text(row) for row in right],
                [self._text(row) for row in wrong],
                {data.passages.ids[row]: grade for row, grade in (right | wrong).items()},
                self._details(query),
            )

    def _text(self, row: int) -> Text:
        return Text(self.data.passages.ids[row], self.data.passages.text(int(row)))

    def _details(self, query: int) -> dict[str, object]:
        ids, drawn = self.data.passages.ids, self.drawn
        negatives = [
            {"id": ids[row], "score": round(float(score), 4), "false_negative": _rounded(probability)}
            for row, score, probability in zip(
                drawn.rows[query], drawn.scores[query], drawn.probability[query], strict=True
            )
            if row >= 0
        ]
        places = np.flatnonzero(drawn.suspects[query])
        places = places[np.argsort(-self.probability[query, places], kind="stable")]
        suspects = [
            {
                "id": ids[row],
                "probability": _rounded(self.probability[query, place]),
                "added": bool(drawn.added[query, place]),
                "text": self.data.passages.text(int(row)),
            }
            for place, row in zip(places, np.asarray(self.data.mined.rows[query])[places], strict=True)
        ]
        return {
            "query_id": self.data.queries.ids[query],
            "query": self.data.queries.text(query),
            "positives": [ids[row] for row in self.data.positives.of(query)],
            "negatives": negatives,
            "suspected_positives": suspects,
        }


def mine_negatives(
    data: str | Path,
    split: str,
    config: NegativesConfig,
    *,
    model: str | RRRAModel,
    cache: Path,
    only_even: bool = False,
    show_progress: bool = False,
) -> MinedNegatives:
    """
    Mine hard negatives of all queries of a split, and leave out what is probably relevant.

    :param data: A folder in the BEIR layout, or one file of queries, positives and negatives.
    :param split: Which queries; what to call those of a file.
    :param config: What is mined.
    :param model: A model, or what :meth:`RRRAModel.load` takes; any sentence-transformers encoder, too.
    :param cache: Where the encoded corpus is kept, and what was judged: an interrupted run goes on from there.
    :param only_even: Whether a query with fewer negatives than were asked for is of no use.
    :param show_progress: Show progress and the time left.
    :raises ValueError: If the data cannot be read, or no query has a relevant passage, or fewer than the sampler needs,
        or the corpus has too few passages.
    """
    path = Path(data)
    source: RetrievalData = (
        ColumnsDataset({split: path}, name=path.name.partition(".")[0]) if path.is_file() else BeirDataset(path)
    )
    known_split(str(data), split, source.splits())
    labelled = Labelled.read(source, split, limit=config.limit, seed=config.seed)
    corpus = examine(source, [labelled])
    _check_queries(labelled, corpus, config)
    # A passage at least is relevant.
    if only_even and corpus.passages <= config.negatives:
        raise _too_many(config.negatives, corpus.passages - 1)
    own = (
        ColumnsData(format="columns", splits={split: path}, name=source.name)
        if path.is_file()
        else BeirData(format="beir", path=path)
    )
    loaded = model if isinstance(model, RRRAModel) else RRRAModel.load(model)
    prepared = prepare(
        SplitConfig(data=own, split=split, limit=config.limit, ignore_identical=config.ignore_identical),
        loaded.encoder, cache, mining=MiningConfig(top_k=config.candidates), evidence=EvidenceConfig(),
        seed=config.seed, show_progress=show_progress,
    )  # fmt: skip
    probability = probably_relevant(loaded, prepared, cache, show_progress=show_progress)
    drawn = draw_negatives(prepared, probability, config)
    return MinedNegatives(source, split, prepared, drawn, probability)


def _check_queries(labelled: Labelled, corpus: Corpus, config: NegativesConfig) -> None:
    """See that a sampler which estimates over the queries has as many as it needs."""
    if config.sampler is None:
        return
    least = config.sampler.least_queries
    count = sum(any(one in corpus.known for one in labelled.relevant(query)) for query in labelled.queries)
    if count < least:
        msg = (
            f"The sampler '{config.sampler.name}' estimates from the scores of {least} queries at least, but "
            f"{labelled.name} has {count} with a relevant passage. Take more queries, or another --sampler."
        )
        raise ValueError(msg)


def write_negatives(mined: MinedNegatives, output: Path, format_: str) -> None:
    """
    Write what was mined in the format of a trainer, and what is known of each negative beside it.

    :param mined: What was mined.
    :param output: The file, or the folder of ``beir``.
    :param format_: One of :data:`~rrra_training.formats.FORMATS`.
    :raises ValueError: If no query has as many negatives as every row of the format must have.
    """
    if format_ in EVEN and not mined.drawn.is_full.any():
        raise _too_many(mined.drawn.rows.shape[1], int((mined.drawn.rows >= 0).sum(axis=1).max()))
    examples = mined.examples(only_even=format_ in EVEN)
    if format_ == "beir":
        write_beir(examples, map(corpus_row, mined.source.passages()), output, mined.split)
    else:
        write_lines(examples, output, format_)


def _too_many(asked: int, most: int) -> ValueError:
    return ValueError(
        f"No query has as many negatives as were asked for, {asked}: of this corpus {most} are left at most, and in "
        "this format every row has as many. Ask for fewer with --negatives, or take another --format."
    )


def _rounded(probability: float) -> float | None:
    return None if np.isnan(probability) else round(float(probability), 4)


def summary(mined: MinedNegatives, format_: str) -> str:
    """
    What was mined, in words.

    :param mined: What was mined.
    :param format_: The format that it was written in.
    """
    drawn = mined.drawn
    there, is_drawn_from_corpus = drawn.rows >= 0, np.isnan(drawn.probability)
    count = int(there.sum())
    told = [f"{len(mined.data):,} queries with {count:,} negatives"]
    if count:
        told[0] += (
            f": mean cosine with the query {drawn.scores[there].mean():.2f}, mean probability of being relevant "
            f"{np.nan_to_num(drawn.probability[there]).mean():.3f}"
        )
    chosen = int((drawn.probability >= SUSPECTED).sum())
    further = [
        (int(drawn.suspects.sum()), f"candidates are suspected positives{'' if chosen else ' and no negatives'}"),
        (chosen, "of them are negatives all the same, because --max-false-negative lets them through"),
        (int(drawn.added.sum()), "of them were added as positives"),
        (
            int((there & is_drawn_from_corpus).sum()),
            "negatives were drawn from the whole corpus for want of candidates",
        ),
        (int((~drawn.is_full).sum()), f"queries have fewer negatives{' and are left out' if format_ in EVEN else ''}"),
    ]
    told += [f"{number:,} {what}" for number, what in further if number]
    return "\n".join(f"{one}." for one in told)
