"""Tables of Markdown."""

from collections.abc import Iterable, Sequence


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """
    A table of Markdown, without a line break at its end.

    :param head: Names of the columns.
    :param rows: Their cells.
    """
    first, *others = (f"|{'|'.join(f' {cell} ' if cell else ' ' for cell in cells)}|" for cells in (head, *rows))
    return "\n".join([first, "|---" * len(head) + "|", *others])
