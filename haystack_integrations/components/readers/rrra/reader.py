import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haystack import Document, ExtractedAnswer, component
from haystack.utils import ComponentDevice, Secret

from haystack_integrations.common.rrra import Serializable, check_positive
from rrra_haystack.documents.metadata import SCORES_KEY
from rrra_haystack.model.encoder_files import check_tokenizer
from rrra_haystack.model.surrogates import whole_characters
from rrra_haystack.pretrained import bundled, bundled_names
from rrra_haystack.reader.answers import AnswerCalibration, logit
from rrra_haystack.reader.loading import DEFAULT_READER, is_difference, load_reader

if TYPE_CHECKING:
    from haystack_integrations.components.readers.transformers import TransformersExtractiveReader

_QUESTION_TOKENS = 64
_LONGEST_TEXT = 4096
# More than any run has, so that the delegate drops no answer before its probability is known.
_ALL_ANSWERS = 1_000_000
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
        model: str = DEFAULT_READER,
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
            answering model: a directory or a Hugging Face model id.
        :param device:
            The device on which the model is loaded. If `None`, the default device is automatically selected.
        :param token:
            The API token used to download private models from Hugging Face.
        :param top_k:
            Number of answers to return per query.
        :param score_threshold:
            Returns only answers with the probability score above this threshold.
        :param max_seq_length:
            Maximum number of tokens. If a sequence exceeds it, the sequence is split.
        :param stride:
            Number of tokens that overlap when sequence is split because it exceeds max_seq_length.
        :param max_batch_size:
            Maximum number of samples that are fed through the model at the same time.
        :param answers_per_seq:
            Number of answer candidates to consider per sequence.
        :param no_answer:
            Whether to return an additional `no answer` with an empty text and a score representing the probability
            that the other top_k answers are incorrect; with a calibrated reader, that the documents hold no answer.
        :param calibration_factor:
            Factor used for calibrating probabilities, by a reader that is not calibrated.
        :param overlap_threshold:
            If set this will remove duplicate answers if they have an overlap larger than the supplied threshold.
        :param model_kwargs:
            Additional keyword arguments passed to `AutoModelForQuestionAnswering.from_pretrained`.

        :raises ValueError:
            If `top_k` is not > 0.
        """
        check_positive(top_k)
        self.model = model
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
        self._reader: TransformersExtractiveReader | None = None
        self._calibration: AnswerCalibration | None = None
        # One thread at a time loads the model, and one uses it: fast tokenizers cannot be used by two at once.
        self._lock = threading.Lock()

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
        if self._reader is not None:
            return
        with self._lock:
            if self._reader is None:
                self._load()

    def _load(self) -> None:
        directory = bundled(self.model) or (Path(self.model) if Path(self.model).is_dir() else None)
        if directory is None and "/" not in self.model:
            msg = (
                f"There is no reader {self.model!r}: it is no directory, no hub id (owner/name), and no bundled name "
                f"({', '.join(bundled_names())})."
            )
            raise FileNotFoundError(msg)
        try:
            from haystack_integrations.components.readers.transformers import (  # noqa: PLC0415
                TransformersExtractiveReader,
            )
        except ImportError as error:
            msg = "RRRAReader needs the extra 'reader'. Install it with: pip install 'rrra-haystack[reader]'"
            raise ImportError(msg) from error
        calibration = AnswerCalibration.load(directory) if directory is not None else None
        reader = TransformersExtractiveReader(
            model=self.model,
            device=self.device,
            token=self.token,
            top_k=self.top_k,
            max_seq_length=self.max_seq_length,
            stride=self.stride,
            max_batch_size=self.max_batch_size,
            answers_per_seq=self.answers_per_seq,
            no_answer=self.no_answer,
            calibration_factor=self.calibration_factor if calibration is None else _SPAN_FACTOR,
            overlap_threshold=self.overlap_threshold,
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

    def close(self) -> None:
        """
        Releases the model.
        """
        self._reader = None

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

        :raises ValueError:
            If `top_k` is not > 0.
        """
        if top_k is not None:
            check_positive(top_k)
        documents = [document for document in documents if document.content and document.content.strip()]
        if not documents:
            return {"answers": []}
        self.warm_up()
        assert self._reader is not None
        with self._lock:
            documents = _with_tokens(documents, self._reader.tokenizer)
            if not documents:
                return {"answers": []}
            answers: list[ExtractedAnswer] = self._reader.run(
                query=_beginning(whole_characters(query), self._reader.tokenizer),
                documents=documents,
                top_k=_ALL_ANSWERS if self._calibration else top_k,
                max_seq_length=max_seq_length,
                stride=stride,
                max_batch_size=max_batch_size,
                answers_per_seq=answers_per_seq,
                no_answer=False if self._calibration else no_answer,
                overlap_threshold=overlap_threshold,
            )["answers"]
        answers = [self._told(answer) for answer in answers]
        if self._calibration is not None:
            answers, none = _by_probability(answers, self._calibration)
            answers = answers[: top_k or self.top_k]
            if self.no_answer if no_answer is None else no_answer:
                answers.append(ExtractedAnswer(query=query, score=none, data=None, document=None, meta={}))
                answers.sort(key=lambda answer: answer.score, reverse=True)
        # Here and not in the delegate, which takes a threshold of 0 at run time for none.
        score_threshold = self.score_threshold if score_threshold is None else score_threshold
        answers = [replace(answer, query=query) for answer in answers]
        if score_threshold is not None:
            answers = [answer for answer in answers if answer.score >= score_threshold]
        return {"answers": answers}

    def _told(self, answer: ExtractedAnswer) -> ExtractedAnswer:
        """An answer with what its probability is made of."""
        if answer.document is None:
            return answer
        relevance = answer.document.meta.get(SCORES_KEY, {}).get("relevance_probability")
        factor = self.calibration_factor if self._calibration is None else _SPAN_FACTOR
        told = {"span_score": logit(answer.score) / factor}
        told |= {} if relevance is None else {"relevance_probability": relevance}
        return replace(answer, meta=answer.meta | {SCORES_KEY: told})


def _by_probability(
    answers: list[ExtractedAnswer], calibration: AnswerCalibration
) -> tuple[list[ExtractedAnswer], float]:
    """The answers from the most to the least probable, and the probability that there is none."""
    told = [answer.meta[SCORES_KEY] for answer in answers]
    right, none = calibration.probabilities([(one["span_score"], one.get("relevance_probability")) for one in told])
    scored = [replace(answer, score=score) for answer, score in zip(answers, right, strict=True)]
    return sorted(scored, key=lambda answer: answer.score, reverse=True), none


def _with_tokens(documents: list[Document], tokenizer: Any) -> list[Document]:
    """The documents that a tokenizer sees; the delegate fails where it sees none, as of zero-width spaces alone."""
    texts = [document.content for document in documents]
    first = tokenizer(texts, add_special_tokens=False, truncation=True, max_length=1)["input_ids"]
    return [document for document, tokens in zip(documents, first, strict=True) if tokens]


def _beginning(query: str, tokenizer: Any) -> str:
    """As much of a query as BERT's reader took: a window is for the passage, and a very long query fits no memory."""
    read = tokenizer(
        query[:_LONGEST_TEXT], truncation=True, max_length=_QUESTION_TOKENS, add_special_tokens=False,
        return_offsets_mapping=True,
    )  # fmt: skip
    offsets = read["offset_mapping"]
    if len(offsets) < _QUESTION_TOKENS and len(query) <= _LONGEST_TEXT:
        return query
    return query[: offsets[-1][1] if offsets else 0]
