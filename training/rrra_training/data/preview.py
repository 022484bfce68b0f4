"""The first rows of data as they are read, for somebody to look at."""

from itertools import islice
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from rrra_training.data.columns import ColumnsDataset, columns_of
from rrra_training.data.interface import RetrievalData

_ROWS = 3
_NEGATIVES = 2
_CHARACTERS = 160


def preview(data: RetrievalData, split: str) -> Group:
    """
    Three queries of a split with what is relevant for them and what is named as negative, as tables.

    :param data: The data.
    :param split: A name from its splits.
    :raises ValueError: If the split does not exist, or rows or columns are not understood.
    """
    queries, qrels, negatives = data.queries(split), data.qrels(split), data.negatives(split)
    shown = queries[:_ROWS]
    wanted = {
        query.id: (
            [passage for passage, grade in qrels.get(query.id, {}).items() if grade > 0],
            negatives.get(query.id, [])[:_NEGATIVES],
        )
        for query in shown
    }
    named = {passage for positives, others in wanted.values() for passage in (*positives, *others)}
    texts = {passage.id: passage.title_and_text for passage in data.passages() if passage.id in named}
    title = f"[italic]{escape(data.name)} {escape(split)}: {len(queries):,} queries[/]"
    table = Table(box=SIMPLE_HEAD)
    for column in ("", "text"):
        table.add_column(column, overflow="fold")
    for query in shown:
        positives, others = wanted[query.id]
        table.add_row("query", _cut(query.text))
        for kind, passages in (("positive", positives), ("negative", others)):
            for passage in passages:
                table.add_row(kind, _cut(texts.get(passage, f"(the corpus has no passage {passage!r})")))
        if query.answers:
            table.add_row("answers", _cut("; ".join(query.answers)))
        table.add_section()
    return Group(title, *_columns(data, split), table)


def _columns(data: RetrievalData, split: str) -> list[str]:
    """How the names of columns were understood."""
    if not isinstance(data, ColumnsDataset):
        return []
    kinds = dict.fromkeys(str(columns_of(tuple(row), Path(data.name))) for _, row in islice(data.rows(split), _ROWS))
    return [escape(kind) for kind in kinds]


def _cut(text: str) -> str:
    flat = " ".join(text.split())
    return escape(flat if len(flat) <= _CHARACTERS else f"{flat[:_CHARACTERS]}...")
