"""Labels that are probably missing or wrong."""

from dataclasses import dataclass

from rrra_training.audit.decisions import Kind


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
    :param probability: The model's probability that it is relevant.
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
    :param suspects: Missing labels, the most probable first; then wrong ones, the least probable first.
    """

    dataset: str
    split: str
    digest: str
    model: str
    queries: int
    suspects: list[Suspect]
