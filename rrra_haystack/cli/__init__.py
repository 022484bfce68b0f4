"""The command line ``rrra``: one file a command, each a thin caller."""

import io
import os
import sys

from rrra_haystack.cli.threads import bound_arenas, cpu_quota, thread_settings

# Before NumPy and PyTorch are imported.
os.environ.update(thread_settings(os.environ, cpu_quota()))
# Before Haystack is imported, which would otherwise write to the home directory.
os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "False")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import typer

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
from rrra_haystack.cli.options import Commands
from rrra_haystack.cli.stores import told_of_stores
from rrra_haystack.errors import told_in_one_sentence
from rrra_haystack.interrupting import told_how_to_go_on

# Before a thread is started.
bound_arenas(os.environ)

app = typer.Typer(
    name="rrra",
    cls=Commands,
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
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        # Names of files need not be text, and a terminal need not have all letters.
        sys.stdout.reconfigure(errors="backslashreplace")
    with told_in_one_sentence(), told_of_stores(), told_how_to_go_on(*sys.argv[1:2]):
        app()
