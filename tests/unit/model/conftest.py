from pathlib import Path

import pytest
from texts import TEXTS

from rrra_haystack.model.rrra_model import RRRAModel


@pytest.fixture(scope="session")
def codes(model: RRRAModel) -> list[str]:
    return model.encode_documents(TEXTS)[1]


@pytest.fixture
def bare(model: RRRAModel, tmp_path: Path) -> Path:
    """A model without its encoder, small enough to be broken."""
    model.save(tmp_path / "bare", include_encoder=False)
    return tmp_path / "bare"
