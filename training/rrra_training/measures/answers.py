"""Whether an answer is right, and whether passages hold it."""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
import regex

from rrra_training.measures.ranking import Run

# Runs of letters, digits and marks; any other visible character by itself.
_ANSWER_TOKEN = regex.compile(r"[\p{L}\p{N}\p{M}]+|[^\p{Z}\p{C}]")
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def exact_match(said: str, answer: str) -> bool:
    """Whether the normalised words are the same (SQuAD, arXiv 1606.05250, section 6.1)."""
    return _normalised(said) == _normalised(answer)


def f1(said: str, answer: str) -> float:
    """Harmonic mean of precision and recall of the normalised words (SQuAD, arXiv 1606.05250, section 6.1)."""
    words, right = _normalised(said).split(), _normalised(answer).split()
    common = sum((Counter(words) & Counter(right)).values())
    if not words or not right:
        return float(words == right)
    return 2 * common / (len(words) + len(right))


def _normalised(text: str) -> str:
    """Lower case, without punctuation, articles and superfluous blanks (SQuAD, arXiv 1606.05250, section 6.1)."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def answer_recall(
    run: Run, has_answer: Mapping[str, frozenset[str]], cutoffs: Iterable[int] = (1, 5, 20, 100)
) -> dict[str, float]:
    """
    Share of the queries of whose first passages one holds an answer string (DPR's criterion, arXiv 2004.04906).

    :param run: Query id -> passage id -> score.
    :param has_answer: Query id -> passages that hold one of its answers, for each query that has answers.
    :param cutoffs: How many passages are looked at.
    :returns: Cutoff, as text -> fraction.
    """
    first = []
    for query_id, passages in has_answer.items():
        ranked = sorted(run.get(query_id, {}).items(), key=lambda pair: -pair[1])
        first.append(next((rank for rank, (passage, _) in enumerate(ranked) if passage in passages), np.inf))
    return {str(cutoff): float(np.mean(np.asarray(first) < cutoff)) for cutoff in cutoffs}


def answer_tokens(text: str) -> str:
    """
    A text as DPR looks for answers in it (arXiv 2004.04906): its lower-case words and each punctuation mark, in
    canonical decomposition, each between single spaces. A text holds an answer if it contains the answer's tokens.
    """
    return f" {' '.join(_ANSWER_TOKEN.findall(unicodedata.normalize('NFD', text).lower()))} "
