import math
import threading
from collections.abc import Mapping
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haystack import Document, ExtractedAnswer, component
from haystack.utils import ComponentDevice, Secret

from haystack_integrations.common.rrra import (
    Serializable,
    check_documents,
    check_positive,
    check_threshold,
    options_of,
)
from rrra_haystack.documents.metadata import SCORES_KEY, meta_of, scores_of
from rrra_haystack.model.encoder_files import check_tokenizer
from rrra_haystack.model.surrogates import whole_characters
from rrra_haystack.reader.answers import AnswerCalibration, logit
from rrra_haystack.reader.loading import DEFAULT_READER, find_reader, is_difference, load_reader
from rrra_haystack.reader.windows import QUESTION_TOKENS, check_positions, check_windows, room_of

if TYPE_CHECKING:
    from haystack_integrations.components.readers.transformers import TransformersExtractiveReader

_LONGEST_TEXT = 4096
# More than any run has, so that the delegate drops no answer before its probability is known.
_ALL_ANSWERS = 1_000_000
# Of a window, where `answers_per_seq` says nothing, as in the delegate.
_ANSWERS = 20
# The delegate's score is sigmoid(factor * span score), from which a calibrated reader takes the span score back.
_SPAN_FACTOR = 0.1


@component
class RRRAReader(Serializable):
    """
    Extracts answers from the reranked documents.

    Delegates to Haystack's `TransformersExtractiveReader`, and resolves the bundled reader by its name: a low-rank
    difference to all-MiniLM-L6-v2, merged at loading.

    The bundled reader is calibrated, as is one with an `answers.json` in its directory: an answer's `score` is the
    probability that it is right, from the span score and the relevance probability that `RRRAAdapterRanker` gave its
    document, and answers are in the order of it. Both stand in `meta["rrra"]` of the answer.

    ### Usage example

    ```python
    from haystack import Document
    from rrra_haystack import RRRAReader

    reader = RRRAReader(top_k=1, no_answer=False)
    documents = [Document(content="The Danube rises in the Black Forest and flows into the Black Sea.")]
    result = reader.run(query="Where does the Danube rise?", documents=documents)
    print(result["answers"][0].data)
    ```
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_READER,
        device: ComponentDevice | None = None,
        token: Secret | None = Secret.from_env_var(["HF_API_TOKEN", "HF_TOKEN"], strict=False),
        top_k: int = 20,
        score_threshold: float | None = None,
        max_seq_length: int = 384,
        stride: int = 128,
        max_batch_size: int | None = None,
        answers_per_seq: int | None = None,
        no_answer: bool = True,
        calibration_factor: float = 0.1,
        overlap_threshold: float | None = 0.01,
        model_kwargs: dict[str, Any] | None = None,
    ) -> None:
        """
        Creates an RRRAReader component.

        :param model:
            The name of a bundled reader, the directory of one that `rrra_training.reader` made, or any question
            answering model: a directory or a Hugging Face model id. `~` is the home folder.
        :param device:
            The device on which the model is loaded. If `None`, the default device is automatically selected.
        :param token:
            The API token used to download private models from Hugging Face.
        :param top_k:
            Number of answers to return per query.
        :param score_threshold:
            Returns only answers with the probability score above this threshold.
        :param max_seq_length:
            Maximum number of tokens. If a sequence exceeds it, the sequence is split. At least 20 more than `stride`
            and the question: special tokens, and 16 by which a sequence goes on. 84 more do for every question.
        :param stride:
            Number of tokens that overlap when sequence is split because it exceeds max_seq_length.
        :param max_batch_size:
            Maximum number of samples that are fed through the model at the same time.
        :param answers_per_seq:
            Number of answer candidates to consider per sequence.
        :param no_answer:
            Whether to return an additional `no answer` with an empty text and a score representing the probability
            that the other top_k answers are incorrect; with a calibrated reader, that the documents hold no answer.
            Where there is nothing to read it is the only answer, with a score of 1.
        :param calibration_factor:
            Factor used for calibrating probabilities, by a reader that is not calibrated.
        :param overlap_threshold:
            If set this will remove duplicate answers if they have an overlap larger than the supplied threshold.
        :param model_kwargs:
            Additional keyword arguments passed to `AutoModelForQuestionAnswering.from_pretrained`.

        :raises ValueError:
            If `top_k`, `max_batch_size`, `answers_per_seq` or `calibration_factor` is no number > 0, a threshold is
            no number, `stride` is no whole number >= 0, or `max_seq_length` leaves no room for new tokens beside it.
        """
        _check_factor(calibration_factor)
        self.model = str(model) if isinstance(model, Path) else model
        self.device = device
        self.token = token
        self.top_k = top_k
        self.score_threshold = score_threshold
        self.max_seq_length = max_seq_length
        self.stride = stride
        self.max_batch_size = max_batch_size
        self.answers_per_seq = answers_per_seq
        self.no_answer = no_answer
        self.calibration_factor = calibration_factor
        self.overlap_threshold = overlap_threshold
        self.model_kwargs = model_kwargs
        _check_options(vars(self))
        self._reader: TransformersExtractiveReader | None = None
        self._calibration: AnswerCalibration | None = None
        # One thread at a time loads the model, and one uses it: fast tokenizers cannot be used by two at once.
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        # A copy loads the model by itself: neither a lock nor a tokenizer that another thread uses can be copied.
        return {**vars(self), "_reader": None, "_calibration": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock())

    def warm_up(self) -> None:
        """
        Loads the model.

        :raises ImportError:
            If the extra `reader` is not installed.
        :raises FileNotFoundError:
            If `model` is no directory, no hub id, and no bundled name.
        :raises ValueError:
            If the calibration in its directory is damaged.
        """
        # Seen before the lock is waited for: an event loop that warms up would wait for what another thread reads.
        if self._reader is None:
            with self._lock:
                self._loaded()

    def _loaded(self) -> "TransformersExtractiveReader":
        """The delegate, loaded if it is not yet; by whoever holds the lock."""
        if self._reader is not None:
            return self._reader
        directory = find_reader(self.model)
        try:
            from haystack_integrations.components.readers.transformers import (  # noqa: PLC0415
                TransformersExtractiveReader,
            )
        except ImportError as error:
            msg = "RRRAReader needs the extra 'reader'. Install it with: pip install 'rrra-haystack[reader]'"
            raise ImportError(msg) from error
        calibration = AnswerCalibration.load(directory) if directory is not None else None
        reader = TransformersExtractiveReader(
            model=self.model if directory is None else directory,
            device=self.device,
            token=self.token,
            top_k=_ALL_ANSWERS,
            no_answer=False,
            calibration_factor=self.calibration_factor if calibration is None else _SPAN_FACTOR,
            model_kwargs=self.model_kwargs,
        )
        if directory is not None and is_difference(directory):
            # With a model in place the delegate loads none.
            device = ComponentDevice.resolve_device(self.device)
            token = self.token.resolve_value() if self.token else None
            reader.model, reader.tokenizer = load_reader(directory, device.to_torch_str(), token, self.model_kwargs)
            reader.device = device
        reader.warm_up()
        check_tokenizer(self.model, reader.tokenizer)
        self._calibration = calibration
        self._reader = reader
        return reader

    def close(self) -> None:
        """
        Releases the model, once no other thread reads with it.
        """
        with self._lock:
            self._reader = self._calibration = None

    @component.output_types(answers=list[ExtractedAnswer])
    def run(
        self,
        query: str,
        documents: list[Document],
        top_k: int | None = None,
        score_threshold: float | None = None,
        max_seq_length: int | None = None,
        stride: int | None = None,
        max_batch_size: int | None = None,
        answers_per_seq: int | None = None,
        no_answer: bool | None = None,
        overlap_threshold: float | None = None,
    ) -> dict[str, list[ExtractedAnswer]]:
        """
        Extracts answers from the documents.

        :param query:
            The question, of which the first 64 tokens are read.
        :param documents:
            The documents in which to look for answers.
        :param top_k:
            Number of answers to return.
        :param score_threshold:
            Returns only answers with the probability score above this threshold.
        :param max_seq_length:
            Maximum number of tokens. If a sequence exceeds it, the sequence is split.
        :param stride:
            Number of tokens that overlap when a sequence is split.
        :param max_batch_size:
            Maximum number of samples that are fed through the model at the same time.
        :param answers_per_seq:
            Number of answer candidates to consider per sequence.
        :param no_answer:
            Whether to return an additional `no answer`.
        :param overlap_threshold:
            If set this will remove duplicate answers if they have an overlap larger than the supplied threshold.
        :returns:
            A dictionary with the following keys:
            - `answers`: The answers, from the most to the least probable.

        :raises TypeError:
            If the query is not a string or the documents are not a list of Documents.
        :raises ValueError:
            As at initialization, or if `max_seq_length` leaves no room beside this question, or is more than the model
            reads.
        """
        if not isinstance(query, str):
            msg = f"RRRAReader expects a string as query, but got {type(query).__name__}."
            raise TypeError(msg)
        check_documents(documents, "RRRAReader")
        options = options_of(
            self, top_k=top_k, score_threshold=score_threshold, max_seq_length=max_seq_length, stride=stride,
            max_batch_size=max_batch_size, answers_per_seq=answers_per_seq, no_answer=no_answer,
            overlap_threshold=overlap_threshold,
        )  # fmt: skip
        _check_options(options)
        answers, calibration = self._read(query, documents, options)
        if calibration is None:
            answers = answers[: options["top_k"]]
            none = math.prod(1 - answer.score for answer in answers)
        else:
            answers, none = _by_probability(answers, calibration)
            answers = answers[: options["top_k"]]
        if options["no_answer"]:
            answers.append(ExtractedAnswer(query=query, score=none, data=None, document=None, meta={}))
            answers.sort(key=lambda answer: answer.score, reverse=True)
        if (threshold := options["score_threshold"]) is not None:
            answers = [answer for answer in answers if answer.score >= threshold]
        return {"answers": answers}

    def _read(
        self, query: str, documents: list[Document], options: Mapping[str, Any]
    ) -> tuple[list[ExtractedAnswer], AnswerCalibration | None]:
        """All answers with what their probabilities are made of, by span score, and the calibration that makes them."""
        documents = [document for document in documents if document.content and document.content.strip()]
        read = [replace(one, content=whole_characters(one.content or ""), meta=meta_of(one)) for one in documents]
        originals = dict(zip(map(id, read), documents, strict=True))
        if not read:
            return [], None
        with self._lock:
            reader = self._loaded()
            check_positions(options["max_seq_length"], reader.model)
            question = _beginning(whole_characters(query), reader.tokenizer)
            asked = len(reader.tokenizer(question, add_special_tokens=False)["input_ids"])
            check_windows(options["max_seq_length"], options["stride"], asked)
            room = room_of(options["max_seq_length"], asked)
            wanted = _ANSWERS if options["answers_per_seq"] is None else options["answers_per_seq"]
            seen = _seen_tokens(read, reader.tokenizer, min(math.isqrt(wanted) + 1, room))
            if not any(seen):
                return [], None
            # As attributes, since the delegate takes a 0 for none where its `run` is given one.
            for name in ("max_seq_length", "stride", "max_batch_size", "overlap_threshold"):
                setattr(reader, name, options[name])
            # The delegate fails where it is to find more spans than its longest row has pairs of tokens.
            reader.answers_per_seq = min(wanted, max(seen) ** 2)
            answers = reader.run(
                query=question,
                # It fails, too, where it sees no token of one, as of zero-width spaces alone.
                documents=[document for document, tokens in zip(read, seen, strict=True) if tokens],
            )["answers"]
            factor, calibration = reader.calibration_factor, self._calibration
        return [_told(replace(one, query=query), originals[id(one.document)], factor) for one in answers], calibration


def _check_factor(factor: Any) -> None:
    is_number = isinstance(factor, Real)
    if not (is_number and 0 < factor < math.inf):
        msg = f"calibration_factor must be a number > 0, but got {factor!r}"
        raise ValueError(msg)


def _check_options(options: Mapping[str, Any]) -> None:
    """Refuse numbers of things and thresholds that are none, and windows that never go on over a passage."""
    for name in ("top_k", "max_batch_size", "answers_per_seq"):
        if options[name] is not None:
            check_positive(options[name], name)
    for name in ("score_threshold", "overlap_threshold"):
        check_threshold(options[name], name)
    check_positive(options["max_seq_length"], "max_seq_length")
    check_windows(options["max_seq_length"], options["stride"])


def _told(answer: ExtractedAnswer, document: Document, factor: float) -> ExtractedAnswer:
    """An answer of the document that was given, with what its probability is made of."""
    span = answer.document_offset
    assert span is not None
    assert document.content is not None
    relevance = scores_of(document).get("relevance_probability")
    told = {"span_score": logit(answer.score) / factor}
    if isinstance(relevance, int | float):
        told["relevance_probability"] = relevance
    text = document.content[span.start : span.end]
    return replace(answer, data=text, document=document, meta=answer.meta | {SCORES_KEY: told})


def _by_probability(
    answers: list[ExtractedAnswer], calibration: AnswerCalibration
) -> tuple[list[ExtractedAnswer], float]:
    """The answers from the most to the least probable, and the probability that there is none."""
    told = [answer.meta[SCORES_KEY] for answer in answers]
    right, none = calibration.probabilities([(one["span_score"], one.get("relevance_probability")) for one in told])
    scored = [replace(answer, score=score) for answer, score in zip(answers, right, strict=True)]
    return sorted(scored, key=lambda answer: answer.score, reverse=True), none


def _seen_tokens(documents: list[Document], tokenizer: Any, most: int) -> list[int]:
    """How many tokens a tokenizer sees of each document, up to a number."""
    texts = [document.content for document in documents]
    return list(map(len, tokenizer(texts, add_special_tokens=False, truncation=True, max_length=most)["input_ids"]))


def _beginning(query: str, tokenizer: Any) -> str:
    """As much of a query as BERT's reader took: a window is for the passage, and a very long query fits no memory."""
    read = tokenizer(
        query[:_LONGEST_TEXT], truncation=True, max_length=QUESTION_TOKENS, add_special_tokens=False,
        return_offsets_mapping=True,
    )  # fmt: skip
    offsets = read["offset_mapping"]
    if len(offsets) < QUESTION_TOKENS and len(query) <= _LONGEST_TEXT:
        return query
    return query[: offsets[-1][1] if offsets else 0]
