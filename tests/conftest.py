import os

# Before Haystack and the hub's client are imported.
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"

import pytest
from haystack import Document

from rrra_haystack import RRRADocumentEmbedder, RRRAModel

TEXTS = (
    "The Danube rises in the Black Forest and flows for 2,850 kilometres to the Black Sea.",
    "The Rhine rises in the Swiss Alps and flows through Basel, Strasbourg and Cologne to the North Sea.",
    "Bread rises because yeast turns sugar into carbon dioxide.",
    "Sourdough is leavened by wild yeast and lactic acid bacteria, and keeps longer than other bread.",
    "Green tea is steeped at 75 degrees Celsius, because boiling water makes it bitter.",
    "Ganymede is the largest moon of Jupiter and of the whole Solar System.",
    "Titan, the largest moon of Saturn, has lakes of liquid methane.",
    "The Golden Gate Bridge in San Francisco was opened in May 1937.",
    "Brooklyn Bridge joins Manhattan and Brooklyn; it was opened in 1883 and was then the longest of its kind.",
    "A heart attack is treated with aspirin at once, and with surgery to open the blocked artery.",
    "Vitamin C was isolated by Albert Szent-Gyorgyi in 1928; a lack of it causes scurvy.",
    "The treaty that ended the Thirty Years' War was signed in Muenster and Osnabrueck in 1648.",
)


@pytest.fixture(scope="session")
def model() -> RRRAModel:
    return RRRAModel.shared("all-MiniLM-L6-v2")


@pytest.fixture(scope="session")
def documents() -> list[Document]:
    return [Document(content=text, meta={"number": number}) for number, text in enumerate(TEXTS)]


@pytest.fixture(scope="session")
def embedded(documents: list[Document]) -> list[Document]:
    return RRRADocumentEmbedder(progress_bar=False).run(documents)["documents"]
