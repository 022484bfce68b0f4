"""Where RRRA keeps its things in a document's metadata, what text of a document is embedded, and its source."""

from collections.abc import Iterable
from typing import Any, Protocol

CODES_KEY = "rrra_codes"
SCORES_KEY = "rrra"
# Among the scores.
HIGHLIGHTS_KEY = "highlights"
# What a record holds beside its tokens, where the tokens lie in a multivector.
HEAD_KEY = "rrra_head"
# How many tokens of a text its encoder did not read, where it is longer than the encoder reads.
UNREAD_KEY = "rrra_unread"


class HasContent(Protocol):
    """What is read of a document."""

    content: str | None
    meta: dict[str, Any]


class HasSource(Protocol):
    """What is read of a document to say where it comes from."""

    id: str
    meta: dict[str, Any]


def text_to_embed(document: HasContent, meta_fields_to_embed: Iterable[str], embedding_separator: str) -> str:
    """
    The text of a document that is embedded: metadata fields and content, joined.

    :param document: The document; fields that it lacks are left out.
    :param meta_fields_to_embed: Names of the metadata fields, in order.
    :param embedding_separator: Put between the parts.
    """
    fields = [str(document.meta[key]) for key in meta_fields_to_embed if document.meta.get(key) is not None]
    return embedding_separator.join([*fields, document.content or ""])


def source_of(document: HasSource | None) -> str:
    """Where a passage comes from: its file, or its id."""
    if document is None:
        return ""
    return str(document.meta.get("source") or document.meta.get("file_path") or document.id)
