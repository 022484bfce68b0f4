"""Excel files -> sections of text, by openpyxl of the extra `files`."""

import io
import warnings
from typing import Any

from rrra_haystack.documents.records import text_of_table
from rrra_haystack.documents.sections import Section


def sections_of_xlsx(data: bytes) -> list[Section]:
    """
    The sheets of a workbook that hold something, each with its name as Haystack's own converter tells it.

    :param data: The file.
    """
    import openpyxl  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is no text, as a style that is missing
        # A sheet may reach a million rows and sixteen thousand columns for a single cell: what is there is read.
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        try:
            texts = {sheet.title: _text(sheet) for sheet in book.worksheets}
        finally:
            book.close()
    return [Section(text, {"xlsx": {"sheet_name": name}}) for name, text in texts.items() if text]


def _text(sheet: Any) -> str:
    sheet.reset_dimensions()
    every = ([_cell(value) for value in row] for row in sheet.iter_rows(values_only=True))
    rows = [row for row in every if any(row)]
    used = sorted({at for row in rows for at, cell in enumerate(row) if cell})
    # A title above the table names no column: it is not as wide.
    rows[:1] = [row + [""] * (used[-1] + 1 - len(row)) for row in rows[:1]]
    return text_of_table([[row[at] for at in used if at < len(row)] for row in rows])


def _cell(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else str(value)
