"""Recipes that come with the package."""

from importlib.resources import files
from pathlib import Path

from rrra_training.data.recognising import TABLES


def bundled_recipes() -> dict[str, Path]:
    """Recipes that come with the package, by name."""
    package = Path(str(files("rrra_training")))
    # Beside the package in a checkout, within it in a wheel.
    folders = (package / "recipes", package.parent / "recipes")
    return {path.stem: path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*.yaml"))}


def is_recipe(name: str) -> bool:
    """Whether a user who names this means a recipe, and not data."""
    path = Path(name)
    return path.suffix in {".yaml", ".yml"} or (
        not path.name.endswith(TABLES) if path.is_file() else name in bundled_recipes()
    )


def find_recipe(path: str | Path) -> Path:
    """
    The file of a recipe.

    :param path: A YAML file, or the name of a bundled recipe.
    :raises FileNotFoundError: If there is neither.
    """
    file = Path(path)
    if file.is_file():
        return file
    bundled = bundled_recipes()
    if str(path) in bundled:
        return bundled[str(path)]
    msg = f"There is nothing at {str(path)!r}, and no bundled recipe of that name: they are {', '.join(bundled)}."
    raise FileNotFoundError(msg)
