"""RRRAModel: encoder, token codes and adapter as one thing that embeds documents and judges candidates."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from sentence_transformers import MultiVectorEncoder
from torch import Tensor, nn

from rrra_haystack.model.adapter.adapter import RelationAwareAdapter
from rrra_haystack.model.adapter.observation import Judgement
from rrra_haystack.model.codes.batch import CodeBatch, eight_bits
from rrra_haystack.model.codes.codec import TokenCodec
from rrra_haystack.model.codes.content import content_checksum
from rrra_haystack.model.codes.kinds import CodeKind
from rrra_haystack.model.codes.mixed import unpack_any
from rrra_haystack.model.config import RRRAConfig
from rrra_haystack.model.detection import list_features
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.encodings import CandidateEncodings, QueryEncoding, observation_of
from rrra_haystack.model.fingerprint import encoder_fingerprint, weights_fingerprint
from rrra_haystack.model.lexical import DETECTION_FORM, lexical_scores
from rrra_haystack.model.loading import find_files, load_encoder, shared_copy, untrained_config
from rrra_haystack.model.multi_vector import multi_vector_encoder, write_multi_vector
from rrra_haystack.model.packed_linear import forget_packed
from rrra_haystack.model.query_cache import QueryCache
from rrra_haystack.model.saving import found_again, load_weights, own_weights, short_card, upload, write_model
from rrra_haystack.model.scoring import Scores, check_fusion_weight, fused_scores
from rrra_haystack.model.threads import threads_for_list
from rrra_haystack.model.words import NUMBERS, query_word_codes, word_codes
from rrra_haystack.pretrained import DEFAULT_MODEL


class RRRAModel(nn.Module):
    """
    An encoder, its token codes and the adapter that judges candidates from them.

    Its own weights are those of adapter and projection, on the CPU; the encoder's are in ``encoder.transformer``.

    ```python
    from rrra_haystack import RRRAModel

    model = RRRAModel.load("sentence-transformers/all-MiniLM-L6-v2")
    embeddings, codes = model.encode_documents(["The Danube rises in the Black Forest.", "Bread needs yeast."])
    query = model.encode_query("Where does the Danube begin?")
    print(model.score(query, codes).fused)
    ```

    :param encoder: The encoder.
    :param config: Everything else that is set rather than learned.
    """

    def __init__(self, encoder: Encoder, config: RRRAConfig) -> None:
        super().__init__()
        if config.adapter.pooled_dim != encoder.dimension:
            msg = (
                f"The adapter reads pooled embeddings of {config.adapter.pooled_dim} dimensions, but the encoder "
                f"{encoder.name} gives {encoder.dimension}. Load it with the encoder and truncate_dim it was made with."
            )
            raise ValueError(msg)
        self.encoder = encoder
        self.config = config
        self.adapter = RelationAwareAdapter(config.adapter)
        self.projection = (
            nn.Linear(encoder.hidden_size, config.adapter.token_dim, bias=False)
            if config.adapter.token_dim != encoder.hidden_size
            else None
        )
        self.word_rarity: Tensor | None
        own_words = torch.zeros(NUMBERS, dtype=torch.uint8) if config.lexical.language == "corpus" else None
        self.register_buffer("word_rarity", own_words)
        self._queries = QueryCache()
        self.refresh()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # The encoder would stay as it is, and candidates are judged on the CPU in float32.
        if any((to := fn(one.new_empty(0))).dtype != one.dtype or to.device != one.device for one in self.parameters()):
            msg = "An RRRAModel is neither moved nor cast: load it anew with device= or model_kwargs={'dtype': ...}."
            raise TypeError(msg)
        return super()._apply(fn, recurse)

    def refresh(self) -> None:
        """Derive anew what depends on the weights; to be called after they were changed."""
        self.eval()
        forget_packed(self.encoder.transformer)
        self._silent = self.adapter.is_silent
        self._fingerprint = weights_fingerprint(self.encoder, self.projection)
        self._queries.clear()

    @classmethod
    def load(
        cls,
        model: str | Path = DEFAULT_MODEL,
        *,
        device: str | None = None,
        token: str | None = None,
        revision: str | None = None,
        trust_remote_code: bool = False,
        local_files_only: bool = False,
        truncate_dim: int | None = None,
        model_kwargs: dict[str, Any] | None = None,
        tokenizer_kwargs: dict[str, Any] | None = None,
        config_kwargs: dict[str, Any] | None = None,
    ) -> Self:
        """
        Load a model.

        :param model: A directory, a hub id, the name of a bundled adapter, or any plain sentence-transformers encoder
            or late-interaction model (``MultiVectorEncoder``), which then works untrained.
        :param device: A torch device; chosen by sentence-transformers if `None`.
        :param token: Token for private models of the hub.
        :param revision: Branch, tag or commit of a hub model.
        :param trust_remote_code: Run code that a hub model brings along.
        :param local_files_only: Look for hub models in the local cache only.
        :param truncate_dim: Keep this many dimensions of the pooled embedding.
        :param model_kwargs: Passed on to sentence-transformers, as ``{"dtype": torch.float32}``.
        :param tokenizer_kwargs: Passed on to sentence-transformers.
        :param config_kwargs: Passed on to sentence-transformers.
        :raises FileNotFoundError: If `model` is a path and nothing is there.
        :raises ValueError: If the model's files are damaged, of another version, or do not fit together.
        """
        files = find_files(str(model), token, revision, local_files_only=local_files_only)
        encoder = load_encoder(
            files, device=device, token=token, trust_remote_code=trust_remote_code, local_files_only=local_files_only,
            truncate_dim=truncate_dim, model_kwargs=model_kwargs, tokenizer_kwargs=tokenizer_kwargs,
            config_kwargs=config_kwargs,
        )  # fmt: skip
        if files.adapter is None:
            return cls.untrained(encoder)
        config, weights = files.adapter
        loaded = cls(encoder, config)
        load_weights(loaded, weights)
        loaded.refresh()
        return loaded

    @classmethod
    def untrained(cls, encoder: Encoder, *, code: CodeKind = "1bit") -> Self:
        """
        A model whose adapter learned nothing: encoder score, token match and words, fused by the documented default.

        Over a late-interaction model the score is its own MaxSim, as a mean over the query's tokens.

        :param encoder: Any encoder.
        :param code: Kind of the token codes that are written.
        """
        model = cls(encoder, untrained_config(encoder, code))
        if model.projection is not None:
            # The states as they are, filled up with zeros.
            nn.init.eye_(model.projection.weight)
            model.refresh()
        return model

    @classmethod
    def shared(cls, model: str | Path = DEFAULT_MODEL, **options: Any) -> Self:
        """
        Load a model, or return the one that this process already holds with the same options.

        :param model: As for :meth:`load`.
        :param options: As for :meth:`load`.
        """
        return shared_copy(cls.load, cls.__name__, model, options)

    def save(
        self,
        path: str | Path,
        *,
        include_encoder: bool = True,
        dtype: torch.dtype = torch.float32,
        model_card: str | None = None,
        format: Literal["rrra", "multi-vector"] = "rrra",  # noqa: A002  (as other libraries call it)
    ) -> None:
        """
        Write the model to a directory, in one step; a model that is there is replaced.

        :param path: The directory. ``SentenceTransformer(path)`` opens it if the encoder is included.
        :param include_encoder: Write the encoder too. Without it the encoder is looked up at loading: by its name, or
            in the directory of the model that it came with.
        :param dtype: Number format of the adapter's weights on disk.
        :param model_card: Text of its README; a short one is made if `None`.
        :param format: ``multi-vector`` to write what :meth:`to_multi_vector` gives.
        :raises FileExistsError: If something else than a model stands there.
        :raises ValueError: If the encoder is left out, and could not be found again.
        """
        if format == "multi-vector":
            write_multi_vector(path, self.to_multi_vector(), model_card=model_card)
            return
        known: dict[str, Any] = {} if include_encoder else found_again(self.encoder, self.config, path)
        # Weights that run in another format are still those that were loaded.
        known["encoder_fingerprint"] = encoder_fingerprint(self.encoder) or self.config.encoder_fingerprint
        encoder = self.encoder if include_encoder else None
        card = model_card or short_card(self.config, is_trained=not self._silent)
        config = self.config.model_copy(update=known)
        write_model(path, config, own_weights(self, dtype), encoder=encoder, model_card=card)

    def to_multi_vector(self) -> MultiVectorEncoder:
        """
        The token match as a late-interaction model of sentence-transformers: its projection, and no adapter.

        :raises ValueError: If the encoder has routes, prompts or a layer that such a model cannot have.
        """
        return multi_vector_encoder(self.encoder, self.projection)

    def push_to_hub(self, repo_id: str, *, token: str | None = None, private: bool | None = None) -> str:
        """
        Upload the model, encoder included, to the Hugging Face hub.

        :param repo_id: Name of the repository, made if it does not exist.
        :param token: Token that may write to it; the stored one if `None`.
        :param private: Whether a new repository is private.
        :returns: Address of the commit.
        """
        with tempfile.TemporaryDirectory() as folder:
            directory = Path(folder) / "model"
            self.save(directory)
            return upload(directory, repo_id, token=token, private=private)

    def encode_documents(
        self,
        texts: Sequence[str],
        *,
        code: CodeKind | None = None,
        prompt: str | None = None,
        normalize_embeddings: bool = False,
        tokens_per_batch: int = 4096,
        show_progress_bar: bool = False,
        contents: Sequence[str | None] | None = None,
    ) -> tuple[np.ndarray, list[str]]:
        """
        Embed documents and make their token codes, in one forward pass each.

        :param texts: The documents' texts.
        :param code: Kind of the token codes; the model's own if `None`.
        :param prompt: Put before each text instead of the model's document prompt.
        :param normalize_embeddings: Scale the embeddings to length 1.
        :param tokens_per_batch: Upper bound on the tokens of a forward pass, padding included.
        :param show_progress_bar: Show progress and the time left.
        :param contents: The contents that the texts were made of, by which the ranker knows the codes of a document
            whose content was changed; it cannot if `None`.
        :returns: Embeddings, shape ``[n, d]``, float32 (``[n, 0]`` of a late-interaction model), and the codes as
            base64 text, one a document.
        """
        codec = self.codec(code)
        checksums = [content_checksum(content) for content in contents or [None] * len(texts)]
        embeddings = np.empty((len(texts), self.encoder.dimension), dtype=np.float32)
        codes = [""] * len(texts)
        batches = self.encoder.encode(
            texts, task="document", prompt=prompt, tokens_per_batch=tokens_per_batch,
            normalize_embeddings=normalize_embeddings, show_progress_bar=show_progress_bar,
        )  # fmt: skip
        for batch in batches:
            embeddings[batch.indices.numpy()] = batch.pooled.cpu().numpy()
            indices = batch.indices.tolist()
            words, own = [word_codes(texts[index]) for index in indices], [checksums[index] for index in indices]
            records = codec.pack(batch.pooled, self.project(batch.states), batch.lengths, words, own)
            for index, record in zip(indices, records, strict=True):
                codes[index] = record
        return embeddings, codes

    def encode_query(self, text: str, *, prompt: str | None = None) -> QueryEncoding:
        """
        Encode a query. The last 256 queries are remembered, in 128 MB at most.

        :param text: The query.
        :param prompt: Put before it instead of the model's query prompt.
        """
        return self._queries.get((text, prompt), lambda: self._encode_query(text, prompt))

    def _encode_query(self, text: str, prompt: str | None) -> QueryEncoding:
        (batch,) = self.encoder.encode([text], task="query", prompt=prompt)
        return QueryEncoding(
            embedding=batch.pooled[0].cpu(),
            states=self.project(batch.states).cpu(),
            hidden=None if self.config.adapter.query_dim is None else batch.states.float().cpu(),
            words=query_word_codes(text),
        )

    @torch.inference_mode()
    def query_multivector(self, query: QueryEncoding) -> Tensor:
        """
        A query for a vector database that computes MaxSim over dot products itself.

        The token states are in the eight bits of the scorer, and each is scaled by its weight: the sum of the best
        products is the token match. Contrast is left out of the weights, because it depends on the candidates.

        :param query: The encoded query.
        :returns: Shape ``[m, h]``, float32.
        """
        return eight_bits(query.states) * self.token_weights(query)[:, None]

    @torch.inference_mode()
    def token_weights(self, query: QueryEncoding) -> Tensor:
        """
        How much each token of a query counts in the token match, whatever the candidates are.

        :param query: The encoded query.
        :returns: Shape ``[m]``; they sum to 1.
        """
        if not self.config.adapter.observed_context:
            return torch.full((len(query.states),), 1 / max(len(query.states), 1))
        states = nn.functional.normalize(self.adapter.reading(query.states, query.hidden), dim=-1)
        return self.adapter.learned_weights(states)

    def codec(self, kind: CodeKind | None = None) -> TokenCodec:
        """
        The codec that writes and reads this model's token codes.

        :param kind: Kind of the codes; the model's own if `None`.
        """
        shape = self.config.adapter
        return TokenCodec(kind or self.config.code, shape.token_dim, shape.pooled_dim, self._fingerprint)

    def read_codes(self, codes: Sequence[str], names: Sequence[str] | None = None) -> CodeBatch:
        """
        Read the token codes of a candidate list, of whichever kinds they are.

        :param codes: Base64 text, one a document.
        :param names: What to call the documents in errors.
        :raises InvalidCodesError: If one is damaged, truncated, or made by another model.
        """
        return unpack_any(self.codec(), codes, names)

    @torch.inference_mode()
    def score(
        self,
        query: QueryEncoding,
        candidates: CandidateEncodings | Sequence[str],
        *,
        fusion_weight: float | None = None,
    ) -> Scores:
        """
        Judge the candidates of a query.

        :param query: The encoded query.
        :param candidates: Their token codes as text, or read; or their token states as they are.
        :param fusion_weight: The exponent lambda; the model's own if `None`.
        :raises InvalidCodesError: If a code is damaged, truncated, or made by another model.
        :raises ValueError: If `fusion_weight` is negative or not finite.
        """
        weight = self.config.fusion_weight if fusion_weight is None else check_fusion_weight(fusion_weight)
        read = self.read_codes(candidates) if isinstance(candidates, Sequence) else candidates
        judgement = self._judge(query, read)
        adapter = judgement.adapter
        if self.config.lexical_weight:
            words = torch.from_numpy(self.lexical_scores(query.words, read.words, read.word_counts))
            adapter = adapter + self.config.lexical_weight * words
        return fused_scores(judgement, adapter, weight, self.config.fusion_weight, self.config.calibration)

    @torch.inference_mode()
    def false_negatives(
        self, query: QueryEncoding, candidates: CandidateEncodings | Sequence[str], positive: str
    ) -> np.ndarray:
        """
        How probably unlabelled candidates of a query are relevant, given a passage that is labelled so.

        :param query: The encoded query.
        :param candidates: The candidates as :meth:`score` takes them; the positive is not among them.
        :param positive: Token code of the labelled passage.
        :returns: The false-negative probability s_FN of each, shape ``[n]``.
        :raises InvalidCodesError: If a code is damaged, truncated, or made by another model.
        """
        read = self.read_codes(candidates) if isinstance(candidates, Sequence) else candidates
        labelled = self.read_codes([positive])
        words = torch.from_numpy(lexical_scores(labelled.words, read.words, read.word_counts, DETECTION_FORM))
        adapter = self._judge(query, read).adapter
        features = list_features(query.embedding, read.pooled, labelled.pooled[0], adapter, words)
        return self.config.detection.probability(features).numpy()

    def lexical_scores(self, query: np.ndarray, words: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """
        Which share of a query's words and pairs of words candidates have, counted in this model's form.

        :param query: The query's words.
        :param words: The candidates' words, one candidate after the other.
        :param counts: Words of each candidate.
        """
        table = None if self.word_rarity is None else self.word_rarity.numpy()
        return lexical_scores(query, words, counts, self.config.lexical, table)

    def _judge(self, query: QueryEncoding, candidates: CandidateEncodings) -> Judgement:
        # A prompt that fills the encoder leaves words no token, but an embedding.
        if not len(query.states) and not (self.encoder.embeds and len(query.words)):
            return Judgement.of_no_query(len(candidates.pooled))
        observation, silent = observation_of(query, candidates), self._silent or not len(query.states)
        with threads_for_list(int(candidates.segments.lengths.sum())):
            return self.adapter.judge_by_match(observation) if silent else self.adapter(observation)

    @torch.inference_mode()
    def project(self, states: Tensor) -> Tensor:
        """
        Token states as the codes keep them, before quantisation.

        :param states: Shape ``[T, hidden]``.
        :returns: Shape ``[T, h]``, float32.
        """
        states, layer = states.float(), self.projection
        return states if layer is None else nn.functional.linear(states, layer.weight.to(states.device))
