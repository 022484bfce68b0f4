"""What the ranker of the tests is asked."""

from haystack import Document

from rrra_haystack import RRRAAdapterRanker

QUESTION = "Where does the Danube begin?"


def run(ranker: RRRAAdapterRanker, documents: list[Document], **options: object) -> list[Document]:
    return ranker.run(query=QUESTION, documents=documents, **options)["documents"]
