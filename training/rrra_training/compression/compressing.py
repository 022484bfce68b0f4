"""A model whose token codes take a part of the bytes: a projection fitted to one's own texts, without labels."""

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from rrra_haystack.files import check_writable
from rrra_haystack.model.codes.kinds import CodeKind
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.model.saving import check_place
from rrra_training.compression.texts import read_texts
from rrra_training.compression.trials import SPLIT, Trial, labelled_trial, pseudo_trial
from rrra_training.corpora.principal import fitted_projection
from rrra_training.data import BeirDataset
from rrra_training.data.beir import is_collection
from rrra_training.evaluation.evaluate import evaluate
from rrra_training.measures.significance import paired_interval

logger = logging.getLogger(__name__)
_LEAST_TEXTS = 20
# The loss over fewer questions says nothing.
_LEAST_QUESTIONS = 20
_MEASURE = "nDCG@10"
_COMPRESSED = "compressed"


@dataclass(frozen=True)
class Compression:
    """
    What a compression saves and loses.

    :param bytes_before: Bytes of one token code as it was.
    :param bytes_after: As it is.
    :param before: nDCG@10 with whole codes of the same kind, over the trial's questions.
    :param after: With the compressed ones.
    :param interval: 95 % bootstrap interval of the difference.
    :param queries: How many questions there were.
    :param has_labels: Whether they were questions with labels, not sentences of the texts.
    """

    bytes_before: int
    bytes_after: int
    before: float
    after: float
    interval: tuple[float, float]
    queries: int
    has_labels: bool

    @property
    def loss(self) -> float:
        """Points of nDCG@10 that may be lost, by the interval: the mean of few questions says little."""
        return -100 * self.interval[0]


def compress(
    model: str,
    data: Path,
    output: Path,
    *,
    split: str | None = None,
    dimensions: int = 64,
    code: CodeKind = "1bit",
    max_loss: float = 2.0,
    seed: int = 0,
    show_progress: bool = False,
) -> Compression:
    """
    Fit a projection to texts, measure what it loses, and write the model if that is little.

    :param model: A plain encoder, as :meth:`RRRAModel.load` takes it.
    :param data: Texts, as :func:`~rrra_training.compression.texts.read_texts` takes them, or retrieval data in the BEIR
        layout.
    :param output: Where the model goes.
    :param split: Questions of retrieval data; those of ``dev``, or the first split that there is, if `None`.
    :param dimensions: Of a token code; a multiple of 8.
    :param code: Kind of the codes that the model writes, and that the loss is measured with.
    :param max_loss: Refuse to write a model that may lose more points of nDCG@10, by the lower end of the interval.
    :param seed: Seed of what is drawn.
    :param show_progress: Show progress and the time left.
    :raises ValueError: If the model is no plain encoder, the dimensions are no fewer than its own, there are too few
        texts, or it may lose more than `max_loss`.
    :raises FileExistsError: If something else than a model stands where the model goes.
    """
    check_place(output)
    check_writable(output)
    whole = RRRAModel.load(model)
    _check(whole, model, dimensions)
    generator = np.random.default_rng(seed)
    trial, has_labels = _trial(data, split, whole.encoder, generator)
    if len(trial.others) < _LEAST_TEXTS:
        msg = f"{data} has {len(trial.others)} passages beside those that are asked for, and {_LEAST_TEXTS} are needed."
        raise ValueError(msg)
    if len(trial.queries) < _LEAST_QUESTIONS:
        msg = (
            f"{data} has {len(trial.queries)} passages with a sentence that could ask for the others, and "
            f"{_LEAST_QUESTIONS} are needed to measure the loss: name more texts, or a folder with questions."
        )
        raise ValueError(msg)
    small = projected_form(whole, fitted_projection(whole.encoder, trial.others, dimensions, generator), code)
    with tempfile.TemporaryDirectory(prefix="rrra-compress-") as scratch:
        folder = Path(scratch)
        small.save(folder / "model", include_encoder=Path(model).is_dir())
        systems = ("rrra", f"{_COMPRESSED}={folder / 'model'}")
        measured = evaluate(
            trial.write(folder / "trial"), model=whole, split=SPLIT, systems=systems, codes=[code], seed=seed,
            show_progress=show_progress,
        )  # fmt: skip
    own, other = (measured.per_query[name][_MEASURE] for name in (_COMPRESSED, "rrra"))
    found = Compression(
        bytes_before=whole.codec(code).row_bytes,
        bytes_after=small.codec().row_bytes,
        before=float(other.mean()),
        after=float(own.mean()),
        interval=paired_interval(own, other, seed=seed),
        queries=len(own),
        has_labels=has_labels,
    )
    if found.loss > max_loss:
        msg = (
            f"{dimensions} dimensions in {code} may lose {found.loss:.1f} points of nDCG@10 by the 95 % interval over "
            f"{found.queries} {'questions' if has_labels else 'sentences of the texts'}, and --max-loss allows "
            f"{max_loss:g}: take more --dimensions, another --code or more texts. Nothing was written."
        )
        raise ValueError(msg)
    small.save(output, include_encoder=Path(model).is_dir())
    return found


def _check(model: RRRAModel, name: str, dimensions: int) -> None:
    width = model.config.adapter.token_dim
    is_plain = model.encoder.embeds and model.adapter.is_silent and width >= model.encoder.hidden_size
    if not is_plain:
        msg = f"{name} has a projection of its own already: compress a plain encoder, or train for fewer dimensions."
        raise ValueError(msg)
    if dimensions <= 0 or dimensions % 8 or dimensions >= width:
        msg = f"--dimensions must be a multiple of 8 below the {width} of {name}, but got {dimensions}."
        raise ValueError(msg)


def _trial(data: Path, split: str | None, encoder: Encoder, generator: np.random.Generator) -> tuple[Trial, bool]:
    """What the loss is measured on, and whether it has labels."""
    dataset = BeirDataset(data, judged=False) if is_collection(data) else None
    if dataset is None or not (splits := dataset.splits()):
        return pseudo_trial(read_texts(data, encoder), generator), False
    chosen = split or ("dev" if "dev" in splits else splits[0])
    trial = labelled_trial(dataset, chosen, generator)
    if len(trial.queries) >= _LEAST_QUESTIONS:
        return trial, True
    logger.warning(
        "The split '%s' of %s has %s questions with a relevant passage in the corpus, and %s are the least: the loss "
        "is measured on sentences of the texts.",
        chosen, data, len(trial.queries), _LEAST_QUESTIONS,
    )  # fmt: skip
    return pseudo_trial(read_texts(data, encoder), generator), False


def projected_form(whole: RRRAModel, projection: torch.Tensor, code: CodeKind) -> RRRAModel:
    """The model with a projection in front of its codes."""
    adapter = whole.config.adapter.model_copy(update={"token_dim": len(projection)})
    model = RRRAModel(whole.encoder, whole.config.model_copy(update={"adapter": adapter, "code": code}))
    assert model.projection is not None
    model.projection.load_state_dict({"weight": projection})
    model.refresh()
    return model
