"""
What `make docs` needs beside the pages: the README and its neighbours as pages, and files that pages link to.

MkDocs calls the functions by their names (https://www.mkdocs.org/user-guide/configuration/#hooks).
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
# Pages of the site that lie above its folder, by their names there.
PAGES = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
# Where other files of the repository lie in the site.
COPIES = "repository"
_LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#]+)(?=[)#])")


def on_config(config: Any) -> Any:
    """Leave out the script of another server that searches pages opened from a folder: a site fetches nothing."""
    config.extra["polyfills"] = []
    return config


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages from above, and the files that any page links to outside the folder of the pages."""
    for name, source in PAGES.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text(encoding="utf-8")))
    for page in files.documentation_pages():
        home = ROOT if page.src_uri in PAGES else ROOT / "docs"
        for link in _LINK.findall(page.content_string):
            target = (home / link).resolve()
            copy = _in_the_site(target)
            if copy.startswith(f"{COPIES}/") and target.is_file() and copy not in files.src_uris:
                files.append(File.generated(config, copy, abs_src_path=str(target)))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Turn links between files of the repository into links between files of the site."""
    home = ROOT if page.file.src_uri in PAGES else ROOT / "docs"
    return _LINK.sub(lambda link: _in_the_site((home / link[1]).resolve()), markdown)


def _in_the_site(target: Path) -> str:
    """The address of a file of the repository."""
    path = target.relative_to(ROOT).as_posix()
    names = {source: name for name, source in PAGES.items()}
    return names.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else f"{COPIES}/{path}")
