"""What the adapter sees of lists while it learns, the same whichever phase reads the texts."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from rrra_haystack.model.adapter.observation import Observation
from rrra_haystack.model.codes.kinds import CodeKind
from rrra_haystack.model.encoder import EncodedBatch
from rrra_training.judging.projecting import code_tokens, project
from rrra_training.phases.adapter.learner import AdapterLearner


def observations(
    learner: AdapterLearner, asked: EncodedBatch, read: EncodedBatch, places: Sequence[np.ndarray], kind: CodeKind
) -> Iterator[Observation]:
    """
    Observe lists; gradients pass to the projection, and to the encoder if its states carry them.

    :param learner: The adapter and its projection.
    :param asked: The queries, one a list.
    :param read: The passages.
    :param places: Which of the passages each list has.
    :param kind: Kind of token codes that the adapter sees.
    """
    passages = project(read.states, learner.projection, kind).split(read.lengths.tolist())
    query_tokens = project(asked.states, learner.projection).split(asked.lengths.tolist())
    query_states = project(asked.states, None).split(asked.lengths.tolist())
    return (
        Observation(
            query=asked.pooled[number],
            contexts=read.pooled[torch.from_numpy(own)],
            query_tokens=query_tokens[number],
            query_states=query_states[number],
            tokens=code_tokens(torch.cat([passages[place] for place in own]), read.lengths.numpy()[own], kind),
        )
        for number, own in enumerate(places)
    )
