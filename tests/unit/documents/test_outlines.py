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
