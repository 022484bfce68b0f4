from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

from haystack import Document, component, logging
from haystack.utils import ComponentDevice, Secret

from haystack_integrations.common.rrra import (
    LoadsModel,
    check_documents,
    check_positive,
    check_threshold,
    options_of,
    unread_tokens,
)
from rrra_haystack.documents.highlights import find_highlights
from rrra_haystack.documents.metadata import (
    CODES_KEY,
    HIGHLIGHTS_KEY,
    SCORES_KEY,
    check_fields,
    meta_of,
    text_to_embed,
)
from rrra_haystack.documents.token_places import EmbeddedText
from rrra_haystack.model.codes.batch import CodeBatch
from rrra_haystack.model.codes.content import of_other_contents
from rrra_haystack.model.codes.record import kind_of
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.model.scoring import check_fusion_weight
from rrra_haystack.pretrained import DEFAULT_MODEL

logger = logging.getLogger(__name__)


@component
class RRRAAdapterRanker(LoadsModel):
    """
    Reranks documents from any retriever of any document store with an RRRA adapter.

    The adapter reads the token codes that `RRRADocumentEmbedder` left in `meta["rrra_codes"]`, so a hundred documents
    are reranked in milliseconds. Documents without codes, and those whose content is no longer the one that their codes
    were made of, are encoded on the fly.

    Each returned document carries in `meta["rrra"]` its `base_score` (the encoder's), its `adapter_score` and its
    `relevance_probability`; its `score` is the reranking score, and the codes are taken out, unless `return_codes` is
    set.

    ### Usage example

    ```python
    from haystack import Document
    from rrra_haystack import RRRAAdapterRanker

    documents = [Document(content="Bread needs yeast."), Document(content="The Danube rises in the Black Forest.")]
    ranker = RRRAAdapterRanker(top_k=1)
    result = ranker.run(query="Where does the Danube begin?", documents=documents)
    print(result["documents"][0].content, result["documents"][0].meta["rrra"])
    ```
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        *,
        device: ComponentDevice | None = None,
        token: Secret | None = Secret.from_env_var(["HF_API_TOKEN", "HF_TOKEN"], strict=False),
        top_k: int = 10,
        fusion_weight: float | None = None,
        query_prefix: str | None = None,
        query_suffix: str = "",
        document_prefix: str | None = None,
        document_suffix: str = "",
        meta_fields_to_embed: list[str] | None = None,
        embedding_separator: str = "\n",
        scale_score: bool = False,
        score_threshold: float | None = None,
        relevance_threshold: float | None = None,
        highlights: bool = False,
        return_codes: bool = False,
        trust_remote_code: bool = False,
        local_files_only: bool = False,
        truncate_dim: int | None = None,
        model_kwargs: dict[str, Any] | None = None,
        tokenizer_kwargs: dict[str, Any] | None = None,
        config_kwargs: dict[str, Any] | None = None,
        revision: str | None = None,
    ) -> None:
        """
        Creates an RRRAAdapterRanker component.

        :param model:
            The model that made the codes: a directory, a Hugging Face model id, the name of a bundled adapter, or any
            sentence-transformers encoder.
        :param device:
            The device on which the model is loaded. If `None`, the default device is automatically selected.
        :param token:
            The API token to download private models from Hugging Face.
        :param top_k:
            The maximum number of documents to return per query.
        :param fusion_weight:
            How much the adapter counts beside the encoder: the exponent in
            `s_base * s_adapter ** fusion_weight`. 0 keeps the encoder's order. If `None`, the model's own.
        :param query_prefix:
            A string to add at the beginning of the query. If `None`, the encoder's own query prompt is used, if it
            has one.
        :param query_suffix:
            A string to add at the end of the query.
        :param document_prefix:
            A string to add at the beginning of each document without codes. If `None`, the encoder's own document
            prompt is used, if it has one.
        :param document_suffix:
            A string to add at the end of each document without codes.
        :param meta_fields_to_embed:
            List of metadata fields to embed with each document without codes.
        :param embedding_separator:
            Separator to concatenate metadata fields to such a document.
        :param scale_score:
            If `True`, scores are reranking scores brought between 0 and 1 by the model's calibration, without the
            outcomes that a trained adapter predicts; `relevance_probability` is the calibrated probability.
            If `False`, they are reranking scores: a weighted mean of base and adapter score, which may exceed 1.
            The order is the same.
        :param score_threshold:
            Use it to return documents with a score above this threshold only. A score depends on the other documents
            of its list.
        :param relevance_threshold:
            Use it to return documents with a `relevance_probability` of at least this only. It is calibrated, so that
            one threshold does for all queries.
        :param highlights:
            If `True`, each returned document carries in `meta["rrra"]["highlights"]` the sentences that matched the
            query, best first, three at most: `start` and `end` in the content, `text` and `score`.
        :param return_codes:
            If `True`, returned documents keep their token codes, for another ranker behind this one, which would
            otherwise encode them at every query.
        :param trust_remote_code:
            If `False`, allows only Hugging Face verified model architectures.
            If `True`, allows custom models and scripts.
        :param local_files_only:
            If `True`, does not attempt to download the model from Hugging Face Hub and only looks at local files.
        :param truncate_dim:
            The dimension that the embeddings were truncated to when the codes were made.
        :param model_kwargs:
            Additional keyword arguments for sentence-transformers when loading the model.
        :param tokenizer_kwargs:
            Additional keyword arguments for the tokenizer when loading the model.
        :param config_kwargs:
            Additional keyword arguments for the configuration when loading the model.
        :param revision:
            The specific model version to use: a branch name, a tag name, or a commit id.

        :raises ValueError:
            If `top_k` is no whole number > 0, `fusion_weight` is negative, `score_threshold` is no finite number,
            `relevance_threshold` is not between 0 and 1, or `meta_fields_to_embed` is a text.
        """
        check_fields(meta_fields_to_embed)
        _check_numbers(top_k, score_threshold, relevance_threshold)
        if fusion_weight is not None:
            check_fusion_weight(fusion_weight)
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
        self.top_k = top_k
        self.fusion_weight = fusion_weight
        self.query_prefix = query_prefix
        self.query_suffix = query_suffix
        self.document_prefix = document_prefix
        self.document_suffix = document_suffix
        self.meta_fields_to_embed = meta_fields_to_embed or []
        self.embedding_separator = embedding_separator
        self.scale_score = scale_score
        self.score_threshold = score_threshold
        self.relevance_threshold = relevance_threshold
        self.highlights = highlights
        self.return_codes = return_codes
        self._warned_of_missing_codes = False
        self._warned_of_changed_contents = False
        self._warned_of_unread = False

    @component.output_types(documents=list[Document])
    def run(
        self,
        *,
        query: str,
        documents: list[Document],
        top_k: int | None = None,
        fusion_weight: float | None = None,
        scale_score: bool | None = None,
        score_threshold: float | None = None,
        relevance_threshold: float | None = None,
        highlights: bool | None = None,
    ) -> dict[str, list[Document]]:
        """
        Reranks documents.

        Before ranking, documents are deduplicated by their id, retaining only the document with the highest score
        if a score is present; it has the token codes of any copy with its content.

        :param query:
            The query. Where the encoder reads no token of it, as of an empty one, all documents score 0 and keep
            their order.
        :param documents:
            The documents to be reranked.
        :param top_k:
            The maximum number of documents to return. If set, overrides the value set at initialization.
        :param fusion_weight:
            How much the adapter counts. If set, overrides the value set at initialization.
        :param scale_score:
            Whether scores are brought between 0 and 1. If set, overrides the value set at initialization.
        :param score_threshold:
            Use it to return documents only with a score above this threshold.
            If set, overrides the value set at initialization.
        :param relevance_threshold:
            Use it to return documents with a `relevance_probability` of at least this only.
            If set, overrides the value set at initialization.
        :param highlights:
            Whether documents carry the sentences that matched. If set, overrides the value set at initialization.
        :returns:
            A dictionary with the following keys:
            - `documents`: The documents, from the most to the least relevant.

        :raises TypeError:
            If `query` is not a string, or `documents` is not a list of Documents.
        :raises ValueError:
            If `top_k` is no whole number > 0, `fusion_weight` is negative, `score_threshold` is no finite number,
            `relevance_threshold` is not between 0 and 1, or the token codes of a document are damaged or were made by
            another model.
        """
        options = options_of(
            self, top_k=top_k, fusion_weight=fusion_weight, scale_score=scale_score, score_threshold=score_threshold,
            relevance_threshold=relevance_threshold, highlights=highlights,
        )  # fmt: skip
        _check_numbers(options["top_k"], options["score_threshold"], options["relevance_threshold"])
        if not isinstance(query, str):
            msg = f"RRRAAdapterRanker expects a string as query, but got {type(query).__name__}."
            raise TypeError(msg)
        check_documents(documents, "RRRAAdapterRanker")
        if not documents:
            return {"documents": []}
        model = self.loaded_model
        documents = _deduplicated(documents)
        encoding = model.encode_query(query + self.query_suffix, prompt=self.query_prefix)
        batch = self._read(documents, model)
        scores = model.score(encoding, batch, fusion_weight=options["fusion_weight"])

        reported = scores.scaled if options["scale_score"] else scores.fused
        # A stable sort of equal scores keeps the retriever's order.
        order = (-scores.fused).argsort(kind="stable")
        if (threshold := options["score_threshold"]) is not None:
            order = order[reported[order] >= threshold]
        if (threshold := options["relevance_threshold"]) is not None:
            order = order[scores.relevance[order] >= threshold]
        order = order[: options["top_k"]]
        found = {}
        if options["highlights"]:
            texts = self._texts(documents, order.tolist())
            found = find_highlights(model, encoding, batch, texts, self.document_prefix, scores.matching)
        ranked = []
        for i in order.tolist():
            meta = {key: value for key, value in meta_of(documents[i]).items() if self.return_codes or key != CODES_KEY}
            meta[SCORES_KEY] = {
                "base_score": float(scores.base[i]),
                "adapter_score": float(scores.adapter[i]),
                "relevance_probability": float(scores.relevance[i]),
                **({HIGHLIGHTS_KEY: found[i]} if options["highlights"] else {}),
            }
            ranked.append(replace(documents[i], score=float(reported[i]), meta=meta))
        return {"documents": ranked}

    def _read(self, documents: list[Document], model: RRRAModel) -> CodeBatch:
        """The documents' token codes; those that have none, or codes of another content, are encoded now."""
        codes: list[Any] = [meta_of(document).get(CODES_KEY) for document in documents]
        names = [document.id for document in documents]
        missing = [i for i, code in enumerate(codes) if code is None]
        wanting = self._with_text(missing, documents)
        if wanting and not self._warned_of_missing_codes:
            self._warned_of_missing_codes = True
            logger.warning(
                "{missing} of {total} documents have no token codes and are encoded now, which takes time at every "
                "query. To avoid it, index them with RRRADocumentEmbedder, or add codes to a store with 'rrra enrich'.",
                missing=len(wanting),
                total=len(documents),
            )
        codes = self._encoded(missing, documents, codes, model)
        batch = model.read_codes(codes, names)
        changed = of_other_contents(batch.contents, [document.content for document in documents])
        if not changed:
            return batch
        outdated = self._with_text(changed, documents)
        if outdated and not self._warned_of_changed_contents:
            self._warned_of_changed_contents = True
            logger.warning(
                "{changed} of {total} documents, as {first}, have token codes of another content than they have now, "
                "and are encoded now, which takes time at every query. Add their codes anew with 'rrra enrich', or "
                "index them with RRRADocumentEmbedder behind whatever splits or changes contents.",
                changed=len(outdated),
                total=len(documents),
                first=names[outdated[0]],
            )
        return model.read_codes(self._encoded(changed, documents, codes, model), names)

    def _with_text(self, numbers: list[int], documents: list[Document]) -> list[int]:
        """Those of some documents that have a text; `rrra enrich` codes no others."""
        return [i for i in numbers if self._text(documents[i])]

    def _texts(self, documents: list[Document], numbers: list[int]) -> dict[int, EmbeddedText]:
        """Some documents as they are embedded, by their numbers."""
        texts = {}
        for number in numbers:
            content = documents[number].content or ""
            text = self._text(documents[number])
            texts[number] = EmbeddedText(text[: len(text) - len(content)], content, self.document_suffix)
        return texts

    def _text(self, document: Document) -> str:
        return text_to_embed(document, self.meta_fields_to_embed, self.embedding_separator)

    def _encoded(self, wanting: list[int], documents: list[Document], codes: list[Any], model: RRRAModel) -> list[Any]:
        """Codes, with new ones for some documents."""
        if not wanting:
            return codes
        texts = [self._text(documents[i]) + self.document_suffix for i in wanting]
        # Once, so that long texts are not read twice at every query.
        if not self._warned_of_unread:
            self._warned_of_unread = bool(unread_tokens(model.encoder, texts, self.document_prefix))
        kinds = {kind_of(code) for code in codes if isinstance(code, str)}
        kind = kinds.pop() if len(kinds) == 1 else None
        made = dict(zip(wanting, model.encode_documents(texts, code=kind, prompt=self.document_prefix)[1], strict=True))
        return [made.get(i, code) for i, code in enumerate(codes)]


def _check_numbers(top_k: int, score_threshold: float | None, relevance_threshold: float | None) -> None:
    check_positive(top_k)
    check_threshold(score_threshold)
    check_threshold(relevance_threshold, "relevance_threshold", 0, 1)


def _deduplicated(documents: list[Document]) -> list[Document]:
    """Each document once, where it stands first, as its copy with the highest score, with the codes of any copy."""
    best: dict[str, Document] = {}
    coded: dict[tuple[str, str | None], Any] = {}
    for document in documents:
        if document.id not in best or _score(document) > _score(best[document.id]):
            best[document.id] = document
        if (codes := meta_of(document).get(CODES_KEY)) is not None:
            coded.setdefault((document.id, document.content), codes)
    # A BM25 score, which is the higher one, may come from a store without codes.
    return [_with_codes(document, coded.get((document.id, document.content))) for document in best.values()]


def _with_codes(document: Document, codes: Any) -> Document:
    meta = meta_of(document)
    if codes is None or meta.get(CODES_KEY) is not None:
        return document
    return replace(document, meta={**meta, CODES_KEY: codes})


def _score(document: Document) -> float:
    return -inf if document.score is None else document.score
