"""Gradients of a batch of phase 3: contrastive loss and, beside it, the adapter loss."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from rrra_haystack.model.adapter.observation import Observation, Outcome, StateTokens
from rrra_haystack.model.encoder import EncodedBatch, Encoder
from rrra_haystack.model.segments import Segments
from rrra_haystack.model.weights import native_dtype
from rrra_training.candidates.sets import CandidateSet
from rrra_training.judging.projecting import project
from rrra_training.phases.adapter.learner import AdapterLearner
from rrra_training.phases.adapter.losses import AdapterLoss, ListLabels
from rrra_training.recipe.recipe import Recipe


def add_gradients(
    recipe: Recipe,
    encoder: Encoder,
    learner: AdapterLearner,
    data: CandidateSet,
    queries: np.ndarray,
    lists: np.ndarray,
) -> dict[str, float]:
    """
    Add the gradients of a batch to those of encoder and adapter.

    :param recipe: The recipe, with a phase 3.
    :param encoder: The encoder.
    :param learner: The adapter.
    :param data: The set that the batch is drawn from.
    :param queries: Rows of the queries, shape ``[B]``.
    :param lists: Rows of the passages of each, shape ``[B, n]``; the first is the labelled positive, -1 is none.
    :returns: The losses.
    """
    config = recipe.joint
    assert config is not None
    rows = np.unique(lists[lists >= 0])
    kind = native_dtype(encoder.device)
    with torch.autocast(encoder.device.type, dtype=kind, enabled=kind != torch.float32):
        asked = encoder.encode_with_gradient([data.queries.text(int(row)) for row in queries], task="query")
        read = encoder.encode_with_gradient([data.passages.text(int(row)) for row in rows], task="document")
    query_embeddings = nn.functional.normalize(asked.pooled.float(), dim=-1)
    contexts = nn.functional.normalize(read.pooled.float(), dim=-1)
    labels = contrastive_labels(data, queries, lists[:, 0], rows)
    contrastive = config.loss(query_embeddings @ contexts.T, labels.to(contexts.device))
    total, values = contrastive, {"contrastive": float(contrastive.detach())}
    if config.adapter_weight:
        loss = AdapterLoss(recipe.adapter, recipe.evidence.prior, torch.ones(len(Outcome)))
        device = learner.log_scale.device
        asked, read = on_device(asked, device), on_device(read, device)
        there = [own[own >= 0] for own in lists]
        targets = [data.targets_of(query, own) for query, own in zip(queries, there, strict=True)]
        places = [np.searchsorted(rows, own) for own in there]
        adapter = _adapter_loss(learner, asked, read, places, targets, loss)
        total = total + config.adapter_weight * adapter.to(total.device)
        values["adapter"] = float(adapter.detach())
    total.backward()
    return {"loss": float(total.detach()), **values}


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


def _adapter_loss(
    learner: AdapterLearner,
    asked: EncodedBatch,
    read: EncodedBatch,
    places: Sequence[np.ndarray],
    targets: Sequence[tuple[np.ndarray, np.ndarray]],
    loss: AdapterLoss,
) -> Tensor:
    """Mean adapter loss of lists of places in the batch, from token states that carry the encoder's gradient."""
    states = project(read.states, learner.projection, loss.config.codes[0]).split(read.lengths.tolist())
    query_tokens = project(asked.states, learner.projection).split(asked.lengths.tolist())
    query_states = project(asked.states, None).split(asked.lengths.tolist())
    total = read.pooled.new_zeros(())
    for number, (own, known_of) in enumerate(zip(places, targets, strict=True)):
        lengths = read.lengths.numpy()[own]
        observation = Observation(
            query=asked.pooled[number],
            contexts=read.pooled[torch.from_numpy(own)],
            query_tokens=query_tokens[number],
            query_states=query_states[number],
            tokens=StateTokens(torch.cat([states[place] for place in own]), Segments(lengths)),
        )
        target, known = map(torch.from_numpy, known_of)
        labels = ListLabels(target, known, retrieved=torch.ones_like(known))
        total = total + loss.of_list(learner, observation, labels)["loss"]
    return total / len(places)
