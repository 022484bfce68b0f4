from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from haystack import Document, component
from haystack.utils import ComponentDevice, Secret

from haystack_integrations.common.rrra import LoadsModel, check_documents, check_positive, unread_tokens
from rrra_haystack.documents.metadata import CODES_KEY, UNREAD_KEY, check_fields, meta_of, text_to_embed
from rrra_haystack.documents.sparse import dimensions, sparse_document
from rrra_haystack.model.codes.kinds import KINDS
from rrra_haystack.pretrained import DEFAULT_MODEL


@component
class RRRADocumentEmbedder(LoadsModel):
    """
    Embeds documents and makes their token codes, both from one forward pass of the encoder.

    The embedding goes into the document's `embedding`, the codes as text into `meta["rrra_codes"]`, so that every
    document store keeps them. `RRRAAdapterRanker` reranks from the codes without running the encoder again.

    A late-interaction model makes token codes alone, and leaves a document the embedding that it has.

    Of a document that is longer than the encoder reads, the rest is neither embedded nor coded. A warning tells how
    many are, and `meta["rrra_unread"]` of such a document how many of its tokens. `RRRADocumentSplitter` in front of
    the embedder makes passages that are read whole.

    ### Usage example

    ```python
    from haystack import Document
    from rrra_haystack import RRRADocumentEmbedder

    embedder = RRRADocumentEmbedder()
    documents = embedder.run([Document(content="The Danube rises in the Black Forest.")])["documents"]
    print(len(documents[0].embedding), len(documents[0].meta["rrra_codes"]))
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
        tokens_per_batch: int = 4096,
        progress_bar: bool = True,
        normalize_embeddings: bool = False,
        meta_fields_to_embed: list[str] | None = None,
        embedding_separator: str = "\n",
        code: Literal["1bit", "2bit", "4bit", "int8"] | None = None,
        sparse: bool = False,
        trust_remote_code: bool = False,
        local_files_only: bool = False,
        truncate_dim: int | None = None,
        model_kwargs: dict[str, Any] | None = None,
        tokenizer_kwargs: dict[str, Any] | None = None,
        config_kwargs: dict[str, Any] | None = None,
        revision: str | None = None,
    ) -> None:
        """
        Creates an RRRADocumentEmbedder component.

        :param model:
            A directory, a Hugging Face model id, the name of a bundled adapter, or any sentence-transformers encoder.
        :param device:
            The device on which the model is loaded. If `None`, the default device is automatically selected.
        :param token:
            The API token to download private models from Hugging Face.
        :param prefix:
            A string to add at the beginning of each document. If `None`, the encoder's own document prompt is used,
            if it has one.
        :param suffix:
            A string to add at the end of each document.
        :param tokens_per_batch:
            The largest number of tokens, padding included, of one forward pass. Takes the place of `batch_size`:
            documents of like length are batched together.
        :param progress_bar:
            If `True`, shows a progress bar when embedding documents.
        :param normalize_embeddings:
            If `True`, the embeddings are scaled to length 1.
        :param meta_fields_to_embed:
            List of metadata fields to embed along with the document text.
        :param embedding_separator:
            Separator used to concatenate the metadata fields to the document text.
        :param code:
            Kind of the token codes: `1bit`, `2bit` or `4bit` (so many bits a dimension), or `int8` (eight). More bits
            are slightly better. If `None`, the model's own kind.
        :param sparse:
            If `True`, documents get a `sparse_embedding` of their words too, for hybrid retrieval. The store must be
            created with `use_sparse_embeddings=True` and `sparse_idf=True`.
        :param trust_remote_code:
            If `False`, allows only Hugging Face verified model architectures.
            If `True`, allows custom models and scripts.
        :param local_files_only:
            If `True`, does not attempt to download the model from Hugging Face Hub and only looks at local files.
        :param truncate_dim:
            The dimension to truncate the embeddings to. `None` does no truncation.
        :param model_kwargs:
            Additional keyword arguments for sentence-transformers when loading the model.
        :param tokenizer_kwargs:
            Additional keyword arguments for the tokenizer when loading the model.
        :param config_kwargs:
            Additional keyword arguments for the configuration when loading the model.
        :param revision:
            The specific model version to use: a branch name, a tag name, or a commit id.

        :raises ValueError:
            If `tokens_per_batch` is not > 0, `code` is unknown, or `meta_fields_to_embed` is a text.
        """
        check_fields(meta_fields_to_embed)
        check_positive(tokens_per_batch, "tokens_per_batch")
        if code not in (None, *KINDS):
            msg = f"code must be {', '.join(map(repr, sorted(KINDS)))} or None, but got {code!r}"
            raise ValueError(msg)
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
        self.tokens_per_batch = tokens_per_batch
        self.progress_bar = progress_bar
        self.normalize_embeddings = normalize_embeddings
        self.meta_fields_to_embed = meta_fields_to_embed or []
        self.embedding_separator = embedding_separator
        self.code = code
        self.sparse = sparse

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, list[Document]]:
        """
        Embeds documents and makes their token codes.

        :param documents:
            Documents to embed.
        :returns:
            A dictionary with the following keys:
            - `documents`: The documents with embeddings, and with token codes in `meta["rrra_codes"]`.

        :raises TypeError:
            If `documents` is not a list of Documents.
        """
        check_documents(
            documents, "RRRADocumentEmbedder", "In case you want to embed a string, please use the RRRAEmbedder."
        )
        if not documents:
            return {"documents": []}
        model = self.loaded_model
        texts = [
            text_to_embed(document, self.meta_fields_to_embed, self.embedding_separator) + self.suffix
            for document in documents
        ]
        embeddings, codes = model.encode_documents(
            texts,
            code=self.code,
            prompt=self.prefix,
            normalize_embeddings=self.normalize_embeddings,
            tokens_per_batch=self.tokens_per_batch,
            show_progress_bar=self.progress_bar,
            contents=[document.content for document in documents],
        )
        read = model.encoder.token_ids(texts) if self.sparse else None
        unread = unread_tokens(model.encoder, texts, self.prefix, read)
        words = (
            [one.sparse_embedding for one in documents]
            if read is None
            else map(sparse_document, dimensions(model.encoder, texts, read))
        )
        embedded = [
            replace(
                document,
                embedding=embedding or document.embedding,
                sparse_embedding=own_words,
                meta=_meta(document, code, unread.get(number)),
            )
            for number, (document, embedding, own_words, code) in enumerate(
                zip(documents, embeddings.tolist(), words, codes, strict=True)
            )
        ]
        return {"documents": embedded}


def _meta(document: Document, code: str, unread: int | None) -> dict[str, Any]:
    kept = {key: value for key, value in meta_of(document).items() if key != UNREAD_KEY}
    return {**kept, CODES_KEY: code, **({UNREAD_KEY: unread} if unread else {})}
