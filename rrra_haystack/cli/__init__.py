"""The command line ``rrra``: one file a command, each a thin caller."""

import os

from rrra_haystack.cli.threads import bound_arenas, cpu_quota, thread_settings

# Before NumPy and PyTorch are imported.
os.environ.update(thread_settings(os.environ, cpu_quota()))
# Before Haystack is imported, which would otherwise write to the home directory.
os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "False")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import typer
from rich.console import Console
from rich.markup import escape

from rrra_haystack.cli import (
    adapt,
    ask,
    audit,
    benchmark,
    compress,
    copy,
    demo,
    enrich,
    evaluate,
    fetch,
    index,
    info,
    init,
    mine,
    serve,
    train,
)

# Before a thread is started.
bound_arenas(os.environ)

app = typer.Typer(
    name="rrra",
    help="Rerank what a bi-encoder retrieves, with a light adapter over its own token states.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
)
for module in (
    index,
    enrich,
    copy,
    ask,
    serve,
    init,
    demo,
    info,
    train,
    evaluate,
    benchmark,
    audit,
    mine,
    compress,
    fetch,
    adapt,
):
    app.command(module.__name__.rpartition(".")[2])(module.command)


def main() -> None:
    """Run the command line; what a user can mend is told in one sentence, without a traceback."""
    try:
        app()
    except Exception as error:
        from rrra_haystack.errors import cause_of

        cause = cause_of(error)
        if os.environ.get("RRRA_DEBUG") or not isinstance(cause, ValueError | OSError | ImportError | RuntimeError):
            raise
        Console(stderr=True).print(f"[bold red]Error:[/] {escape(str(cause))}", highlight=False)
        raise SystemExit(1) from None
