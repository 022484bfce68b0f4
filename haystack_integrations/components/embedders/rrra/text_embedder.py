from pathlib import Path
from typing import Any

from haystack import component
from haystack.dataclasses import SparseEmbedding
from haystack.utils import ComponentDevice, Secret

from haystack_integrations.common.rrra import EmbeddedQuery, LoadsModel
from rrra_haystack.documents.sparse import sparse_query
from rrra_haystack.pretrained import DEFAULT_MODEL


@component
class RRRAEmbedder(LoadsModel):
    """
    Embeds a query with an RRRA model.

    The embedding is the one that the model's encoder gives in sentence-transformers; any store that was filled by
    `RRRADocumentEmbedder`, or by another embedder with the same encoder, can be searched with it. An
    `RRRAAdapterRanker` in the same process reuses the query's encoding.

    ### Usage example

    ```python
    from rrra_haystack import RRRAEmbedder

    embedder = RRRAEmbedder()
    result = embedder.run("Where does the Danube begin?")
    print(len(result["embedding"]))
    ```
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        *,
        device: ComponentDevice | None = None,
        token: Secret | None = Secret.from_env_var(["HF_API_TOKEN", "HF_TOKEN"], strict=False),
        prefix: str | None = None,
        suffix: str = "",
        normalize_embeddings: bool = False,
        sparse: bool = False,
        multivector: bool = False,
        as_one: bool = False,
        trust_remote_code: bool = False,
        local_files_only: bool = False,
        truncate_dim: int | None = None,
        model_kwargs: dict[str, Any] | None = None,
        tokenizer_kwargs: dict[str, Any] | None = None,
        config_kwargs: dict[str, Any] | None = None,
        revision: str | None = None,
    ) -> None:
        """
        Creates an RRRAEmbedder component.

        :param model:
            A directory, a Hugging Face model id, the name of a bundled adapter, or any sentence-transformers encoder.
        :param device:
            The device on which the model is loaded. If `None`, the default device is automatically selected.
        :param token:
            The API token to download private models from Hugging Face.
        :param prefix:
            A string to add at the beginning of the query. If `None`, the encoder's own query prompt is used, if it
            has one.
        :param suffix:
            A string to add at the end of the query.
        :param normalize_embeddings:
            If `True`, the embedding is scaled to length 1.
        :param sparse:
            If `True`, the query gets a `sparse_embedding` of its words too, for hybrid retrieval from documents that
            were embedded with `sparse=True`.
        :param multivector:
            If `True`, the query gets a `multivector` of its tokens too, for a Qdrant that holds the documents' tokens
            in a multivector; see `rrra_haystack.qdrant.multivectors`.
        :param as_one:
            If `True`, the only output is `query`, which holds all of these; connect it to `query_embedding` of an
            `RRRARetriever`. Haystack takes milliseconds to copy the numbers of a list from one component to the next.
        :param trust_remote_code:
            If `False`, allows only Hugging Face verified model architectures.
            If `True`, allows custom models and scripts.
        :param local_files_only:
            If `True`, does not attempt to download the model from Hugging Face Hub and only looks at local files.
        :param truncate_dim:
            The dimension to truncate the embedding to. `None` does no truncation.
        :param model_kwargs:
            Additional keyword arguments for sentence-transformers when loading the model.
        :param tokenizer_kwargs:
            Additional keyword arguments for the tokenizer when loading the model.
        :param config_kwargs:
            Additional keyword arguments for the configuration when loading the model.
        :param revision:
            The specific model version to use: a branch name, a tag name, or a commit id.
        """
        LoadsModel.__init__(
            self,
            model=model,
            device=device,
            token=token,
            revision=revision,
            trust_remote_code=trust_remote_code,
            local_files_only=local_files_only,
            truncate_dim=truncate_dim,
            model_kwargs=model_kwargs,
            tokenizer_kwargs=tokenizer_kwargs,
            config_kwargs=config_kwargs,
        )
        self.prefix = prefix
        self.suffix = suffix
        self.normalize_embeddings = normalize_embeddings
        self.sparse = sparse
        self.multivector = multivector
        self.as_one = as_one
        # An output that nobody consumes would stand among the pipeline's results.
        outputs: dict[str, Any] = {"embedding": list[float]} | ({"sparse_embedding": SparseEmbedding} if sparse else {})
        outputs |= {"multivector": list[list[float]]} if multivector else {}
        if as_one:
            outputs = {"query": EmbeddedQuery}
        component.set_output_types(self, **outputs)

    def run(self, text: str) -> dict[str, Any]:
        """
        Embeds a query.

        :param text:
            The query.
        :returns:
            A dictionary with the following keys:
            - `embedding`: The embedding of the query.
            - `sparse_embedding`: Its words, with `sparse=True` alone.
            - `multivector`: Its tokens, weighted, with `multivector=True` alone.
            - `query`: All of these in one object, in the place of them, with `as_one=True`.

        :raises TypeError:
            If `text` is not a string.
        :raises ValueError:
            If the model is a late-interaction model, which has no embedding.
        """
        if not isinstance(text, str):
            msg = (
                "RRRAEmbedder expects a string as input. "
                "In case you want to embed a list of Documents, please use the RRRADocumentEmbedder."
            )
            raise TypeError(msg)
        model = self.loaded_model
        if not model.encoder.embeds:
            msg = (
                f"{model.encoder.name} is a late-interaction model and gives no embedding of a query to retrieve by: "
                "retrieve with another embedder's embedding or with BM25, and give this model to RRRAAdapterRanker."
            )
            raise ValueError(msg)
        query = model.encode_query(text + self.suffix, prompt=self.prefix)
        embedding = query.embedding
        if self.normalize_embeddings:
            embedding = embedding / embedding.norm().clamp_min(1e-12)
        outputs: dict[str, Any] = {"embedding": embedding.tolist()}
        if self.sparse:
            outputs["sparse_embedding"] = sparse_query(model.encoder, text)
        if self.multivector:
            outputs["multivector"] = model.query_multivector(query).tolist()
        return {"query": EmbeddedQuery(**outputs)} if self.as_one else outputs
