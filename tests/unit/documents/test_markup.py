import pytest

from rrra_haystack.documents.html_pages import sections_of_html
from rrra_haystack.documents.markdown import sections_of_markdown
from rrra_haystack.documents.records import text_of_csv
from rrra_haystack.documents.sections import Section

MANUAL = """# Ferry manual

It is [white][colour].

## Tickets

### Returns of `day` tickets

Until noon.

| who | price |
|---|---|
| **child** | 2 |
| adult | 5 |

- dogs are free

## Signals

```py
# no heading
```

[colour]: https://example.org
"""


def test_sections_know_what_leads_to_them() -> None:
    assert sections_of_markdown(MANUAL) == [
        Section("It is white.", {"title": "Ferry manual"}),
        Section(
            "Until noon.\n\nwho: child; price: 2\n\nwho: adult; price: 5\n\ndogs are free",
            {"title": "Ferry manual", "headings": "Tickets > Returns of day tickets"},
        ),
        Section("# no heading", {"title": "Ferry manual", "headings": "Signals"}),
    ]


def test_front_matter_names_the_title() -> None:
    (first, *_) = sections_of_markdown("---\ntitle: Own\ntags: [a]\n---\n" + MANUAL)
    assert first == Section("It is white.", {"title": "Own", "headings": "Ferry manual"})
    for front in ("---\n: [\n---\n", "---\nno mapping\n---\n"):
        assert sections_of_markdown(front + MANUAL)[-1].meta["headings"].endswith("Signals")


def test_text_between_rules_is_no_front_matter() -> None:
    (section,) = sections_of_markdown("---\n\nText one: a thing\n\n---\n\nText two")
    assert section.text.split() == "Text one: a thing Text two".split()


def test_odd_headings() -> None:
    assert sections_of_markdown("# Only\n") == [Section("Only", {})]
    assert sections_of_markdown("") == []
    assert [one.meta for one in sections_of_markdown("# A\n\nx\n\n# B\n\n### C\n\ny\n\n## D\n\nz")] == [
        {"headings": "A"},
        {"headings": "B > C"},
        {"headings": "B > D"},
    ]
    assert sections_of_markdown("> # Quoted\n>\n> text")[0].meta == {}


def page(title: str, body: str) -> list[Section]:
    return sections_of_html(f"<html><head><title>{title}</title></head><body>{body}</body></html>")


def test_a_page_keeps_its_title_its_headings_and_its_table() -> None:
    body = "".join(
        [
            "<nav><a href='/'>Home</a></nav><main><h1>Ferry</h1>",
            f"<p>{'The ferry of the north is large and white. ' * 12}</p>",
            f"<h2>Tickets</h2><p>{'They are sold at the dock and on board by the crew. ' * 8}</p>",
            f"<h3>Tags as &lt;b&gt;</h3><p>{'A ticket is taken back until noon if the ferry has not left. ' * 6}</p>",
            "<h2>Prices</h2><table><tr><th>who</th><th>price</th></tr>",
            "<tr><td>child</td><td><ul><li>2 euro</li><li>free under 3</li></ul></td></tr>",
            "<tr><td>adult</td><td>5 euro</td></tr></table><ul><li>dogs are free</li></ul></main>",
        ]
    )
    sections = page("Acme docs", body)
    assert {one.meta["title"] for one in sections} == {"Acme docs - Ferry"}
    assert [one.meta.get("headings") for one in sections] == [None, "Tickets", "Tickets > Tags as <b>", "Prices"]
    assert sections[-1].text == (
        "who: child; price: 2 euro; free under 3\n\nwho: adult; price: 5 euro\n\ndogs are free"
    )


def test_the_heading_of_a_short_page_is_kept() -> None:
    (section,) = page(
        "Acme docs", "<h1>Returns</h1><p>Goods are taken back for thirty days after they were bought.</p>"
    )
    assert section.meta["title"] == "Acme docs - Returns"
    assert "thirty days" in section.text
    assert sections_of_html("") == sections_of_html("<html><body></body></html>") == []


def test_a_short_page_keeps_its_headings_and_its_columns() -> None:
    around = "<nav><ul><li><a href='/a'>Home</a></li></ul></nav>", "<footer>Imprint</footer>"
    table = "<table><tr><th>Model</th><th>Power</th></tr><tr><td>A</td><td>5 kW</td></tr></table>"
    body = f"<h1>Pump</h1><h2>Starting</h2><p>Open the valve.</p><h2>Stopping</h2><p>Close it and wait.</p>{table}"
    for page in (body, f"<main>{body}</main>"):
        first, second = sections_of_html(f"<html><body>{around[0]}{page}{around[1]}</body></html>")
        assert (first.text, first.meta["headings"]) == ("Open the valve.", "Starting")
        assert second.text.split("\n\n") == ["Close it and wait.", "Model: A; Power: 5 kW"]
        assert second.meta["headings"] == "Stopping"


@pytest.mark.parametrize(
    "attributes", ["style='display: none'", "class='left-sidebar'", "hidden", "aria-hidden='true'", "role='navigation'"]
)
@pytest.mark.parametrize("tag", ["body", "html"])
def test_a_page_is_never_dropped_as_a_whole(tag: str, attributes: str) -> None:
    text = "<html><body><p><a href='/ferry'>The ferry leaves at ten.</a></p></body></html>"
    assert sections_of_html(text.replace(f"<{tag}>", f"<{tag} {attributes}>")) == [
        Section("The ferry leaves at ten.", {})
    ]


