from dataclasses import asdict, dataclass
from typing import Any

from haystack.dataclasses import SparseEmbedding


@dataclass(frozen=True)
class EmbeddedQuery:
    """
    A query with all that it is searched by.

    Between components, Haystack looks at each number of a list and asks whether it is a component, which takes
    milliseconds. An object is copied as a whole.

    :param embedding:
        Its embedding.
    :param sparse_embedding:
        Its words, if it is searched by them too.
    :param multivector:
        Its tokens, weighted, if candidates are put in order by token match.
    """

    embedding: list[float]
    sparse_embedding: SparseEmbedding | None = None
    multivector: list[list[float]] | None = None

    def to_dict(self) -> dict[str, Any]:
        """
        Serializes the query to a dictionary.

        :returns:
            Dictionary with serialized data.
        """
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "EmbeddedQuery":
        """
        Deserializes a query from a dictionary.

        :param data:
            Dictionary to deserialize from.
        :returns:
            Deserialized query.
        """
        sparse = data.get("sparse_embedding")
        return cls(**{**data, "sparse_embedding": None if sparse is None else SparseEmbedding.from_dict(sparse)})
