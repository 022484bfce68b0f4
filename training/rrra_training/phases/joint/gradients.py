"""Gradients of a batch of phase 3: contrastive loss and, beside it, the adapter loss."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rrra_haystack.model.codes.kinds import CodeKind
from rrra_haystack.model.encoder import EncodedBatch, Encoder
from rrra_haystack.model.weights import native_dtype
from rrra_training.candidates.sets import CandidateSet
from rrra_training.phases.adapter.learner import AdapterLearner
from rrra_training.phases.adapter.losses import AdapterLoss, ListLabels
from rrra_training.phases.adapter.observing import observations
from rrra_training.recipe.settings import JointTraining


@dataclass(frozen=True)
class JointBatch:
    """
    What a step of phase 3 learns from.

    :param data: The set that it is drawn from.
    :param queries: Rows of the queries, shape ``[B]``.
    :param lists: Rows of the passages of each, shape ``[B, n]``; the first is the labelled positive, -1 is none.
    """

    data: CandidateSet
    queries: np.ndarray
    lists: np.ndarray


def add_gradients(
    config: JointTraining,
    encoder: Encoder,
    learner: AdapterLearner,
    batch: JointBatch,
    loss: AdapterLoss,
    kind: CodeKind,
) -> dict[str, float]:
    """
    Add the gradients of a batch to those of encoder and adapter.

    :param config: The contrastive loss, and the weight of the other one.
    :param encoder: The encoder.
    :param learner: The adapter.
    :param batch: The batch.
    :param loss: What the adapter learns by.
    :param kind: Kind of token codes that it sees.
    :returns: The losses.
    """
    data, queries, lists = batch.data, batch.queries, batch.lists
    rows = np.unique(lists[lists >= 0])
    native = native_dtype(encoder.device)
    with torch.autocast(encoder.device.type, dtype=native, enabled=native != torch.float32):
        asked = encoder.encode_with_gradient([data.queries.text(int(row)) for row in queries], task="query")
        read = encoder.encode_with_gradient([data.passages.text(int(row)) for row in rows], task="document")
    query_embeddings = nn.functional.normalize(asked.pooled.float(), dim=-1)
    contexts = nn.functional.normalize(read.pooled.float(), dim=-1)
    labels = contrastive_labels(data, queries, lists[:, 0], rows)
    contrastive = config.loss(query_embeddings @ contexts.T, labels.to(contexts.device))
    total, values = contrastive, {"contrastive": float(contrastive.detach())}
    if config.adapter_weight:
        device = learner.log_scale.device
        asked, read = on_device(asked, device), on_device(read, device)
        there = [own[own >= 0] for own in lists]
        seen = observations(learner, asked, read, [np.searchsorted(rows, own) for own in there], kind)
        known = [list_labels(data, query, own, loss) for query, own in zip(queries, there, strict=True)]
        losses = [loss.of_list(learner, *own)["loss"] for own in zip(seen, known, strict=True)]
        adapter = torch.stack(losses).mean()
        total = total + config.adapter_weight * adapter.to(total.device)
        values["adapter"] = float(adapter.detach())
    total.backward()
    return {"loss": float(total.detach()), **values}


def list_labels(data: CandidateSet, query: int, rows: np.ndarray, loss: AdapterLoss) -> ListLabels:
    """What is known of passages of a query, as phase 2 is told of its lists; parameters as for `add_gradients`."""
    target, known = data.targets_of(query, rows)
    retrieved = data.retrieved(query, rows, loss.config.lists.retrieved_k)
    return ListLabels(*map(torch.from_numpy, (target, known, retrieved)))


def contrastive_labels(data: CandidateSet, queries: np.ndarray, positives: np.ndarray, rows: np.ndarray) -> Tensor:
    """
    What the passages of a batch are to each of its queries.

    :param data: The set.
    :param queries: Rows of the queries, shape ``[B]``.
    :param positives: Row of the labelled positive of each, shape ``[B]``.
    :param rows: Rows of the passages, sorted, shape ``[m]``.
    :returns: 1 for the labelled positive, -1 for what is left out because it is no negative, else 0; shape ``[B, m]``.
    """
    labels = np.stack([np.where(np.isin(rows, data.no_negatives(query)), -1, 0) for query in queries])
    labels[np.arange(len(queries)), np.searchsorted(rows, positives)] = 1
    return torch.from_numpy(labels)


def on_device(batch: EncodedBatch, device: torch.device) -> EncodedBatch:
    """
    What the encoder says, where the adapter is, which learns on the CPU; gradients find their way back.

    :param batch: The texts.
    :param device: Device of the adapter.
    :returns: The same in float32 on that device, but for the lengths, which NumPy reads.
    """
    return EncodedBatch(
        batch.indices, batch.pooled.float().to(device), batch.states.float().to(device), batch.lengths.cpu()
    )
