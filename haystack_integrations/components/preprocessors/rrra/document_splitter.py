from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from haystack import Document, component
from haystack.utils import ComponentDevice, Secret

from haystack_integrations.common.rrra import LoadsModel, check_documents, check_positive
from rrra_haystack.documents.cutting import cut, has_word
from rrra_haystack.documents.metadata import check_fields, meta_of, text_to_embed
from rrra_haystack.documents.sections import PAGE_END, PAGE_KEY
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.pretrained import DEFAULT_MODEL

# However long the metadata are that are embedded with a passage, so many tokens of it are read.
_LEAST = 32


@component
class RRRADocumentSplitter(LoadsModel):
    """
    Splits documents into passages that the encoder reads whole.

    Length is counted in the encoder's own tokens, and the metadata that are embedded with a passage count. A passage
    ends with a paragraph or a sentence; a sentence is cut only if it is longer than the encoder reads. Scripts that
    write no spaces are split at their own marks. No passage is without a word.

    A passage has in its metadata the `source_id` of its document, its number `split_id`, the character
    `split_idx_start` at which it begins, and its `page_number`.

    ### Usage example

    ```python
    from haystack import Document
    from rrra_haystack import RRRADocumentSplitter

    splitter = RRRADocumentSplitter()
    text = "The Danube rises in the Black Forest. " * 40
    passages = splitter.run([Document(content=text)])["documents"]
    print([passage.meta["split_idx_start"] for passage in passages])
    ```
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        *,
        split_length: int = 180,
        device: ComponentDevice | None = None,
        token: Secret | None = Secret.from_env_var(["HF_API_TOKEN", "HF_TOKEN"], strict=False),
        prefix: str | None = None,
        suffix: str = "",
        meta_fields_to_embed: list[str] | None = None,
        embedding_separator: str = "\n",
        trust_remote_code: bool = False,
        local_files_only: bool = False,
        truncate_dim: int | None = None,
        model_kwargs: dict[str, Any] | None = None,
        tokenizer_kwargs: dict[str, Any] | None = None,
        config_kwargs: dict[str, Any] | None = None,
        revision: str | None = None,
    ) -> None:
        """
        Creates an RRRADocumentSplitter component.

        :param model:
            The model that embeds the passages: a directory, a Hugging Face model id, the name of a bundled adapter, or
            any sentence-transformers encoder. Components with equal options share one model in a process.
        :param split_length:
            The number of tokens that a passage is to have. To end with a paragraph it may have half as many again, to
            end with a sentence as many as the encoder reads.
        :param device:
            The device on which the model is loaded. If `None`, the default device is automatically selected.
        :param token:
            The API token to download private models from Hugging Face.
        :param prefix:
            The `prefix` of the embedder.
        :param suffix:
            The `suffix` of the embedder.
        :param meta_fields_to_embed:
            The `meta_fields_to_embed` of the embedder: passages are shorter by what is embedded with them.
        :param embedding_separator:
            The `embedding_separator` of the embedder.
        :param trust_remote_code:
            If `False`, allows only Hugging Face verified model architectures.
            If `True`, allows custom models and scripts.
        :param local_files_only:
            If `True`, does not attempt to download the model from Hugging Face Hub and only looks at local files.
        :param truncate_dim:
            The dimension that the embedder truncates the embeddings to.
        :param model_kwargs:
            Additional keyword arguments for sentence-transformers when loading the model.
        :param tokenizer_kwargs:
            Additional keyword arguments for the tokenizer when loading the model.
        :param config_kwargs:
            Additional keyword arguments for the configuration when loading the model.
        :param revision:
            The specific model version to use: a branch name, a tag name, or a commit id.

        :raises ValueError:
            If `split_length` is not > 0, or `meta_fields_to_embed` is a text.
        """
        check_fields(meta_fields_to_embed)
        check_positive(split_length, "split_length")
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
        self.split_length = split_length
        self.prefix = prefix
        self.suffix = suffix
        self.meta_fields_to_embed = meta_fields_to_embed or []
        self.embedding_separator = embedding_separator

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, list[Document]]:
        """
        Splits documents into passages.

        :param documents:
            Documents to split. Those without content, or without a word in it, give no passage.
        :returns:
            A dictionary with the following keys:
            - `documents`: The passages.

        :raises TypeError:
            If `documents` is not a list of Documents.
        """
        check_documents(documents, "RRRADocumentSplitter")
        if not documents:
            return {"documents": []}
        encoder = self.loaded_model.encoder
        return {"documents": [passage for document in documents for passage in self._passages(document, encoder)]}

    def _passages(self, document: Document, encoder: Encoder) -> Iterator[Document]:
        text = document.content or ""
        if not has_word(text):
            return
        known = meta_of(document)
        first = known.get(PAGE_KEY)
        page, counted = first if isinstance(first, int) else 1, 0
        for number, (begin, end) in enumerate(self._cuts(document, text, encoder)):
            page += text.count(PAGE_END, counted, begin)
            counted = begin
            meta = {
                **known,
                "source_id": document.id,
                "parent_id": document.id,
                "split_id": number,
                "split_idx_start": begin,
                PAGE_KEY: page,
            }
            yield Document(content=text[begin:end], meta=meta)

    def _cuts(self, document: Document, text: str, encoder: Encoder) -> Iterator[tuple[int, int]]:
        room = encoder.room(self.prefix)
        if room is None:
            yield from cut(text, encoder.token_offsets(text), self.split_length, len(text) + 1)
            return
        beside = self._embedded(replace(document, content=""))
        (taken,) = encoder.token_ids([beside])
        limit = max(room - len(taken), min(room, _LEAST))
        cuts = list(cut(text, encoder.token_offsets(text), min(self.split_length, limit), limit))
        # Some tokenizers read a part of a text in more tokens than the whole gave it.
        read = encoder.token_ids([self._embedded(replace(document, content=text[begin:end])) for begin, end in cuts])
        for (begin, end), ids in zip(cuts, read, strict=True):
            yield from self._shorter(text[begin:end], begin, limit, len(ids) - room, encoder)

    def _shorter(self, piece: str, begin: int, limit: int, excess: int, encoder: Encoder) -> Iterator[tuple[int, int]]:
        if excess <= 0 or limit <= _LEAST:
            yield begin, begin + len(piece)
            return
        fewer = max(limit - excess, _LEAST)
        for first, last in cut(piece, encoder.token_offsets(piece), fewer, fewer):
            yield begin + first, begin + last

    def _embedded(self, document: Document) -> str:
        return text_to_embed(document, self.meta_fields_to_embed, self.embedding_separator) + self.suffix
