"""``rrra enrich``: add token codes to a store that is full already."""

from typing import Annotated

import typer
from rich.console import Console

from rrra_haystack.pretrained import DEFAULT_MODEL


def command(
    store: Annotated[
        str,
        typer.Argument(
            help="Folder or URL of a Qdrant, or a YAML file with a Haystack document store.", show_default=False
        ),
    ],
    index: Annotated[str, typer.Option(help="Collection of the Qdrant.")] = "rrra",
    model: Annotated[str, typer.Option(help="The ranker's model.")] = DEFAULT_MODEL,
    code: Annotated[
        str | None,
        typer.Option(
            help="Kind of the codes: 1bit, 2bit, 4bit or int8; if not given, the model's own where there are none."
        ),
    ] = None,
    meta_field: Annotated[
        list[str] | None, typer.Option(help="A metadata field that is read with the content. May be repeated.")
    ] = None,
    separator: Annotated[
        str | None,
        typer.Option(
            help="What stands between these fields and the content; a new line if not given.", show_default=False
        ),
    ] = None,
    content_field: Annotated[
        str, typer.Option(help="Where a Qdrant that another library filled has the text, as page_content.")
    ] = "content",
    batch_size: Annotated[int, typer.Option(min=1, help="Documents that are written at a time.")] = 256,
    without_embeddings: Annotated[
        bool, typer.Option("--without-embeddings", help="The documents have no embeddings, and need none.")
    ] = False,
) -> None:
    """
    Add token codes to the documents of a store, in place, and verify them.

    Run it again after an interruption: documents that have sound codes are left alone.
    """
    from rrra_haystack.enriching.adding_codes import enrich
    from rrra_haystack.model.codes.kinds import kind_named
    from rrra_haystack.named_store import closed_after, open_store

    kind = None if code is None else kind_named(code)
    with closed_after(open_store(store, index)) as opened:
        done = enrich(
            opened, model=model, code=kind, meta_fields_to_embed=meta_field or (),
            embedding_separator="\n" if separator is None else separator,
            batch_size=batch_size, without_embeddings=without_embeddings, content_field=content_field,
            show_progress=True,
        )  # fmt: skip
    Console().print(
        f"{done.documents} documents: {done.written} were given codes"
        + (f" ({done.changed} of them in place of codes of another content)" if done.changed else "")
        + f", {done.kept} had them, "
        f"{done.without_content} have no text. All codes were read again."
    )
