"""A model fitted to a corpus without labels: what was tried, what it gains, and what is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from rrra_haystack.files import check_writable, working_folder
from rrra_haystack.model.rarity import document_share, rarity_bytes
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.model.saving import MODULES, check_place
from rrra_haystack.model.scoring import Calibration
from rrra_haystack.pretrained import DEFAULT_MODEL
from rrra_training.adapting.choosing import LEAST_QUESTIONS, Tried, Weights, kept, try_weights
from rrra_training.adapting.corpus import read_passages
from rrra_training.adapting.lists import CORPUS, FORMER_CORPUS, Lists, Searched
from rrra_training.adapting.questions import ask
from rrra_training.adapting.writing import Writer
from rrra_training.corpora.building import encoded_passages
from rrra_training.data import Passage
from rrra_training.judging.fitting import fit_calibration

_MORE_WRITTEN = "name a model that is larger (--writer), have more written (--questions), or name more documents."


@dataclass(frozen=True)
class Adapted:
    """
    What was tried, and what is kept.

    :param passages: How many passages there are.
    :param searched: How many of them were searched.
    :param questions: Kind -> how many questions were made of them.
    :param astray: How many more were written, and left out: they do not find the passage that they were written of.
    :param former: The weights that the model had.
    :param tried: What was tried.
    :param kept: What is kept of it; `None` if the former weights are.
    """

    passages: int
    searched: int
    questions: dict[str, int]
    astray: int
    former: Weights
    tried: list[Tried]
    kept: Tried | None


def adapt(
    data: str,
    output: Path | None,
    *,
    index: str = "rrra",
    model: str | RRRAModel = DEFAULT_MODEL,
    passages: int | None = 5000,
    questions: int = 300,
    seed: int = 0,
    queries: Sequence[str] = (),
    writer: Writer | None = None,
    cache: Path | None = None,
    show_progress: bool = False,
) -> tuple[RRRAModel, Adapted]:
    """
    Fit weights and frequencies of words to a corpus, keep what gains for sure, and write the model.

    :param data: The corpus, as :func:`~rrra_training.adapting.corpus.read_passages` takes it.
    :param output: Where the model goes; it is not written if `None`.
    :param index: Collection of a Qdrant.
    :param model: What to begin with.
    :param passages: Draw this many passages to search in; frequencies are counted over all. All if `None`.
    :param questions: How many questions of a kind are made of them.
    :param seed: Seed of what is drawn.
    :param queries: Queries of people, without labels, which made questions are to resemble.
    :param writer: Writes a further kind of questions.
    :param cache: Where the encoded corpus is kept, and what was written; nothing is kept if `None`.
    :param show_progress: Show progress and the time left.
    :returns: The model, and what was found.
    :raises ValueError: If the model is a late-interaction model, or too few questions can be made of the corpus.
    :raises RuntimeError: If the writer cannot be asked.
    :raises FileExistsError: If something else than a model stands where the model goes.
    """
    if output is not None:
        check_place(output)
        check_writable(output)
    loaded = model if isinstance(model, RRRAModel) else RRRAModel.load(model)
    if not loaded.encoder.embeds:
        msg = f"{loaded.encoder.name} is a late-interaction model, whose score has no weights to fit."
        raise ValueError(msg)
    corpus = read_passages(data, index, loaded.encoder)
    table = rarity_bytes(document_share(one.title_and_text for one in corpus))
    held = _drawn(corpus, passages, seed)
    asked = ask(held, np.random.default_rng(seed), questions, queries=queries)
    for kind, own in asked.items():
        _check_enough(len(own), f"The {len(corpus)} passages of {data} give {len(own)} questions by their {kind}")
    if writer is not None:
        draw = np.random.default_rng(seed)
        written = writer.write(held, draw, questions, queries=queries, cache=cache, show_progress=show_progress)
        found = f"{writer.model} wrote {len(written)} questions about {len(held)} passages of {data}"
        _check_enough(len(written), found, _MORE_WRITTEN)
        asked["written"] = written
    with working_folder(cache) as kept_at:
        # A draw is no corpus that others would find.
        name = Path(data).resolve().name + (f"-{len(held)}-{seed}" if len(held) < len(corpus) else "")
        store = encoded_passages(name, held, loaded.encoder, kept_at, total=len(held), show_progress=show_progress)
        searched = Searched(loaded, store, table)
        lists = {kind: searched.lists(kind, own, show_progress=show_progress) for kind, own in asked.items()}
    counts = {kind: len(own) for kind, own in asked.items()}
    astray = 0
    if writer is not None:
        finds = lists["written"].found
        lists["written"] = lists["written"].of(finds)
        counts["written"], astray = int(finds.sum()), int((~finds).sum())
        found = f"Of {len(finds)} questions that {writer.model} wrote, {counts['written']} find their passage"
        _check_enough(counts["written"], found, _MORE_WRITTEN)
    former = Weights.of(loaded.config)
    tried = try_weights(lists, former, seed=seed)
    chosen = kept(tried)
    report = Adapted(len(corpus), len(held), counts, astray, former, tried, chosen)
    made = loaded if chosen is None else _with_calibration(loaded, chosen.weights, lists, table)
    if output is not None:
        # An encoder of one's own is nowhere to be found on another machine.
        made.save(output, include_encoder=isinstance(model, RRRAModel) or (Path(model) / MODULES).is_file())
    return made, report


def _check_enough(count: int, found: str, mend: str = "name more documents, or longer ones.") -> None:
    if count < LEAST_QUESTIONS:
        msg = f"{found}, and {LEAST_QUESTIONS} are needed: {mend}"
        raise ValueError(msg)


def _drawn(passages: list[Passage], most: int | None, seed: int) -> list[Passage]:
    if most is None or most >= len(passages):
        return passages
    numbers = np.random.default_rng(seed).choice(len(passages), most, replace=False)
    return [passages[number] for number in np.sort(numbers).tolist()]


def _with_calibration(model: RRRAModel, weights: Weights, lists: Mapping[str, Lists], table: np.ndarray) -> RRRAModel:
    made = with_weights(model, weights, table)
    calibration = _carried_over(model.config.calibration, Weights.of(model.config), weights, lists)
    made.config = made.config.model_copy(update={"calibration": calibration})
    made.refresh()
    return made


def with_weights(model: RRRAModel, weights: Weights, table: np.ndarray) -> RRRAModel:
    """
    The model with other weights; its calibration stays what it was.

    :param model: The model.
    :param weights: The weights.
    :param table: How rare words are in the corpus (:func:`rarity_bytes`), which is kept where the weights say so.
    """
    language = CORPUS if weights.language == FORMER_CORPUS else weights.language
    form = model.config.lexical.model_copy(update={"language": language})
    update = {"fusion_weight": weights.fusion, "lexical_weight": weights.lexical, "lexical": form}
    made = RRRAModel(model.encoder, model.config.model_copy(update=update))
    state = dict(model.state_dict())
    if weights.language != FORMER_CORPUS:
        state.pop("word_rarity", None)
    if weights.language == CORPUS:
        state["word_rarity"] = torch.from_numpy(table)
    made.load_state_dict(state)
    made.refresh()
    return made


def _carried_over(
    calibration: Calibration, former: Weights, weights: Weights, lists: Mapping[str, Lists]
) -> Calibration:
    """
    A calibration of the new scores that says what the former one said of the former scores.

    Questions that were made of passages do not tell how often a passage is relevant, so what was known of that stays.
    """
    said, features = [], []
    for own in lists.values():
        said.append(calibration.probability(torch.from_numpy(former.fused(own))).flatten())
        features.append(calibration.features(torch.from_numpy(weights.fused(own))).flatten(0, 1))
    targets = torch.cat(said)
    fitted = fit_calibration(torch.cat(features), targets, torch.full_like(targets, 1 / len(targets)), calibration)
    return fitted.model_copy(update={"outcome_slope": calibration.outcome_slope})
