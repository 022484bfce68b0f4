"""Corrected labels in the formats of other trainers."""

from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path
from random import Random

from rrra_training.audit.decisions import Corrected, Decision
from rrra_training.data.writing import corpus_row
from rrra_training.formats import EVEN, Example, Text, write_beir, write_lines


def export(made: Corrected, output: Path, format_: str, *, negatives: int, seed: int = 0) -> int:
    """
    Write corrected labels in the format of a trainer, and what was decided beside them.

    A query's negatives are what was judged irrelevant, the decisions first. Where these are fewer than asked for,
    passages that nobody looked at for this query are drawn from the corpus. What the corpus lacks is left out. The BEIR
    layout holds all judgments, and nothing is drawn.

    :param made: The labels.
    :param output: The file, or the folder of ``beir``.
    :param format_: One of :data:`~rrra_training.formats.FORMATS`.
    :param negatives: Negatives of a query.
    :param seed: Seed of what is drawn.
    :returns: Queries that are left out because the corpus has none of their positives.
    :raises ValueError: If the corpus is too small for a format in which every row has as many negatives.
    """
    decided: dict[str, list[Decision]] = defaultdict(list)
    for one in made.decisions:
        decided[one.query].append(one)
    # Without repeated identifiers, of which one passage would be drawn twice; in the order of the corpus.
    ids = list(dict.fromkeys(passage.id for passage in made.dataset.passages()))
    known = set(ids)
    chosen = {
        query: _irrelevant(judged, decided[query], known)
        for query, judged in made.qrels.items()
        if format_ == "beir" or any(grade > 0 and one in known for one, grade in judged.items())
    }
    if format_ == "beir":
        write_beir(_examples(made, chosen, decided), map(corpus_row, made.dataset.passages()), output, made.split)
        return 0
    for query, surest in chosen.items():
        looked_at = made.qrels[query].keys() | {one.passage for one in decided[query]}
        drawn = _drawn(ids, looked_at, negatives - len(surest), Random(f"{seed} {query}"))
        chosen[query] = [*surest[:negatives], *drawn]
    fewest = min(map(len, chosen.values()), default=negatives)
    if format_ in EVEN and fewest < negatives:
        msg = (
            f"This corpus has {fewest} negatives for a query, and {negatives} were asked for. In the format "
            f"'{format_}' every row has as many. Ask for fewer with --negatives {fewest}."
        )
        raise ValueError(msg)
    write_lines(_examples(made, chosen, decided), output, format_)
    return len(made.qrels) - len(chosen)


def _irrelevant(judged: dict[str, int], decisions: list[Decision], known: Collection[str]) -> list[str]:
    decided = {one.passage for one in decisions}
    found = (one for one, grade in judged.items() if grade <= 0 and one in known)
    return sorted(found, key=lambda one: one not in decided)


def _drawn(ids: list[str], looked_at: Collection[str], count: int, random: Random) -> list[str]:
    places = random.sample(range(len(ids)), min(len(ids), max(0, count) + len(looked_at)))
    return [ids[place] for place in places if ids[place] not in looked_at][: max(0, count)]


def _examples(
    made: Corrected, negatives: dict[str, list[str]], decided: dict[str, list[Decision]]
) -> Iterator[Example]:
    positives = {query: [one for one, grade in judged.items() if grade > 0] for query, judged in made.qrels.items()}
    named = {passage for part in (positives, negatives) for own in part.values() for passage in own}
    texts = {one.id: one.title_and_text for one in made.dataset.passages() if one.id in named}
    for query in made.dataset.queries(made.split):
        if query.id in negatives:
            right, wrong = (
                [Text(one, texts[one]) for one in part[query.id] if one in texts] for part in (positives, negatives)
            )
            details = {
                "query_id": query.id,
                "query": query.text,
                "positives": [one.id for one in right],
                "negatives": [{"id": one.id, "judged": one.id in made.qrels[query.id]} for one in wrong],
                "decisions": [one.model_dump(include={"kind", "passage", "decision"}) for one in decided[query.id]],
            }
            yield Example(Text(query.id, query.text), right, wrong, made.qrels[query.id], details)
