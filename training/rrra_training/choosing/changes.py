"""Changes to the recipe that is chosen for labels, of which those that would do nothing are refused."""

from operator import attrgetter

from rrra_training.candidates.evidence import EvidenceConfig
from rrra_training.data import corpus_of
from rrra_training.recipe.recipe import Recipe
from rrra_training.recipe.settings import AdapterTraining

# What a recipe says that is written by hand, and what decides in its place here.
_DECIDED = {
    "encoder": "--start names the model to begin with",
    "start": "--start names the model to begin with",
    "data_root": "the data are those that the command names",
    "dev": "queries are held out of those that are labelled",
    "dual_encoder": "phase 1 is of recipes, and --show prints one to begin with",
    "joint": "phase 3 is of recipes, and --show prints one to begin with",
    "adapter.code": "the kind of codes is that of the model to begin with, and rrra index --code chooses another",
    "adapter.lexical_match": "queries that are held out choose the lexical weight, which may be 0",
}
_OF_TRAINING = (
    "start_steps",
    *(f"evidence.{name}" for name in EvidenceConfig.model_fields),
    *(f"adapter.{name}" for name in AdapterTraining.model_fields),
)


def check_changes(changed: Recipe, chosen: Recipe, *, trains: bool) -> None:
    """
    See that whatever was changed of a recipe is heeded.

    :param changed: The recipe with the changes.
    :param chosen: The recipe without them.
    :param trains: Whether an adapter is trained.
    :raises ValueError: If a change would do nothing.
    """
    decided = dict(_DECIDED)
    if not trains:
        decided |= dict.fromkeys(_OF_TRAINING, "so few labelled queries are not trained on")
    elif chosen.start is not None:
        decided["adapter.steps"] = "start_steps says how long an adapter is trained on"
    for key, instead in decided.items():
        value = attrgetter(key)
        if value(changed) != value(chosen):
            msg = f"--set {key} does nothing without a recipe of your own: {instead}. Leave it out."
            raise ValueError(msg)
    corpus = corpus_of(chosen.train[0].data)
    for place, one in enumerate(changed.train):
        if corpus_of(one.data) != corpus:
            msg = f"--set train.{place}.data names another collection than the command does. Leave it out."
            raise ValueError(msg)
    if trains and changed.start is not None and not changed.start_steps:
        msg = "--set start_steps=0 leaves nothing to train. Give a number above 0, or leave it out."
        raise ValueError(msg)
