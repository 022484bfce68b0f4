"""Gradients of a batch of phase 3: contrastive loss and, beside it, the adapter loss."""

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
    labels = torch.zeros((len(queries), len(rows)), dtype=torch.int64)
    for number, query in enumerate(queries):
        # Other known positives are masked out; the labelled one is the positive.
        labels[number][torch.from_numpy(np.isin(rows, data.positives.of(query)))] = -1
        labels[number, int(np.searchsorted(rows, lists[number, 0]))] = 1
    contrastive = config.loss(query_embeddings @ contexts.T, labels.to(contexts.device))
    total, values = contrastive, {"contrastive": float(contrastive.detach())}
    if config.adapter_weight:
        loss = AdapterLoss(recipe.adapter, recipe.evidence.prior, torch.ones(len(Outcome)))
        device = learner.log_scale.device
        adapter = _adapter_loss(learner, on_device(asked, device), on_device(read, device), lists, rows, loss)
        total = total + config.adapter_weight * adapter.to(total.device)
        values["adapter"] = float(adapter.detach())
    total.backward()
    return {"loss": float(total.detach()), **values}


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
    lists: np.ndarray,
    rows: np.ndarray,
    loss: AdapterLoss,
) -> Tensor:
    """Mean adapter loss of the lists, from token states that carry the encoder's gradient."""
    states = project(read.states, learner.projection, loss.config.codes[0]).split(read.lengths.tolist())
    query_tokens = project(asked.states, learner.projection).split(asked.lengths.tolist())
    query_states = project(asked.states, None).split(asked.lengths.tolist())
    total = read.pooled.new_zeros(())
    for number, own in enumerate(lists):
        places = np.searchsorted(rows, own[own >= 0])
        lengths = read.lengths.numpy()[places]
        observation = Observation(
            query=asked.pooled[number],
            contexts=read.pooled[torch.from_numpy(places)],
            query_tokens=query_tokens[number],
            query_states=query_states[number],
            tokens=StateTokens(torch.cat([states[place] for place in places]), Segments(lengths)),
        )
        target = torch.full((len(places),), loss.prior)
        target[0] = 1.0
        known = torch.zeros(len(places), dtype=torch.bool)
        known[0] = True
        labels = ListLabels(target, known, retrieved=torch.ones_like(known))
        total = total + loss.of_list(learner, observation, labels)["loss"]
    return total / len(lists)
