"""``rrra serve``: the pipelines of a folder over HTTP."""

import signal
from pathlib import Path
from typing import Annotated

import typer

from rrra_haystack.cli.extras import extra


def command(
    pipelines: Annotated[
        Path | None,
        typer.Argument(
            exists=True, file_okay=False, help="Folder of pipeline YAML files; the bundled ones if not given.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "localhost",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 1416,
    allow_folder: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True, file_okay=False, help="Folder below which files may be indexed by path. May be repeated.",
            show_default=False,
        ),
    ] = None,
) -> None:  # fmt: skip
    """
    Serve pipelines with Hayhooks: POST /NAME/run, and OpenAI-compatible chat for those that answer.

    Questions are checked before a pipeline runs, and pipelines over the same store share it.
    """
    with extra("serve", "rrra serve"):
        from hayhooks import run_app

        from rrra_haystack.serving.application import served
    from rrra_haystack.resources import resource_directory

    # A terminal that is closed would end the process at once, and leave uploads behind.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    run_app(served(pipelines or resource_directory("pipelines"), allow_folder or (), host), host=host, port=port)
