"""``rrra adapt``: a model fitted to a corpus without labels."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from rrra_haystack.cli.extras import extra
from rrra_haystack.files import check_writable, write_json
from rrra_haystack.pretrained import DEFAULT_MODEL


def command(
    data: Annotated[
        str,
        typer.Argument(
            help="Your documents: a file or folder of .txt, .md or .jsonl; a folder or URL of a Qdrant, or a YAML file "
            "with a Haystack document store; or a folder in the BEIR layout.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option(file_okay=False, help="Where the model goes.")] = Path("adapted"),
    model: Annotated[str, typer.Option(help="What to begin with.")] = DEFAULT_MODEL,
    index: Annotated[str, typer.Option(help="Collection of the Qdrant.")] = "rrra",
    passages: Annotated[
        int, typer.Option(min=1, help="Draw this many passages to search in; words are counted in all of them.")
    ] = 5000,
    questions: Annotated[int, typer.Option(min=20, help="Make this many questions of a kind.")] = 300,
    queries: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Queries of your users, without labels: one a line, or a .jsonl with a `text` a line. What is made "
            "has as many words; a writer asks as they do.",
        ),
    ] = None,
    writer: Annotated[
        str | None,
        typer.Option(help="A chat model that writes a further kind of questions, behind an OpenAI-compatible API."),
    ] = None,
    api_base_url: Annotated[
        str | None,
        typer.Option(help="Where the writer's API is; that of OpenAI if not given. Its key is OPENAI_API_KEY."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of what is drawn, and of the intervals.")] = 0,
    cache: Annotated[
        Path | None,
        typer.Option(
            file_okay=False, help="Keep the encoded corpus here, and what was written; interrupted work goes on."
        ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", dir_okay=False, help="Write the figures to this file.")
    ] = None,
) -> None:
    """
    Fit the weights of a model and the frequencies of words to your documents, without labels.

    Parts of passages ask for them, in three ways; a chat model may write a fourth kind. What is fitted on the one kind
    of questions is kept only if each other kind is better for it, for sure and by a point of nDCG@10; else the model
    stays what it was.
    """
    with extra("train", "rrra adapt"):
        from rrra_training.adapting.adapt import adapt
        from rrra_training.adapting.corpus import read_queries
        from rrra_training.adapting.telling import as_json, render, said
        from rrra_training.adapting.writing import Writer

    if api_base_url is not None and writer is None:
        msg = "--api-base-url says where a writer's API is: name the model that writes by --writer."
        raise ValueError(msg)
    if json_file is not None:
        check_writable(json_file)
    _, found = adapt(
        data, output, index=index, model=model, passages=passages, questions=questions, seed=seed,
        queries=[] if queries is None else read_queries(queries),
        writer=None if writer is None else Writer(writer, api_base_url), cache=cache, show_progress=True,
    )  # fmt: skip
    if json_file is not None:
        write_json(json_file, as_json(found))
    console = Console()
    console.print(render(found))
    console.print(said(found), highlight=False, soft_wrap=True)
    console.print(f"The model is in [bold]{escape(str(output))}[/].", soft_wrap=True)
