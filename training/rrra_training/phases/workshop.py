"""What the phases share."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rrra_haystack.model.encoder import Encoder
from rrra_training.candidates.preparing import prepare
from rrra_training.candidates.sets import CandidateSet
from rrra_training.candidates.splits import SplitConfig
from rrra_training.recipe.recipe import Recipe
from rrra_training.runs.directory import RunDirectory
from rrra_training.runs.processes import processes


@dataclass(frozen=True)
class Workshop:
    """
    A recipe at work: what every phase is handed.

    :param recipe: The recipe.
    :param run: The run directory.
    :param cache: Where encoded corpora and temporary files are kept.
    :param show_progress: Show progress and the time left.
    :param encoder_alone: Measure what the encoder retrieves, and neither fit nor write a model.
    """

    recipe: Recipe
    run: RunDirectory
    cache: Path
    show_progress: bool
    encoder_alone: bool = False

    def sets(self, encoder: Encoder, splits: Sequence[SplitConfig]) -> list[CandidateSet]:
        """Encode, mine and label splits of the recipe; the first of several processes does it, the others take it."""
        with processes().main_process_first():
            return self.sets_here(encoder, splits)

    def sets_here(self, encoder: Encoder, splits: Sequence[SplitConfig]) -> list[CandidateSet]:
        """The same by this process alone, for which no other waits."""
        return [
            prepare(
                self.recipe.rooted(split), encoder, self.cache,
                mining=self.recipe.mining, evidence=self.recipe.rooted_evidence, seed=self.recipe.seed,
                show_progress=self.show_progress and processes().is_main_process,
            )
            for split in splits
        ]  # fmt: skip
