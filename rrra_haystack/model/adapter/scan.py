"""A look at every token of the context for what the query wants."""

import torch
from torch import Tensor, nn

from rrra_haystack.model.segments import Segments


class Scan(nn.Module):
    """
    Looks through every token of a candidate for the place that answers the query.

    Probes are views of the query that are made to match what the query asks for rather than what it says. Each
    context token is scored from the probes that it matches, from the coverage of the query around it, and from its own
    match; a candidate's score is that of its best tokens, as a mean of exponentials: what one token says loudly counts,
    and the length of the text does not.

    :param query_dim: Dimensions of the query's token states.
    :param token_dim: Dimensions h of the candidates' projected token states.
    :param probes: Views of the query.
    """

    _SHARPNESS = 10.0
    # Differences of cosines are small numbers; the layer learns faster from larger ones.
    _SCALE = 4.0

    def __init__(self, query_dim: int, token_dim: int, probes: int) -> None:
        super().__init__()
        hidden = 2 * token_dim
        self.reading = nn.Linear(query_dim, hidden)
        self.attention = nn.Linear(query_dim, probes)
        self.start = nn.Parameter(torch.randn(probes, hidden) * 0.3)
        self.aim = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, token_dim))
        self.place = nn.ModuleList([nn.Linear(probes + 4, 32), nn.GELU(), nn.Linear(32, 1)])
        nn.init.normal_(self._layers[1].weight, std=0.01)
        nn.init.zeros_(self._layers[1].bias)

    @property
    def _layers(self) -> tuple[nn.Linear, nn.Linear]:
        first, _, last = self.place
        assert isinstance(first, nn.Linear)
        assert isinstance(last, nn.Linear)
        return first, last

    def probes(self, query_states: Tensor) -> Tensor:
        """Views of the query, length 1, shape ``[probes, h]``, from its token states of shape ``[m, query_dim]``."""
        attention = self.attention(query_states).softmax(dim=0)
        read = attention.T @ self.reading(query_states) + self.start
        return nn.functional.normalize(self.aim(nn.functional.gelu(read)), dim=-1)

    def forward(self, features: Tensor, segments: Segments) -> Tensor:
        """
        Score candidates from features of their tokens.

        :param features: One row a feature, shape ``[probes + 4, T]``.
        :param segments: Which tokens belong to which of the n candidates.
        :returns: Shape ``[n]``.
        """
        first, last = self._layers
        hidden = torch.addmm(first.bias, features.T, self._SCALE * first.weight.T)
        scores = last(nn.functional.gelu(hidden))[:, 0] * self._SHARPNESS
        # One shift for all candidates keeps the exponentials finite and cancels out.
        shift = scores.detach().max() if len(scores) else scores.new_zeros(())
        counts = torch.from_numpy(segments.lengths).to(scores).clamp_min(1)
        mean = segments.total((scores - shift).exp()) / counts
        return (mean.clamp_min(1e-30).log() + shift) / self._SHARPNESS
