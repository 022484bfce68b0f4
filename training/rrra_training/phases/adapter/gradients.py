"""Gradients of a batch of phase 2, over all processes."""

import numpy as np
import torch

from rrra_haystack.model.codes.kinds import CodeKind
from rrra_haystack.model.encoder import EncodedBatch
from rrra_haystack.model.threads import threads_for_list
from rrra_training.corpora.store import StateStore
from rrra_training.phases.adapter.drawing import DrawnLists
from rrra_training.phases.adapter.learner import AdapterLearner
from rrra_training.phases.adapter.losses import AdapterLoss, ListLabels
from rrra_training.phases.adapter.observing import observations
from rrra_training.runs.processes import processes, sum_over_processes


def add_gradients(learner: AdapterLearner, drawn: DrawnLists, loss: AdapterLoss, kind: CodeKind) -> dict[str, float]:
    """
    Add the gradients of this process's share of the lists.

    The gradient is that of the mean over all lists, whatever the number of processes.

    :param learner: The adapter.
    :param drawn: The lists.
    :param loss: What they are learned by.
    :param kind: Kind of token codes that the adapter sees.
    :returns: Sums of the losses over the share.
    """
    data, lists = drawn.data, drawn.lists
    share = np.asarray(drawn.share, dtype=np.int64)
    if not len(share):
        return dict.fromkeys(("loss", "ranking", "outcome", "normalisation"), 0.0)
    rows, inverse = np.unique(lists.rows[share], return_inverse=True)
    places = list(inverse.reshape(lists.rows[share].shape))
    asked, read = stored(data.queries, lists.queries[share]), stored(data.passages, rows)
    total = torch.zeros(())
    sums: dict[str, float] = {}
    with threads_for_list(int(data.passages.lengths[lists.rows[share]].sum(axis=1).max())):
        for number, observation in zip(share, observations(learner, asked, read, places, kind), strict=True):
            labels = ListLabels(
                *(torch.from_numpy(part[number]) for part in (lists.target, lists.known, lists.retrieved))
            )  # fmt: skip
            losses = loss.of_list(learner, observation, labels)
            total = total + losses["loss"]
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach())
        (total / loss.config.batch_size).backward()
    return sums


def stored(store: StateStore, rows: np.ndarray) -> EncodedBatch:
    """Some texts of a store, as the encoder gave them."""
    tokens = store.tokens(rows)
    return EncodedBatch(torch.from_numpy(rows), torch.from_numpy(store.pooled[rows]), tokens.states, tokens.lengths)


def share_gradients(learner: AdapterLearner, losses: dict[str, float]) -> None:
    """Give every process the gradients and losses of all of them."""
    if processes().num_processes == 1:
        return
    gradients = [parameter.grad for parameter in learner.parameters() if parameter.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients] + [torch.tensor(list(losses.values()))])
    sum_over_processes(flat)
    for gradient, part in zip(
        gradients, flat.split([gradient.numel() for gradient in gradients] + [len(losses)])[:-1], strict=True
    ):
        gradient.copy_(part.reshape(gradient.shape))
    losses.update(zip(losses, flat[-len(losses) :].tolist(), strict=True))
