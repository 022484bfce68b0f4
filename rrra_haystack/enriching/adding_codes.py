"""Add token codes to the documents of a store that is full already, in place."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from haystack import Document
from haystack.document_stores.types import DocumentStore
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from tqdm.auto import tqdm

from rrra_haystack.documents.metadata import CODES_KEY, text_to_embed
from rrra_haystack.enriching.access import Access, AnyStoreAccess, QdrantAccess
from rrra_haystack.model.codes.flaws import flaw
from rrra_haystack.model.codes.kinds import CodeKind
from rrra_haystack.model.rrra_model import DEFAULT_MODEL, RRRAModel


@dataclass(frozen=True)
class Enriched:
    """
    What was done.

    :param documents: Documents of the store.
    :param written: Documents that were given codes.
    :param kept: Documents that had sound codes of this model.
    :param without_content: Documents without text, which have no codes.
    """

    documents: int
    written: int
    kept: int
    without_content: int


def enrich(
    store: DocumentStore,
    *,
    model: str | RRRAModel = DEFAULT_MODEL,
    code: CodeKind | None = None,
    meta_fields_to_embed: Sequence[str] = (),
    embedding_separator: str = "\n",
    batch_size: int = 256,
    without_embeddings: bool = False,
    show_progress: bool = False,
) -> Enriched:
    """
    Add token codes to all documents of a store that have none of this model, and verify them.

    Ids, contents, other metadata and embeddings stay as they are. What is written is written in batches: run it again
    after an interruption, and it goes on. In Qdrant the codes alone are written, page by page. Other stores give all
    documents at once and take them back whole, so these must fit into memory.

    :param store: Any Haystack document store.
    :param model: The ranker's model, or what :meth:`RRRAModel.load` takes.
    :param code: Kind of the codes; the model's own if `None`.
    :param meta_fields_to_embed: Metadata fields that are read with the content; the same as when it was embedded.
    :param embedding_separator: Put between these parts.
    :param batch_size: Documents that are written at a time.
    :param without_embeddings: Go on if the store gives no embeddings, because its documents have none.
    :param show_progress: Show progress and the time left.
    :raises ValueError: If the store gives documents without embeddings, which writing back would lose, or what was
        written cannot be read again.
    """
    loaded = model if isinstance(model, RRRAModel) else RRRAModel.load(model)
    codec = loaded.codec(code)
    access: Access = (
        QdrantAccess(store) if isinstance(store, QdrantDocumentStore) else AnyStoreAccess(store, without_embeddings)
    )

    def text_of(document: Document) -> str:
        return text_to_embed(document, meta_fields_to_embed, embedding_separator)

    def is_sound(document: Document) -> bool:
        return not text_of(document) or flaw(document.meta.get(CODES_KEY, ""), codec) is None

    written = kept = without_content = 0
    total = access.count()
    with tqdm(total=total, desc="Adding codes", unit="document", disable=not show_progress) as progress:
        for page in access.pages(batch_size):
            wanting = [one for one in page if not is_sound(one)]
            if wanting:
                _, codes = loaded.encode_documents([text_of(one) for one in wanting], code=code)
                access.write(wanting, codes)
            empty = sum(not text_of(one) for one in page)
            without_content += empty
            written += len(wanting)
            kept += len(page) - len(wanting) - empty
            progress.update(len(page))
    for page in access.pages(batch_size):
        _all_sound(page, is_sound)
    if access.count() != total:
        msg = f"The store held {total} documents and holds {access.count()} now. Was it written to meanwhile?"
        raise ValueError(msg)
    return Enriched(total, written, kept, without_content)


def _all_sound(documents: Sequence[Document], is_sound: Callable[[Document], bool]) -> None:
    for one in documents:
        if not is_sound(one):
            msg = f"The codes of document {one.id} cannot be read again. Does the store limit the size of metadata?"
            raise ValueError(msg)
