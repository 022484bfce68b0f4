import os

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
from haystack import Document
from texts import TEXTS

from rrra_haystack import RRRADocumentEmbedder, RRRAModel


@pytest.fixture(scope="session")
def model() -> RRRAModel:
    return RRRAModel.shared("all-MiniLM-L6-v2")


@pytest.fixture(scope="session")
def documents() -> list[Document]:
    return [Document(content=text, meta={"number": number}) for number, text in enumerate(TEXTS)]


@pytest.fixture(scope="session")
def embedded(documents: list[Document]) -> list[Document]:
    return RRRADocumentEmbedder(progress_bar=False).run(documents)["documents"]
