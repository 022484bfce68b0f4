from pathlib import Path

import pytest
from haystack import Document

from rrra_haystack.named_store import store_of_folder
from rrra_haystack.qdrant.engines import Engine, vectors_in

FILES: list[tuple[Engine, str]] = [("local", "meta.json"), ("edge", "rrra/edge_config.json")]


@pytest.mark.parametrize("content", [b'{"collections": {"rrra"', b"\xff{}"])
@pytest.mark.parametrize(("engine", "name"), FILES)
def test_a_damaged_file_of_an_engine_is_named(engine: Engine, name: str, content: bytes, tmp_path: Path) -> None:
    store = store_of_folder(str(tmp_path / "store"), "rrra", engine)
    store.write_documents([Document(content="A river", embedding=[0.5] * 768)])
    store.close()
    assert vectors_in(tmp_path / "store", "rrra") is not None
    (tmp_path / "store" / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{tmp_path / 'store' / name} is .* Bring the folder back from a copy, or"):
        vectors_in(tmp_path / "store", "rrra")
