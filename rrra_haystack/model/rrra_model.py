"""RRRAModel: encoder, token codes and adapter as one thing that embeds documents and judges candidates."""

import json
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast
from weakref import WeakValueDictionary

import numpy as np
import pybase64
import torch
from huggingface_hub import HfApi
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rrra_haystack.files import atomic_directory
from rrra_haystack.model.adapter.adapter import RelationAwareAdapter
from rrra_haystack.model.adapter.observation import Judgement, Observation
from rrra_haystack.model.adapter.parts import AdapterConfig
from rrra_haystack.model.codes.batch import CodeBatch, eight_bits
from rrra_haystack.model.codes.codec import TokenCodec
from rrra_haystack.model.codes.kinds import CodeKind
from rrra_haystack.model.codes.record import kind_of
from rrra_haystack.model.config import CONFIG, WEIGHTS, RRRAConfig, read_config
from rrra_haystack.model.detection import list_features
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.fingerprint import fingerprint
from rrra_haystack.model.loading import find_directory
from rrra_haystack.model.scoring import check_fusion_weight, reranking_score
from rrra_haystack.model.words import lexical_scores, query_word_codes, word_codes
from rrra_haystack.pretrained import bundled, resolve_encoder

DEFAULT_MODEL = "rrra-minilm-l6"
_QUERIES_KEPT = 256
# Chosen on the dev splits of four sets; docs/untrained.md says how.
_UNTRAINED_LEXICAL_WEIGHT = 0.1


@dataclass(frozen=True)
class QueryEncoding:
    """
    A query as the encoder sees it.

    :param embedding: Pooled embedding, shape ``[d]``, float32, on the CPU.
    :param states: Projected token states, shape ``[m, h]``, float32, on the CPU.
    :param hidden: Token states before projection, shape ``[m, hidden]``, float32, on the CPU.
    :param words: The query's words (:func:`~rrra_haystack.model.words.query_word_codes`), shape ``[u]``, uint16.
    """

    embedding: Tensor
    states: Tensor
    hidden: Tensor
    words: np.ndarray


@dataclass(frozen=True)
class Scores:
    """
    What a model says of the n candidates of a query, each of shape ``[n]``, float32.

    :param base: Encoder score: cosine of the pooled embeddings.
    :param adapter: Adapter score, to which the words in common have added.
    :param fused: Reranking score, which orders the candidates.
    :param scaled: The same, brought between 0 and 1 by the calibration.
    :param relevance: Probability of relevance.
    """

    base: np.ndarray
    adapter: np.ndarray
    fused: np.ndarray
    scaled: np.ndarray
    relevance: np.ndarray


