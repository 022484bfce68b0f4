from rrra_haystack.documents.markup import Section, sections_of_html, sections_of_markdown

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
