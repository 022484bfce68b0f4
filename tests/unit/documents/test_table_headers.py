"""The header of a table tells what separates its values."""

import pytest

from rrra_haystack.documents.records import header_delimiter


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([], (",", 0)),
        (["text\n"], (",", 0)),
        (["a;b\n"], (";", 0)),
        (['"anchor, x, y";"positive"\n'], (";", 0)),
        (['"anchor; x; y","positive, or not"\n'], (",", 0)),
        (['"a; b; c; d"\n'], (",", 0)),
        (['question\tanswer\t"tags, as\n', "\n", 'a, b, c"\n'], ("\t", 0)),
        (["question,answer,tags|a|b|c\n"], (",", 0)),
        (["question;passage, of the text;id\n"], (";", 0)),
        (["passage, text;question, asked\n"], (",", 0)),
        (['"a quote, not closed\n', "text;more\n"], (",", 0)),
        (["\n", " \r\n", "sep=|\r\n", "a,b\n"], ("|", 3)),
    ],
)
def test_a_header_is_parted_where_its_names_end(lines: list[str], told: tuple[str, int]) -> None:
    assert header_delimiter(lines) == told
