"""Of which kind a file is: by the suffix of its name, or by its MIME type."""

import json
import re
from collections.abc import Container, Mapping
from pathlib import Path, PurePath
from typing import Any

PASSAGES_SUFFIX = ".jsonl"
_LONGEST_LINE = 1 << 20
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#]*([^?#]*)", re.IGNORECASE)
_XML = "application/vnd.openxmlformats-officedocument"
_SUFFIXES = {
    "application/pdf": ".pdf",
    f"{_XML}.wordprocessingml.document": ".docx",
    f"{_XML}.presentationml.presentation": ".pptx",
    f"{_XML}.spreadsheetml.sheet": ".xlsx",
    "text/markdown": ".md",
    "text/html": ".html",
    "application/xhtml+xml": ".html",
    "text/csv": ".csv",
    "text/tab-separated-values": ".tsv",
    "application/json": ".json",
}


def name_of(meta: Mapping[str, Any]) -> str:
    """
    The file or the address that metadata name; empty if they name none.

    :param meta: Metadata of a document or a stream; `url` is what Haystack's fetcher of addresses writes.
    """
    return str(meta.get("source") or meta.get("file_path") or meta.get("url") or "")


def kind_of(name: str, mime_type: str | None, known: Container[str]) -> str:
    """
    The kind of a file, as a suffix in small letters.

    :param name: Its name or address; of an address only its path has a suffix, as `.org` may be the end of its host.
    :param mime_type: Its MIME type, which says more than a suffix that is not known.
    :param known: The suffixes that are known.
    """
    address = _ADDRESS.match(name)
    suffix = PurePath(address[1] if address else name).suffix.lower()
    if suffix in known:
        return suffix
    return _SUFFIXES.get((mime_type or "").partition(";")[0].strip().lower(), suffix)


def holds_passages(path: Path) -> bool:
    """
    Whether a file tells by its first line that its lines are passages, which are cut already.

    :param path: The file.
    """
    if path.suffix.lower() != PASSAGES_SUFFIX:
        return False
    try:
        with path.open("rb") as file:
            first = json.loads(file.readline(_LONGEST_LINE).decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(first, dict) and {"_id", "text"} <= first.keys()
