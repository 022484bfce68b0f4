"""What a model's ``rrra/config.json`` says."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rrra_haystack.errors import first_fault
from rrra_haystack.files import read_json
from rrra_haystack.model.adapter.parts import AdapterConfig
from rrra_haystack.model.codes.kinds import CodeKind
from rrra_haystack.model.detection import Detection
from rrra_haystack.model.lexical import EARLIER_FORM, LexicalForm
from rrra_haystack.model.scoring import Calibration

CONFIG = "rrra/config.json"
WEIGHTS = "rrra/adapter.safetensors"
_VERSION = 1
# What helps where a file of a model is damaged.
MEND = "Copy or download the model again."


class RRRAConfig(BaseModel):
    """
    What ``rrra/config.json`` holds.

    :param version: Version of this file's layout.
    :param encoder: The encoder's name, for models that do not bring their encoder along.
    :param revision: The encoder's revision on the hub.
    :param encoder_fingerprint: Of the encoder's weights
        (:func:`~rrra_haystack.model.fingerprint.encoder_fingerprint`); `None` if nothing is known of them.
    :param layer: Hidden layer that the token states are taken from; -1 is the last.
    :param code: Kind of the token codes that are written.
    :param fusion_weight: The exponent lambda of the reranking score.
    :param lexical_weight: How much the words in common add to the adapter score; 0 for nothing.
    :param lexical: How they are counted.
    :param calibration: Makes a probability of relevance from a reranking score.
    :param detection: Makes a probability that an unlabelled passage is relevant, given one that is labelled so.
    :param adapter: The adapter's shape.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    version: int = _VERSION
    encoder: str
    revision: str | None = None
    encoder_fingerprint: str | None = None
    layer: int = -1
    code: CodeKind = "1bit"
    # In float32, more would leave nothing of the other scores, and much more no number.
    lexical_weight: float = Field(0.0, ge=0, le=1e6)
    lexical: LexicalForm = EARLIER_FORM
    # Untrained values, chosen on dev splits; docs/untrained.md says how.
    fusion_weight: float = Field(1.5, ge=0)
    calibration: Calibration = Calibration(slope=4.7, gap_slope=10.3, intercept=-4.0)
    detection: Detection = Detection()
    adapter: AdapterConfig


def read_config(directory: Path) -> RRRAConfig | None:
    """
    Read ``rrra/config.json``.

    :param directory: The model's directory.
    :returns: What it holds; `None` if the directory is a plain encoder's.
    :raises ValueError: If it is damaged or of another version.
    """
    path = directory / CONFIG
    if not path.exists():
        return None
    try:
        data = read_json(path, MEND)
        if isinstance(data, dict) and data.get("version") != _VERSION:
            msg = (
                f"{path} has version {data.get('version')}, but this release of rrra-haystack reads version "
                f"{_VERSION}. Upgrade rrra-haystack, or save the model again with this release."
            )
            raise ValueError(msg)
        return RRRAConfig.model_validate(data)
    except ValidationError as error:
        msg = (
            f"{path} is not a valid model configuration: {first_fault(error)}. Copy or download the model again, or "
            "train it again if it is of an earlier release."
        )
        raise ValueError(msg) from None