NASTY = """<?xml version="1.0" encoding="iso-8859-1"?>
<html><head><title>Acme  docs</title><style>h1 {color: red}</style></head><body class="has-sidebar menu">
<header role="banner"><a href="/">Acme</a><nav>Home</nav></header>
<div class="breadcrumbs"><a href="/">Home</a> / <a href="/p">Pumps</a></div>
<table width="100%"><tr><td id="sidebar-left"><a href="/a">Alpha</a> <a href="/b">Beta</a></td><td><div>
<h1>Pump <a class="headerlink" href="#pump">\u00b6</a></h1> loose text <b>be</b>fore all<!-- not seen --> and behind
<h2>Safety</h2>Mind the gap.<br>And the step.
<h2>Phone: 1234</h2>
<h2>Data</h2><div class="card"><h4>Loads</h4><table><caption>In kW</caption>
<tr><th rowspan=2>Part</th><th colspan=2>Load</th></tr><tr><th>cold</th><th>hot</th></tr>
<tr><td rowspan="2">Rotor<ul><li>steel</li><li>brass</li></ul></td><td>5</td><td>6</td></tr>
<tr><td>7</td><td><table><tr><td>8</td><td>peak</td></tr></table></td></tr>
<tr><td>Axle</td><td colspan=99999999>none</td></tr></table></div>
<dl><dt>Valve</dt><dd>Opens.</dd></dl>
<table><tr><th>Weight</th><td>9 kg</td></tr><tr><th>Height</th><td>2 m</td></tr></table>
<h2>Code</h2><pre>def f():

    return 1</pre><p hidden>Never seen</p><p style="display: none">Nor this</p><svg><text>drawn</text></svg>
<h5>Links</h5><ul><li><a href="/1">One</a></li>
<li><a href="/2">Two</a><ul><li><a href="/3">Three</a></li></ul></li></ul>
</div></td></tr></table>
<footer>Imprint</footer><script>alert("h2")</script></body></html>"""


def test_a_nasty_page_keeps_its_headings_and_all_that_is_between_them() -> None:
    told = {"title": "Acme docs - Pump"}
    assert sections_of_html(NASTY) == [
        Section("loose text before all and behind", told),
        Section("Mind the gap.\nAnd the step.", {**told, "headings": "Safety"}),
        Section("Phone: 1234", told),
        Section(
            "In kW\n\nPart: Rotor; steel; brass; Load cold: 5; Load hot: 6\n\n"
            "Part: Rotor; steel; brass; Load cold: 7; Load hot: 8; peak\n\nPart: Axle; Load cold: none\n\n"
            "Valve\nOpens.\n\nWeight | 9 kg\n\nHeight | 2 m",
            {**told, "headings": "Data > Loads"},
        ),
        Section("def f():\n\n    return 1", {**told, "headings": "Code"}),
        Section("One\nTwo\nThree", {**told, "headings": "Code > Links"}),
    ]


def test_html_within_markdown_and_pages_nested_at_will() -> None:
    (first, second) = sections_of_markdown(
        "<h1 align=center>Ferry</h1>\n\n<details>\n\nHidden **part**.\n\n## A\n\nb <i>c</i>"
    )
    assert first == Section("Hidden part.", {"title": "Ferry"})
    assert second == Section("b c", {"title": "Ferry", "headings": "A"})
    assert sections_of_html("<div>" * 2000 + "deep") == [Section("deep", {})]
    with pytest.raises(ValueError, match="nested too deeply"):
        sections_of_html("<div>" * 20_000 + "deep")
    assert sections_of_html("just text & more") == [Section("just text & more", {})]


def test_a_table_with_odd_names() -> None:
    years = "| | 2019 | 2020 |\n|---|---|---|\n| Elbe | 1 | 2 |\n"
    assert sections_of_markdown(years)[0].text == "Elbe; 2019: 1; 2020: 2"
    assert text_of_csv(",river\n0,Elbe\n") == "0; river: Elbe"
    long = "The Elbe rises in the Giant Mountains, " * 3
    assert text_of_csv(f'"{long}",a\nOder,b\n') == f"{long.strip()} | a\n\nOder | b"


@pytest.mark.parametrize(
    ("table", "text"),
    [
        (
            "<thead><th>Name<th>Age</thead><tbody><tr><td>Bob<td>7</tbody><tfoot><td>all<td>8</tfoot>",
            "Name: Bob; Age: 7\n\nName: all; Age: 8",
        ),
        (
            (
                "<tr><th>Name</th><th>Age</th></tr><tr><form><td>Bob</td><td>7</td></form></tr>"
                "<form><tr><td>Eve</td><td>8</td></tr></form>"
            ),
            "Name: Bob; Age: 7\n\nName: Eve; Age: 8",
        ),
        (
            (
                "Loose <b>words</b>.<caption>Ages</caption><tr>astray<th>Name</th><th>Age</th></tr>"
                "<tr><td>Bob</td><td>7<table><tr><td>and a half</td></tr></table></td></tr><p>The end.</p>"
            ),
            "Ages\n\nLoose words.; astray; The end.\n\nName: Bob; Age: 7; and a half",
        ),
        (
            (
                "<tr><th>Name</th><th>Age</th></tr><tr><td rowspan=2>Bob</td><td>7</td></tr><tr></tr>"
                "<tr><td>Eve</td><td>8</td></tr>"
            ),
            "Name: Bob; Age: 7\n\nName: Bob\n\nName: Eve; Age: 8",
        ),
    ],
)
def test_a_malformed_table_keeps_all_that_stands_in_it(table: str, text: str) -> None:
    assert [one.text for one in page("Ages", f"<table>{table}</table>")] == [text]
