"""The model card: what a trained model is, how it was made, and what it measured."""

from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from rrra_haystack.files import read_json
from rrra_haystack.model import saving
from rrra_training.measures.markdown import markdown_table
from rrra_training.recipe.recipe import Recipe

_SYSTEM_ORDER = ("encoder", "match alone", "equal sum")


def model_card(recipe: Recipe, figures: dict[str, Any], *, is_tuned: bool, parameters: int) -> str:
    """
    Write a model card.

    :param recipe: What the model was made with.
    :param figures: What was measured on dev: ``sets`` with ``systems`` each, ``fusion_weight`` and ``lexical_weight``.
    :param is_tuned: Whether the encoder was fine-tuned.
    :param parameters: Number of trained parameters.
    """
    trained_on = ", ".join(
        f"{split.data.name or split.data.format} ({', '.join(filter(None, (split.split, split.data.licence)))})"
        for split in recipe.train
    )
    # Where the data lay is no part of how the model is made.
    recipe = recipe.model_copy(update={"data_root": Path()})
    encoder = "The encoder was fine-tuned and comes with it." if is_tuned else "The encoder is untouched."
    lines = [
        card_head(recipe, f" {encoder}"),
        (
            f"Trained on: {trained_on}. {parameters:,} parameters beside the encoder's, "
            f"token codes of {recipe.adapter.token_dim or 'all'} dimensions a token, "
            f"fusion weight {figures['fusion_weight']:g}, lexical weight {figures['lexical_weight']:g}, "
            f"seed {recipe.seed}."
        ),
        "",
        "## Measured on dev",
        "",
        (
            "nDCG@10 (and R@1) of the top "
            f"{recipe.mining.top_k}, in percent. Both weights and the calibration were fitted on these queries."
        ),
        "",
    ]
    names = list(dict.fromkeys(name for own in figures["sets"].values() for name in own["systems"]))
    names.sort(key=lambda name: _SYSTEM_ORDER.index(name) if name in _SYSTEM_ORDER else len(_SYSTEM_ORDER))
    rows = []
    for name, own in figures["sets"].items():
        cells = [
            f"{100 * own['systems'][system]['nDCG@10']:.1f} ({100 * own['systems'][system]['R@1']:.1f})"
            for system in names
        ]
        rows.append((name, str(own["queries"]), *cells, f"{own['calibration_error']:.3f}"))
    table = markdown_table(("set", "queries", *names, "calibration error"), rows)
    lines += [table, "", "## Recipe", "", "```yaml", recipe.to_yaml().rstrip(), "```", ""]
    return "\n".join(lines)


def card_head(recipe: Recipe, further: str = "") -> str:
    """
    What every card of a trained model begins with.

    :param recipe: What the model was made with.
    :param further: What is said of the model behind its first sentence.
    """
    what = f"A retriever adapter over {recipe.encoder}"
    return saving.card_head(recipe.name, what, encoder=recipe.encoder, further=further)


def dev_table(path: Path) -> Table:
    """The figures of ``dev.json`` as a table: nDCG@10 in percent."""
    figures = read_json(path, "Remove the run to train again.")
    names = list(dict.fromkeys(name for own in figures["sets"].values() for name in own["systems"]))
    table = Table(
        title=f"nDCG@10 on dev, in percent; fusion weight {figures['fusion_weight']:g}, "
        f"lexical weight {figures['lexical_weight']:g}"
    )
    for column in ("set", "queries", *names):
        table.add_column(column, justify="left" if column == "set" else "right")
    for name, own in figures["sets"].items():
        values = [f"{100 * own['systems'][system]['nDCG@10']:.1f}" for system in names]
        table.add_row(escape(name), str(own["queries"]), *values)
    return table
