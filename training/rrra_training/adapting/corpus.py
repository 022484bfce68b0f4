"""The passages of what a user names: retrieval data, a filled store, or texts."""

from pathlib import Path

from haystack_integrations.document_stores.qdrant import QdrantDocumentStore

from rrra_haystack.enriching.access import Access, AnyStoreAccess, QdrantAccess
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.named_store import closed_after, open_store
from rrra_haystack.qdrant.engines import engine_of
from rrra_haystack.qdrant.payloads import CONTENT_FIELD
from rrra_training.compression.texts import read_lines, read_texts
from rrra_training.data import BeirDataset, Passage
from rrra_training.data.beir import is_collection

_PAGE = 256


def read_passages(data: str, index: str, encoder: Encoder) -> list[Passage]:
    """
    Read passages.

    :param data: A folder in the BEIR layout, with judgments or without; a store, as
        :func:`~rrra_haystack.named_store.open_store` takes it; or texts, as
        :func:`~rrra_training.compression.texts.read_texts` takes them.
    :param index: Collection of a Qdrant.
    :param encoder: The encoder that says what a token is.
    :raises FileNotFoundError: If nothing is there.
    :raises ValueError: If it cannot be read.
    """
    path = Path(data)
    if is_collection(path):
        return list(BeirDataset(path, judged=False).passages())
    is_store = "://" in data or path.suffix in {".yaml", ".yml"} or engine_of(path) is not None
    texts = _stored_texts(data, index) if is_store else read_texts(path, encoder)
    return [Passage(str(number), "", text) for number, text in enumerate(texts)]


def read_queries(path: Path) -> list[str]:
    """
    Read queries of people, without labels.

    :param path: A ``.jsonl`` with a `text` a line, as ``queries.jsonl`` of the BEIR layout; or a file with a query a
        line.
    :raises FileNotFoundError: If there is none.
    :raises ValueError: If it cannot be read, or is empty.
    """
    queries = [line.strip() for line in read_lines(path) if line.strip()]
    if not queries:
        msg = f"There are no queries in {path}: write one a line."
        raise ValueError(msg)
    return queries


def _stored_texts(store: str, index: str) -> list[str]:
    with closed_after(open_store(store, index)) as opened:
        access: Access = (
            QdrantAccess(opened, CONTENT_FIELD)
            if isinstance(opened, QdrantDocumentStore)
            else AnyStoreAccess(opened, without_embeddings=True)
        )
        contents = (one.content or "" for page in access.pages(_PAGE) for one in page)
        return [content for content in contents if content.strip()]
