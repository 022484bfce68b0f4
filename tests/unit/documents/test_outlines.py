from collections.abc import Callable

import pytest

from rrra_haystack.documents.outlines import sections_of_adoc, sections_of_org, sections_of_rst
from rrra_haystack.documents.sections import Section

RST = """
=======
Ferries
=======

They are *white*.

Tickets
-------

=====  =====
who    price
=====  =====
child  2
=====  =====

----

Returns
~~~~~~~
Until noon::

    no heading
    ----------

Signals
-------
One.
"""
ADOC = """= Ferries
:toc:

They are *white*.

== Tickets

----
== no heading
----

=== Returns ===
Until noon.

== Signals
One.
"""
ORG = """#+TITLE: Ferries
They are *white*.
* Tickets
At the dock.
** TODO Returns   :sold:noon:
Until noon.
* Signals
One.
"""


@pytest.mark.parametrize(("read", "text"), [(sections_of_rst, RST), (sections_of_adoc, ADOC), (sections_of_org, ORG)])
def test_sections_know_what_leads_to_them(read: Callable[[str], list[Section]], text: str) -> None:
    first, tickets, returns, signals = read(text)
    assert (first.text.splitlines()[-1], first.meta) == ("They are *white*.", {"title": "Ferries"})
    assert returns.text.startswith("Until noon")
    assert [one.meta["headings"] for one in (tickets, returns, signals)] == ["Tickets", "Tickets > Returns", "Signals"]
    assert signals.text == "One."


def test_lines_that_look_like_headings() -> None:
    assert "child  2" in sections_of_rst(RST)[1].text
    assert "no heading\n    ----------" in sections_of_rst(RST)[2].text
    assert sections_of_adoc(ADOC)[1].text == "----\n== no heading\n----"
    assert sections_of_rst("A paragraph\nthat ends\n---------\n") == [
        Section("A paragraph\nthat ends\n---------", {}),
    ]


def _told(text: str) -> list[tuple[str, str | None]]:
    """Text of each section of AsciiDoc, and the headings that lead to it."""
    return [(one.text, one.meta.get("headings")) for one in sections_of_adoc(text)]


def test_underlined_titles_of_asciidoc() -> None:
    text = "Manual\n======\n\nNAME\n----\nx\n\n[[more]]\nDeeper\n~~~~~~~\ny\n\n== Later\nz\n\n=== Deep\nmore"
    sections = sections_of_adoc(text)
    assert {one.meta["title"] for one in sections} == {"Manual"}
    assert [(one.text, one.meta["headings"]) for one in sections if "[[" not in one.text] == [
        ("y", "NAME > Deeper"), ("z", "Later"), ("more", "Later > Deep"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "opening", ["----", "[abc]\n----", ".Code\n-----", "Some\ntext\n----", "// to do\n--------", "```sh"]
)
def test_blocks_of_asciidoc_are_no_titles(opening: str) -> None:
    closing = "```" if "`" in opening else opening.splitlines()[-1]
    block = f"{opening}\n== none\n{closing}"
    assert _told(f"== One\n{block}\n\n== Two\n{block}\n\n== Three\nz") == [
        (block, "One"), (block, "Two"), ("z", "Three"),
    ]  # fmt: skip


@pytest.mark.parametrize("opening", ["----", "////", "....", "```", "=" * 12])
def test_a_block_of_asciidoc_that_is_never_closed_hides_no_heading(opening: str) -> None:
    assert _told(f"== One\nx\n{opening}\ny\n\n== Two\nz") == [(f"x\n{opening}\ny", "One"), ("z", "Two")]
