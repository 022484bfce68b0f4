"""Recipes that come with the package."""

from importlib.resources import files
from pathlib import Path


def bundled_recipes() -> dict[str, Path]:
    """Recipes that come with the package, by name."""
    package = Path(str(files("rrra_training")))
    # Beside the package in a checkout, within it in a wheel.
    folders = (package / "recipes", package.parent / "recipes")
    return {path.stem: path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*.yaml"))}


def is_recipe(name: str) -> bool:
    """Whether a user who names this means a recipe, and not data."""
    return Path(name).suffix in {".yaml", ".yml"} or (name in bundled_recipes() and not Path(name).is_file())


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
    msg = f"There is no recipe {str(path)!r}: it is no file, and the bundled recipes are {', '.join(bundled)}."
    raise FileNotFoundError(msg)
