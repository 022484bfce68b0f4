"""Add token codes to the documents of a store that is full already, in place."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from haystack import Document
from haystack.document_stores.types import DocumentStore
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from tqdm.auto import tqdm

from rrra_haystack.documents.metadata import CODES_KEY, check_fields, meta_of, text_to_embed
from rrra_haystack.enriching.access import Access, AnyStoreAccess, QdrantAccess
from rrra_haystack.model.codes.content import checksum_in, of_other_contents
from rrra_haystack.model.codes.flaws import flaw
from rrra_haystack.model.codes.kinds import CodeKind
from rrra_haystack.model.codes.record import kind_of
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.pretrained import DEFAULT_MODEL
from rrra_haystack.qdrant.payloads import CONTENT_FIELD


@dataclass(frozen=True)
class Enriched:
    """
    What was done.

    :param documents: Documents of the store.
    :param written: Documents that were given codes.
    :param changed: Those of them that had codes of another content than they have now.
    :param kept: Documents that had sound codes of this model.
    :param without_content: Documents without text, which have no codes.
    """

    documents: int
    written: int
    changed: int
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
    content_field: str = CONTENT_FIELD,
    show_progress: bool = False,
) -> Enriched:
    """
    Add token codes to all documents of a store that have none of this model and of their content, and verify them.

    Ids, contents, other metadata and embeddings stay as they are. What is written is written in batches: run it again
    after an interruption, and it goes on. In Qdrant the codes alone are written, page by page. Other stores give all
    documents at once and take them back whole, so these must fit into memory.

    :param store: Any Haystack document store.
    :param model: The ranker's model, or what :meth:`RRRAModel.load` takes.
    :param code: Kind of the codes. If `None`, documents keep codes of whichever kind, and get the model's own.
    :param meta_fields_to_embed: Metadata fields that are read with the content; the same as when it was embedded.
    :param embedding_separator: Put between these parts.
    :param batch_size: Documents that are written at a time.
    :param without_embeddings: Go on if the store gives no embeddings, because its documents have none.
    :param content_field: Field of the payload with the text, in a Qdrant that another library filled; the codes go to
        the field ``meta`` of the payload, and an RRRARetriever with the same ``content_field`` finds them.
    :param show_progress: Show progress and the time left.
    :raises ValueError: If the store gives documents without embeddings, which writing back would lose, a point has
        something else than an object in the field ``meta``, which the codes would replace, `meta_fields_to_embed` is a
        text, or what was written cannot be read again.
    """
    check_fields(meta_fields_to_embed)
    loaded = model if isinstance(model, RRRAModel) else RRRAModel.load(model)
    access: Access
    if isinstance(store, QdrantDocumentStore):
        access = QdrantAccess(store, content_field)
    elif content_field == CONTENT_FIELD:
        access = AnyStoreAccess(store, without_embeddings)
    else:
        msg = f"The text is read from '{content_field}' in Qdrant alone, and this is a {type(store).__name__}."
        raise ValueError(msg)

    def text_of(document: Document) -> str:
        return text_to_embed(document, meta_fields_to_embed, embedding_separator)

    def is_sound(document: Document) -> bool:
        record = meta_of(document).get(CODES_KEY, "")
        return flaw(record, loaded.codec(code or kind_of(record))) is None

    written = changed = kept = 0
    total = access.count()
    with tqdm(total=total, desc="Adding codes", unit="document", disable=not show_progress) as progress:
        for page in access.pages(batch_size):
            full = [one for one in page if text_of(one)]
            outdated = [one for one in full if is_sound(one) and _is_outdated(one)]
            wanting = [one for one in full if not is_sound(one)] + outdated
            if wanting:
                texts, contents = [text_of(one) for one in wanting], [one.content for one in wanting]
                access.write(wanting, loaded.encode_documents(texts, code=code, contents=contents)[1])
            written += len(wanting)
            changed += len(outdated)
            kept += len(full) - len(wanting)
            progress.update(len(page))
    for page in access.pages(batch_size):
        _all_sound(page, lambda one: not text_of(one) or (is_sound(one) and not _is_outdated(one)))
    if access.count() != total:
        msg = f"The store held {total} documents and holds {access.count()} now. Was it written to meanwhile?"
        raise ValueError(msg)
    return Enriched(total, written, changed, kept, total - written - kept)


def _is_outdated(document: Document) -> bool:
    """Whether sound codes were made of another content than the document has now."""
    return bool(of_other_contents(np.asarray([checksum_in(document.meta[CODES_KEY])]), [document.content]))


def _all_sound(documents: Sequence[Document], is_sound: Callable[[Document], bool]) -> None:
    for one in documents:
        if not is_sound(one):
            msg = f"The codes of document {one.id} cannot be read again. Does the store limit the size of metadata?"
            raise ValueError(msg)
