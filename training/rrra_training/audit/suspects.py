"""Labels that are probably missing or wrong."""

from dataclasses import dataclass

from rrra_training.audit.decisions import Kind
from rrra_training.audit.own_labels import WRONG_SHARE

# A label whose probability of being right is lower is called doubtful.
DOUBTFUL = 0.5


@dataclass(frozen=True)
class Suspect:
    """
    A label that is probably missing or wrong.

    :param kind: ``missing``: not labelled, probably relevant; ``wrong``: labelled relevant, probably not.
    :param query: The query's id.
    :param question: Its text.
    :param passage: The passage's id.
    :param title: Its title.
    :param text: Its body.
    :param probability: That it is relevant (``missing``), or that its label is right (``wrong``).
    :param remark: What else is known of the pair; empty if nothing.
    :param labelled: Id of a labelled positive to compare with; `None` if the suspect is the only one.
    :param labelled_title: Its title.
    :param labelled_text: Its body.
    """

    kind: Kind
    query: str
    question: str
    passage: str
    title: str
    text: str
    probability: float
    remark: str
    labelled: str | None
    labelled_title: str
    labelled_text: str


@dataclass(frozen=True)
class Audit:
    """
    What an audit found.

    :param dataset: Name of the data.
    :param split: The split whose labels were examined.
    :param digest: Digest of its labels, by which decisions know what they were made for.
    :param model: The model.
    :param queries: How many queries were looked at.
    :param labels: How many labelled positives they have.
    :param doubtful: How many of these are more probably wrong than right.
    :param meaning: What a probability means, by the kind of the suspect.
    :param suspects: Missing labels, the most probable first; then wrong ones, the least probable first.
    """

    dataset: str
    split: str
    digest: str
    model: str
    queries: int
    labels: int
    doubtful: int
    meaning: dict[Kind, str]
    suspects: list[Suspect]


def meaning(labels: int, *, is_fitted: bool) -> dict[Kind, str]:
    """
    What a probability means, in words.

    :param labels: How many labelled positives were looked at.
    :param is_fitted: Whether the probability that a label is right was fitted to them.
    """
    of_right = (
        f"How probably the label is right, if one in {round(1 / WRONG_SHARE)} is wrong: fitted to the {labels} labels "
        "of this split against unlabelled candidates of the same queries, never to the label itself. Where the model "
        "cannot tell one from the other, nearly all labels pass for right."
        if is_fitted
        else "The model's probability of relevance, as it was fitted to other data: these labels are too few, or too "
        "like unlabelled candidates, to fit it to them. Read it as an order; far from the model's domain most right "
        "labels lie below one half."
    )
    of_missing = (
        "The model's probability that the passage is relevant too, as it was fitted to other data. Read it as an "
        "order: its height does not transfer between domains."
    )
    return {"missing": of_missing, "wrong": of_right}
