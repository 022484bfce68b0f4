"""Where RRRA keeps its things in a document's metadata, what text of a document is embedded, and its source."""

from collections.abc import Iterable
from typing import Any, Protocol

from rrra_haystack.documents.kinds import kind_of, name_of
from rrra_haystack.documents.sections import PAGE_END, PAGE_KEY

CODES_KEY = "rrra_codes"
SCORES_KEY = "rrra"
# Among the scores.
HIGHLIGHTS_KEY = "highlights"
# What a record holds beside its tokens, where the tokens lie in a multivector.
HEAD_KEY = "rrra_head"
# How many tokens of a text its encoder did not read, where it is longer than the encoder reads.
UNREAD_KEY = "rrra_unread"
# The encoding of its file, where that was guessed from a few letters.
GUESSED_KEY = "guessed_encoding"

# A splitter finds every passage on the first page, at least; only these have others, and not where it is told 0.
_PAGED = frozenset({".pdf", ".docx", ".pptx"})
# As Haystack's fetcher of addresses writes it.
_TYPE_KEY = "content_type"


class HasContent(Protocol):
    """What is read of a document."""

    content: str | None
    meta: dict[str, Any]


class HasSource(HasContent, Protocol):
    """What is read of a document to say where it comes from."""

    id: str


def check_fields(meta_fields_to_embed: Iterable[str] | None) -> None:
    """
    Refuse one name in the place of a list of names, of which the letters would be looked up.

    :param meta_fields_to_embed: Names of metadata fields.
    :raises ValueError: If they are a text.
    """
    if isinstance(meta_fields_to_embed, str):
        name = repr(meta_fields_to_embed)
        msg = f"meta_fields_to_embed must be a list of names, as [{name}], but got the text {name}"
        raise ValueError(msg)


def meta_of(document: HasContent) -> dict[str, Any]:
    """The metadata of a document; Haystack takes `None` for none."""
    return document.meta or {}


def text_to_embed(document: HasContent, meta_fields_to_embed: Iterable[str], embedding_separator: str) -> str:
    """
    The text of a document that is embedded: metadata fields and content, joined.

    :param document: The document; fields that it lacks are left out.
    :param meta_fields_to_embed: Names of the metadata fields, in order.
    :param embedding_separator: Put between the parts.
    """
    meta = meta_of(document)
    fields = [str(meta[key]) for key in meta_fields_to_embed if meta.get(key) is not None]
    return embedding_separator.join([*fields, document.content or ""])


def scores_of(document: HasContent) -> dict[str, Any]:
    """What the ranker, or a search by tokens, says of a document; nothing where something else stands in its place."""
    scores = meta_of(document).get(SCORES_KEY)
    return scores if isinstance(scores, dict) else {}


def source_of(document: HasSource | None) -> str:
    """Where a passage comes from: its file or address, or its id."""
    if document is None:
        return ""
    return name_of(meta_of(document)) or document.id


def page_of(document: HasSource | None, at: int = 0) -> int | None:
    """
    On which page of its file something stands; `None` if the file has no pages, or tells none.

    :param document: The passage.
    :param at: The character of it.
    """
    meta = meta_of(document) if document is not None else {}
    page = meta.get(PAGE_KEY)
    if document is None or not isinstance(page, int) or page < 1:
        return None
    if kind_of(source_of(document), meta.get(_TYPE_KEY), _PAGED) not in _PAGED:
        return None
    return page + (document.content or "").count(PAGE_END, 0, at)


def place_of(document: HasSource | None, at: int = 0) -> str:
    """
    The source of a passage, and the page if it has one.

    :param document: The passage.
    :param at: The character of it.
    """
    page = page_of(document, at)
    return source_of(document) + (f", page {page}" if page else "")
