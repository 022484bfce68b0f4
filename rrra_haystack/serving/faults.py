"""Faults of document stores, as a server tells them: no fault of whom they befall. The log says where they are."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from fastapi import HTTPException
from haystack import Pipeline, logging
from haystack.core.errors import PipelineRuntimeError

from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore
from haystack_integrations.document_stores.qdrant_edge.disk import FullDiskError
from haystack_integrations.document_stores.qdrant_edge.explaining import UnopenedError
from rrra_haystack.errors import cause_of
from rrra_haystack.pipeline_files import stores_of
from rrra_haystack.qdrant.clients import is_open_elsewhere
from rrra_haystack.qdrant.collections import NothingStoredError
from rrra_haystack.qdrant.patience import is_transient

logger = logging.getLogger(__name__)
# How Haystack's Secret says so.
_NO_KEY = "authentication environment variables are set"


@contextmanager
def told_of_stores(pipeline: Pipeline) -> Iterator[None]:
    """
    A block that runs a pipeline, in which faults of its document stores are answers to a client.

    :param pipeline: The pipeline.
    :raises HTTPException: 503, or 507 if a disk is full.
    """
    try:
        yield
    except Exception as error:
        answer = _answer(pipeline, error)
        if answer is None:
            raise
        logger.warning("A document store does not serve: {error}", error=cause_of(error))
        raise answer from error


def _answer(pipeline: Pipeline, error: Exception) -> HTTPException | None:
    cause = cause_of(error)
    if isinstance(cause, FullDiskError):
        return HTTPException(507, "The disk of the document store is full.")
    if is_open_elsewhere(cause):
        return HTTPException(503, "The document store is open in another process. Try again when that has ended.")
    if isinstance(cause, NothingStoredError):
        return HTTPException(503, "The document store is missing, or holds nothing yet. Index documents first.")
    # A file that is indexed can be away, too.
    at_store = isinstance(error, PipelineRuntimeError) and error.component_name in _names_of_users(pipeline)
    if is_transient(error) or (at_store and isinstance(cause, ConnectionError | TimeoutError)):
        return HTTPException(503, "The document store is away or busy. Try again later.")
    if at_store and isinstance(cause, OSError | UnopenedError):
        return HTTPException(503, "The document store is missing, or cannot be read or written to.")
    return None


def lacking_key(error: Exception) -> HTTPException | None:
    """
    The answer where a component finds no key, if it is that.

    :param error: What was raised while a pipeline was loaded.
    """
    told = str(cause_of(error))
    if _NO_KEY not in told:
        return None
    names = ", ".join(re.findall(r"'(\w+)'", told.partition(_NO_KEY)[2]))
    return HTTPException(503, f"The pipeline lacks a key: start 'rrra serve' with {names} in its environment.")


def _names_of_users(pipeline: Pipeline) -> set[str]:
    users = [part for part, _, _ in stores_of([pipeline])]
    return {name for name, part in pipeline.walk() if part in users}


def tell_of_held(pipelines: Iterable[Pipeline]) -> None:
    """
    Warn of document stores that cannot be opened, before anybody asks.

    :param pipelines: The pipelines.
    """
    for store in {id(one): one for _, _, one in stores_of(pipelines)}.values():
        if isinstance(store, QdrantEdgeDocumentStore):
            client = store.new_client()
            try:
                if client.collection_exists(store.index):
                    client.get_collection(store.index)
            except (KeyboardInterrupt, SystemExit):
                raise
            # One store keeps no other from being served, and a panic of the engine is no Exception.
            except BaseException as error:
                logger.warning("Requests will fail until this is mended: {error}", error=error)
            finally:
                client.close()
