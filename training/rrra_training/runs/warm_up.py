"""The warm-up of trainings that another library's trainer carries out."""

import torch
from torch.optim.lr_scheduler import LRScheduler
from transformers import Trainer


class WarmUp(Trainer):
    """To be mixed into a trainer: a warm-up of one step is none, for it would be a step at a rate of 0."""

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> LRScheduler:
        """
        Called by the trainer.

        :param num_training_steps: Steps of the whole training.
        :param optimizer: The optimiser, if it is not the trainer's own.
        """
        if self.args.get_warmup_steps(num_training_steps) == 1:
            self.args.warmup_steps = 0
        return super().create_scheduler(num_training_steps, optimizer)