class RRRAModel(nn.Module):
    """
    An encoder, its token codes and the adapter that judges candidates from them.

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
        self._queries: OrderedDict[tuple[str, str | None], QueryEncoding] = OrderedDict()
        self._lock = threading.Lock()
        self.refresh()

    def refresh(self) -> None:
        """Derive anew what depends on the weights; to be called after they were changed."""
        self.eval()
        self._silent = self.adapter.is_silent
        self._fingerprint = self._weights_fingerprint()
        with self._lock:
            self._queries.clear()

    # --- making, loading, saving ---

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

        :param model: A directory, a hub id, the name of a bundled adapter, or any plain sentence-transformers encoder,
            which then works untrained.
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
        directory = find_directory(str(model), token, revision, local_files_only=local_files_only)
        config = read_config(directory) if directory is not None else None
        if config is None and bundled(str(model)) is not None:
            msg = f"{model} is a reader, not a retriever's model. Give it to RRRAReader."
            raise ValueError(msg)
        if directory is not None and (config is None or (directory / "modules.json").exists()):
            source, encoder_revision = str(directory), None
        elif config is not None:
            source, encoder_revision = config.encoder, config.revision
        else:
            source, encoder_revision = str(model), revision
        try:
            encoder = Encoder(
                source,
                device=device,
                layer=config.layer if config is not None else -1,
                token=token,
                revision=encoder_revision,
                trust_remote_code=trust_remote_code,
                local_files_only=local_files_only,
                truncate_dim=truncate_dim,
                model_kwargs=model_kwargs,
                tokenizer_kwargs=tokenizer_kwargs,
                config_kwargs=config_kwargs,
            )
        except SafetensorError as error:
            msg = f"The weights of {source} are damaged ({error}). Copy or download the model again."
            raise ValueError(msg) from None
        encoder.name = config.encoder if config is not None else str(model)
        if config is None or directory is None:
            return cls.untrained(encoder)
        loaded = cls(encoder, config)
        loaded._load_weights(directory / WEIGHTS)
        return loaded

    @classmethod
    def untrained(cls, encoder: Encoder, *, code: CodeKind = "1bit") -> Self:
        """
        A model whose adapter learned nothing: encoder score, token match and words, fused by the documented default.

        :param encoder: Any encoder.
        :param code: Kind of the token codes that are written.
        """
        adapter = AdapterConfig(pooled_dim=encoder.dimension, token_dim=encoder.hidden_size)
        config = RRRAConfig(
            encoder=encoder.name,
            layer=encoder.layer,
            code=code,
            lexical_weight=_UNTRAINED_LEXICAL_WEIGHT,
            adapter=adapter,
        )
        return cls(encoder, config)

    @classmethod
    def shared(cls, model: str | Path = DEFAULT_MODEL, **options: Any) -> Self:
        """
        Load a model, or return the one that this process already holds with the same options.

        :param model: As for :meth:`load`.
        :param options: As for :meth:`load`.
        """
        given = {name: value for name, value in options.items() if value is not None and value is not False}
        key = (cls.__name__, resolve_encoder(model), json.dumps(given, sort_keys=True, default=repr))
        with _SHARED_LOCK:
            held = _SHARED.get(key)
            if held is None:
                held = cls.load(model, **options)
                _SHARED[key] = held
            return cast("Self", held)

    def save(
        self,
        path: str | Path,
        *,
        include_encoder: bool = True,
        dtype: torch.dtype = torch.float32,
        model_card: str | None = None,
    ) -> None:
        """
        Write the model to a directory, in one step; a directory that is there is replaced.

        :param path: The directory. ``SentenceTransformer(path)`` opens it if the encoder is included.
        :param include_encoder: Write the encoder too. Without it the encoder is looked up by its name at loading.
        :param dtype: Number format of the adapter's weights on disk.
        :param model_card: Text of its README; a short one is made if `None`.
        """
        with atomic_directory(path) as work:
            if include_encoder:
                self.encoder.save(work)
            (work / "rrra").mkdir()
            (work / CONFIG).write_text(self.config.model_dump_json(indent=2) + "\n", encoding="utf-8")
            save_file({name: tensor.to(dtype) for name, tensor in self._own_weights().items()}, work / WEIGHTS)
            (work / "README.md").write_text(model_card or self._model_card(), encoding="utf-8")

    def push_to_hub(self, repo_id: str, *, token: str | None = None, private: bool | None = None) -> str:
        """
        Upload the model, encoder included, to the Hugging Face hub.

        :param repo_id: Name of the repository, made if it does not exist.
        :param token: Token that may write to it; the stored one if `None`.
        :param private: Whether a new repository is private.
        :returns: Address of the commit.
        """
        api = HfApi(token=token)
        api.create_repo(repo_id, private=private, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            self.save(Path(folder) / "model")
            commit = api.upload_folder(
                repo_id=repo_id, folder_path=Path(folder) / "model", commit_message="Upload RRRA model"
            )
        return str(commit.commit_url)

    # --- use ---

    def encode_documents(
        self,
        texts: Sequence[str],
        *,
        code: CodeKind | None = None,
        prompt: str | None = None,
        normalize_embeddings: bool = False,
        tokens_per_batch: int = 4096,
        show_progress_bar: bool = False,
    ) -> tuple[np.ndarray, list[str]]:
        """
        Embed documents and make their token codes, in one forward pass each.

        :param texts: The documents' texts.
        :param code: Kind of the token codes; the model's own if `None`.
        :param prompt: Put before each text instead of the model's document prompt.
        :param normalize_embeddings: Scale the embeddings to length 1.
        :param tokens_per_batch: Upper bound on the tokens of a forward pass, padding included.
        :param show_progress_bar: Show progress and the time left.
        :returns: Embeddings, shape ``[n, d]``, float32, and the codes as base64 text, one a document.
        """
        codec = self.codec(code)
        embeddings = np.empty((len(texts), self.encoder.dimension), dtype=np.float32)
        codes = [""] * len(texts)
        batches = self.encoder.encode(
            texts,
            task="document",
            prompt=prompt,
            tokens_per_batch=tokens_per_batch,
            normalize_embeddings=normalize_embeddings,
            show_progress_bar=show_progress_bar,
        )
        for batch in batches:
            embeddings[batch.indices.numpy()] = batch.pooled.cpu().numpy()
            indices = batch.indices.tolist()
            words = [word_codes(texts[index]) for index in indices]
            records = codec.pack(batch.pooled, self.project(batch.states), batch.lengths, words)
            for index, record in zip(indices, records, strict=True):
                codes[index] = pybase64.b64encode_as_string(record)
        return embeddings, codes

    def encode_query(self, text: str, *, prompt: str | None = None) -> QueryEncoding:
        """
        Encode a query. The last 256 queries are remembered.

        :param text: The query.
        :param prompt: Put before it instead of the model's query prompt.
        """
        key = (text, prompt)
        with self._lock:
            if key in self._queries:
                self._queries.move_to_end(key)
                return self._queries[key]
        (batch,) = self.encoder.encode([text], task="query", prompt=prompt)
        encoding = QueryEncoding(
            embedding=batch.pooled[0].cpu(),
            states=self.project(batch.states).cpu(),
            hidden=batch.states.float().cpu(),
            words=query_word_codes(text),
        )
        with self._lock:
            self._queries[key] = encoding
            while len(self._queries) > _QUERIES_KEPT:
                self._queries.popitem(last=False)
        return encoding

    @torch.inference_mode()
    def query_multivector(self, query: QueryEncoding) -> Tensor:
        """
        A query for a vector database that computes MaxSim over dot products itself.

        The token states are in the eight bits of the scorer, and each is scaled by its weight: the sum of the best
        products is the token match. Contrast is left out of the weights, because it depends on the candidates.

        :param query: The encoded query.
        :returns: Shape ``[m, h]``, float32.
        """
        tokens = eight_bits(query.states)
        if not len(tokens):
            return tokens
        if not self.config.adapter.observed_context:
            return tokens / len(tokens)
        states = query.states if self.config.adapter.query_dim is None else query.hidden
        return tokens * self.adapter.token_weight(nn.functional.normalize(states, dim=-1)).softmax(dim=0)

    def codec(self, kind: CodeKind | None = None) -> TokenCodec:
        """
        The codec that writes and reads this model's token codes.

        :param kind: Kind of the codes; the model's own if `None`.
        """
        return TokenCodec(
            kind=self.config.code if kind is None else kind,
            token_dim=self.config.adapter.token_dim,
            pooled_dim=self.config.adapter.pooled_dim,
            fingerprint=self._fingerprint,
        )

    def read_codes(self, codes: Sequence[str], names: Sequence[str] | None = None) -> CodeBatch:
        """
        Read the token codes of a candidate list, of whichever kind they are.

        :param codes: Base64 text, one a document.
        :param names: What to call the documents in errors.
        :raises InvalidCodesError: If one is damaged, truncated, or made by another model.
        """
        return self.codec(kind_of(codes[0]) if codes else None).unpack(codes, names)

    @torch.inference_mode()
    def score(
        self,
        query: QueryEncoding,
        candidates: CodeBatch | Sequence[str],
        *,
        fusion_weight: float | None = None,
    ) -> Scores:
        """
        Judge the candidates of a query.

        :param query: The encoded query.
        :param candidates: Their token codes, read or as text.
        :param fusion_weight: The exponent lambda; the model's own if `None`.
        :raises InvalidCodesError: If a code is damaged, truncated, or made by another model.
        :raises ValueError: If `fusion_weight` is negative or not finite.
        """
        weight = self.config.fusion_weight if fusion_weight is None else check_fusion_weight(fusion_weight)
        batch = candidates if isinstance(candidates, CodeBatch) else self.read_codes(candidates)
        judgement = self._judge(query, batch)
        adapter = judgement.adapter
        if self.config.lexical_weight:
            lexical = torch.from_numpy(lexical_scores(query.words, batch.words, batch.word_counts))
            adapter = adapter + self.config.lexical_weight * lexical
        fused = reranking_score(judgement.base, adapter, weight)
        # The probability belongs to the pair, not to the weight of this call: it is made from the model's own weight.
        own = (
            fused
            if weight == self.config.fusion_weight
            else reranking_score(judgement.base, adapter, self.config.fusion_weight)
        )
        relevance = self.config.calibration.probability(own, judgement.relevance_logit)
        return Scores(
            base=judgement.base.numpy(),
            adapter=adapter.numpy(),
            fused=fused.numpy(),
            scaled=self.config.calibration.probability(fused).numpy(),
            relevance=relevance.numpy(),
        )

    @torch.inference_mode()
    def false_negatives(self, query: QueryEncoding, candidates: CodeBatch | Sequence[str], positive: str) -> np.ndarray:
        """
        How probably unlabelled candidates of a query are relevant, given a passage that is labelled so.

        :param query: The encoded query.
        :param candidates: Token codes of the candidates, read or as text; the positive is not among them.
        :param positive: Token code of the labelled passage.
        :returns: The false-negative probability s_FN of each, shape ``[n]``.
        :raises InvalidCodesError: If a code is damaged, truncated, or made by another model.
        """
        batch = candidates if isinstance(candidates, CodeBatch) else self.read_codes(candidates)
        labelled = self.read_codes([positive])
        adapter = self._judge(query, batch).adapter
        words = torch.from_numpy(lexical_scores(labelled.words, batch.words, batch.word_counts))
        features = list_features(query.embedding, batch.pooled, labelled.pooled[0], adapter, words)
        return self.config.detection.probability(features).numpy()

    def _judge(self, query: QueryEncoding, batch: CodeBatch) -> Judgement:
        query_tokens = nn.functional.normalize(query.states, dim=-1)
        if not self._silent:
            observation = Observation(
                query=query.embedding,
                contexts=batch.pooled,
                query_tokens=query_tokens,
                tokens=batch,
                query_states=nn.functional.normalize(query.hidden, dim=-1),
            )
            return self.adapter(observation)
        contexts = nn.functional.normalize(batch.pooled, dim=-1)
        base = contexts @ nn.functional.normalize(query.embedding, dim=-1)
        match = batch.match(query_tokens)
        adapter = torch.zeros_like(base)
        if len(query_tokens) and len(batch):
            states = query_tokens if self.config.adapter.query_dim is None else query.hidden
            states = nn.functional.normalize(states, dim=-1)
            adapter = match @ self.adapter.query_token_weights(states, match)
        even = torch.zeros((len(batch), 4))
        return Judgement(base=base, qa=base, ca=torch.ones_like(base), adapter=adapter, outcomes=even)

    @torch.inference_mode()
    def project(self, states: Tensor) -> Tensor:
        """
        Token states as the codes keep them, before quantisation.

        :param states: Shape ``[T, hidden]``.
        :returns: Shape ``[T, h]``, float32.
        """
        states = states.float()
        if self.projection is None:
            return states
        return nn.functional.linear(states, self.projection.weight.to(states.device))

    # --- weights ---

    def _own_weights(self) -> dict[str, Tensor]:
        weights = {f"adapter.{name}": tensor for name, tensor in self.adapter.state_dict().items()}
        if self.projection is not None:
            weights["projection.weight"] = self.projection.weight
        return {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}

    def _load_weights(self, path: Path) -> None:
        expected = {name: tuple(tensor.shape) for name, tensor in self._own_weights().items()}
        try:
            weights = load_file(path)
        except FileNotFoundError:
            msg = f"{path} is missing. Copy or download the whole model directory again."
            raise FileNotFoundError(msg) from None
        except SafetensorError as error:
            msg = f"{path} is damaged ({error}). Copy or download the model again."
            raise ValueError(msg) from None
        found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
        for name in sorted(expected.keys() | found.keys()):
            if expected.get(name) != found.get(name):
                msg = (
                    f"{path} does not fit its config.json: {name} has the shape {found.get(name)}, "
                    f"expected {expected.get(name)}. The two files come from different models."
                )
                raise ValueError(msg)
        self.load_state_dict(weights, strict=False)
        self.refresh()

    def _weights_fingerprint(self) -> int:
        """
        A fingerprint of the weights that the codes depend on: encoder and projection.

        64 values of each tensor are enough to tell two trainings apart and take no time for any size of encoder.
        They are rounded to bfloat16, so that the format in which the encoder runs makes no difference.
        """
        named = dict(self.encoder.transformer.state_dict())
        if self.projection is not None:
            named["projection.weight"] = self.projection.weight
        parts: list[str | bytes] = [str(self.encoder.layer)]
        for name, tensor in sorted(named.items()):
            flat = tensor.detach().reshape(-1)
            picked = torch.linspace(0, flat.numel() - 1, 64, dtype=torch.float64).long().to(flat.device)
            values = flat[picked] if flat.numel() else flat
            parts += [name, str(tuple(tensor.shape)), values.bfloat16().float().cpu().numpy().tobytes()]
        return fingerprint(*parts)

    def _model_card(self) -> str:
        state = "untrained" if self._silent else "trained"
        return (
            "---\nlibrary_name: rrra-haystack\npipeline_tag: text-ranking\ntags: [rrra, sentence-transformers]\n---\n\n"
            f"# RRRA model over {self.config.encoder}\n\n"
            f"A retriever with an {state} adapter that reranks what it retrieves "
            "(Resampling and Reranking through a Retriever Adapter, arXiv 2508.11670).\n\n"
            "```python\nfrom rrra_haystack import RRRAModel\n\nmodel = RRRAModel.load('PATH')\n```\n\n"
            f"| setting | value |\n|---|---|\n| token codes | {self.config.code}, "
            f"{self.config.adapter.token_dim} dimensions a token |\n"
            f"| fusion weight | {self.config.fusion_weight:g} |\n"
            f"| lexical weight | {self.config.lexical_weight:g} |\n"
        )


_SHARED: WeakValueDictionary[tuple[str, str, str], RRRAModel] = WeakValueDictionary()
_SHARED_LOCK = threading.Lock()
