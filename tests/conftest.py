import gc
import os
from collections.abc import Generator
from typing import TYPE_CHECKING

# Before Haystack and the hub's client are imported.
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
# Wide enough for the paths of temporary folders.
os.environ["COLUMNS"] = "200"
if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores: threads of one would wait for those of another.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

if TYPE_CHECKING:
    # Imported by the fixtures alone: the process that hands the tests out reads this file too.
    from haystack import Document

    from rrra_haystack import RRRAModel


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported stays: to look through it for garbage takes a third of the time."""
    gc.disable()
    collected = yield
    gc.freeze()
    gc.enable()
    return collected


@pytest.fixture(scope="session")
def model() -> "RRRAModel":
    from rrra_haystack import RRRAModel

    return RRRAModel.shared("all-MiniLM-L6-v2")


@pytest.fixture(scope="session")
def documents() -> "list[Document]":
    from haystack import Document
    from texts import TEXTS

    return [Document(content=text, meta={"number": number}) for number, text in enumerate(TEXTS)]


@pytest.fixture(scope="session")
def embedded(documents: "list[Document]") -> "list[Document]":
    from rrra_haystack import RRRADocumentEmbedder

    return RRRADocumentEmbedder(progress_bar=False).run(documents)["documents"]
