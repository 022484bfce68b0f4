"""What a model says of the candidates of questions that were made of passages."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from rrra_haystack.model.config import RRRAConfig
from rrra_haystack.model.lexical import lexical_scores
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.model.words import word_codes
from rrra_training.adapting.questions import Question
from rrra_training.corpora.store import StateStore
from rrra_training.data import Query
from rrra_training.evaluation.rerankers.interface import EncodedQuery
from rrra_training.evaluation.stages import encode_queries

# By which frequencies words are rare, beside a language or none: those of the corpus, or those of the corpus that the
# model was adapted to before.
CORPUS, FORMER_CORPUS = "corpus", "former corpus"
_TOP_K = 100
_FIRST = 10


@dataclass(frozen=True)
class Lists:
    """
    The candidates of Q questions, best first, each of shape ``[Q, k]``, float32.

    :param base: Encoder scores.
    :param adapter: Adapter scores, to which no words have added.
    :param words: Lexical scores by language: the one that the model started with (:func:`language_of`), and ``corpus``.
    :param right: Whether it is the passage that the question was made of, bool; none is where it was not found.
    """

    base: np.ndarray
    adapter: np.ndarray
    words: dict[str | None, np.ndarray]
    right: np.ndarray

    @property
    def found(self) -> np.ndarray:
        """
        Whether a question finds its passage: among the first ten by encoder, adapter or words, shape ``[Q]``, bool.

        A question that a model wrote need not ask for what the model was shown. One that does leads back to it:
        round-trip consistency, as Promptagator (arXiv 2209.11755) has it of its retriever. That any part of the score
        may find it favours none of the weights.
        """
        found = np.zeros(len(self.right), dtype=bool)
        for part in (self.base, self.adapter, *self.words.values()):
            own = np.where(self.right, part, -np.inf).max(axis=1, keepdims=True)
            found |= (part >= own).sum(axis=1) <= _FIRST
        return found

    def of(self, questions: np.ndarray) -> "Lists":
        """
        Take some questions.

        :param questions: Which, shape ``[Q]``, bool.
        """
        words = {language: own[questions] for language, own in self.words.items()}
        return Lists(self.base[questions], self.adapter[questions], words, self.right[questions])


def language_of(config: RRRAConfig) -> str | None:
    """By which language words are rare to a model, told apart from the corpus at hand."""
    language = config.lexical.language
    return FORMER_CORPUS if language == CORPUS else language


class Searched:
    """
    An encoded corpus that is searched, the codes of candidates made when they are first needed.

    :param model: The model.
    :param store: The corpus as its encoder sees it.
    :param table: Rarities of the words of the corpus.
    """

    def __init__(self, model: RRRAModel, store: StateStore, table: np.ndarray) -> None:
        self._model = model
        self._store = store
        self._table = table
        self._codec = model.codec()
        self._codes: dict[int, str] = {}

    def lists(self, kind: str, questions: Sequence[Question], *, show_progress: bool) -> Lists:
        """
        Search and judge.

        :param kind: What the questions are called.
        :param questions: The questions; the passage of each is without it in the question's own list.
        :param show_progress: Show progress and the time left.
        """
        queries = [Query(str(one.row), one.text) for one in questions]
        encoded = encode_queries(self._model.encoder, queries, show_progress=False)
        rests = iter(self._encoded([one.rest for one in questions if one.rest is not None]))
        progress = tqdm(total=len(questions), desc=f"Judging {kind}", unit="question", disable=not show_progress)
        rows = []
        for question, query in zip(questions, encoded, strict=True):
            rows.append(self._one(question, query, None if question.rest is None else next(rests)))
            progress.update()
        progress.close()
        columns = [np.stack(column) for column in zip(*rows, strict=True)]
        base, adapter, former, corpus, right = columns
        return Lists(base, adapter, {language_of(self._model.config): former, CORPUS: corpus}, right)

    def _encoded(self, texts: Sequence[str]) -> list[tuple[Tensor, str]]:
        """Embedding, of length 1, and token code of each text."""
        found: list[tuple[Tensor, str]] = [(torch.empty(0), "")] * len(texts)
        for batch in self._model.encoder.encode(texts, task="document"):
            indices = batch.indices.tolist()
            pooled = nn.functional.normalize(batch.pooled.float().cpu(), dim=-1)
            codes = self._packed(batch.pooled, batch.states, batch.lengths, [texts[index] for index in indices])
            for index, own, code in zip(indices, pooled, codes, strict=True):
                found[index] = own, code
        return found

    def _packed(self, pooled: Tensor, states: Tensor, lengths: Tensor, texts: Sequence[str]) -> list[str]:
        return self._codec.pack(pooled, self._model.project(states), lengths, [word_codes(text) for text in texts])

    def _codes_of(self, rows: np.ndarray) -> list[str]:
        wanted = [row for row in rows.tolist() if row not in self._codes]
        if wanted:
            tokens = self._store.tokens(np.asarray(wanted))
            pooled = torch.from_numpy(np.array(self._store.pooled[wanted]))
            texts = [self._store.text(row) for row in wanted]
            self._codes |= dict(zip(wanted, self._packed(pooled, tokens.states, tokens.lengths, texts), strict=True))
        return [self._codes[row] for row in rows.tolist()]

    def _one(self, question: Question, query: EncodedQuery, rest: tuple[Tensor, str] | None) -> tuple[np.ndarray, ...]:
        unit = nn.functional.normalize(query.pooled.float(), dim=-1).numpy()
        similarity = self._store.pooled @ unit
        if rest is not None:
            similarity[question.row] = rest[0].numpy() @ unit
        rows = np.argsort(-similarity, kind="stable")[:_TOP_K]
        right = rows == question.row
        codes = self._codes_of(rows)
        if rest is not None:
            codes = [rest[1] if own else code for own, code in zip(right, codes, strict=True)]
        prepared = query.read_by(self._model)
        batch = self._model.read_codes(codes)
        scores = self._model.score(prepared, batch)
        former = self._model.lexical_scores(prepared.words, batch.words, batch.word_counts)
        form = self._model.config.lexical.model_copy(update={"language": CORPUS})
        corpus = lexical_scores(prepared.words, batch.words, batch.word_counts, form, self._table)
        adapter = scores.adapter - self._model.config.lexical_weight * former
        return scores.base, adapter, former, corpus, right
