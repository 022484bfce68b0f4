"""
The same information needs in other words: claims, joined questions, keywords.

An adapter that saw nothing but questions of one style judges claims and long topics by the same rules, and worse than
an untrained one. Queries restyled from the labelled ones cost no label and teach it otherwise.
"""

import random
import re
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field

from rrra_training.data import Query

_WORD = re.compile(r"[\w'-]+")
_QUESTION_WORD = re.compile(
    r"\b(?:what|which|who|whom|whose|when|where|why|how many|how much|how)\b"
    r"(?: (?:kind|type|name|year|city|country|person|percentage|number|team|group|company)s?(?: of)?)?",
    re.IGNORECASE,
)
_AUXILIARY = re.compile(r"\b(?:did|does|do) ", re.IGNORECASE)
_STOP_WORDS = frozenset(
    "a an the of in on at to for from by with is are was were be been do does did what which who whom whose when where "
    "why how many much and or that this these those it its as has have had can could would should will may might name "
    "there into about than".split()
)
_FEWEST_KEYWORDS = 3


class StyleConfig(BaseModel):
    """
    How many restyled queries are added, as a share of the queries there are.

    :param claims: The question word is replaced by an answer; for queries that have answers.
    :param joined: Two or three questions about the same passage become one query.
    :param keywords: Only the content words are kept.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    claims: float = Field(0.0, ge=0, le=1)
    joined: float = Field(0.0, ge=0, le=1)
    keywords: float = Field(0.0, ge=0, le=1)


def restyle(
    queries: Sequence[Query], qrels: Mapping[str, Mapping[str, int]], config: StyleConfig, *, seed: int = 0
) -> list[tuple[Query, Mapping[str, int]]]:
    """
    Make restyled queries.

    :param queries: Queries to make them from.
    :param qrels: Their relevant passages.
    :param config: How many of which style.
    :param seed: Seed of the draw.
    :returns: Queries with the judgments of those that they were made from; their ids end in the style's name.
    """
    generator = random.Random(seed)
    made: list[tuple[Query, Mapping[str, int]]] = []

    def some(items: Sequence, share: float) -> list:
        return generator.sample(list(items), round(share * len(items)))

    claims = ((query, claim(query.text, query.answers[0])) for query in some(queries, config.claims) if query.answers)
    made += [(Query(f"{query.id}#claim", text, query.answers), qrels[query.id]) for query, text in claims if text]
    together: dict[tuple, list[Query]] = {}
    for query in queries:
        together.setdefault(tuple(sorted(qrels[query.id])), []).append(query)
    groups = [group for group in together.values() if len(group) > 1]
    wanted = round(config.joined * len(queries))
    for number, group in enumerate(generator.choices(groups, k=wanted) if groups else []):
        chosen = generator.sample(group, min(generator.choice((2, 3)), len(group)))
        text = " ".join(query.text for query in chosen)
        made.append((Query(f"{chosen[0].id}#joined-{number}", text), qrels[chosen[0].id]))
    shortened = ((query, keywords(query.text)) for query in some(queries, config.keywords))
    made += [(Query(f"{query.id}#keywords", text), qrels[query.id]) for query, text in shortened if text]
    return made


def claim(question: str, answer: str) -> str | None:
    """The question with its question word replaced by an answer, or `None` if it has no question word."""
    statement, replaced = _QUESTION_WORD.subn(lambda _: answer, question.rstrip("? ").strip(), count=1)
    if not replaced:
        return None
    statement = _AUXILIARY.sub("", statement)
    return f"{statement[:1].upper()}{statement[1:]}."


def keywords(question: str) -> str | None:
    """The content words of a question, or `None` if they are too few to mean the same."""
    words = [word for word in _WORD.findall(question) if word.lower() not in _STOP_WORDS]
    return " ".join(words) if len(words) >= _FEWEST_KEYWORDS else None
