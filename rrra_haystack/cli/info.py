"""``rrra info``: what would run here."""

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from rrra_haystack.pretrained import DEFAULT_MODEL

_PACKAGES = (
    "haystack-ai",
    "qdrant-haystack",
    "qdrant-client",
    "sentence-transformers",
    "transformers",
    "torch",
    "numkong",
)


def command(
    model: Annotated[str, typer.Option(help="Model to look at.")] = DEFAULT_MODEL,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the model, device, number format and versions."""
    import torch

    from rrra_haystack import __version__
    from rrra_haystack.model.codes.kernel import KERNEL
    from rrra_haystack.model.rrra_model import RRRAModel
    from rrra_haystack.pretrained import bundled_names

    loaded = RRRAModel.load(model)
    codec = loaded.codec()
    facts: dict[str, Any] = {
        "rrra-haystack": __version__,
        "model": model,
        "encoder": loaded.encoder.name,
        "device": str(loaded.encoder.device),
        "dtype": str(loaded.encoder.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "kernel": f"{KERNEL.name}: {KERNEL.reason}",
        "embedding dimensions": loaded.encoder.dimension or "none (late interaction)",
        "token codes": f"{codec.kind}, {codec.token_dim} dimensions, {codec.row_bytes} bytes a token",
        "fusion weight": loaded.config.fusion_weight,
        "lexical weight": loaded.config.lexical_weight,
        "bundled": ", ".join(bundled_names()),
        "python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
    }
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    table = Table(box=None, show_header=False)
    for name, value in facts.items():
        table.add_row(f"[bold]{name}[/]", str(value))
    Console().print(table)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
