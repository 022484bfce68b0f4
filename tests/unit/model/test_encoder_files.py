from pathlib import Path

import pytest
import torch
from encoders import reading, write_encoder, write_late_interaction, write_network
from peft import LoraConfig, get_peft_model
from sentence_transformers.base.modules import Router
from transformers import AutoModel, AutoTokenizer, ByT5Tokenizer, CanineTokenizer, T5Tokenizer

from rrra_haystack.model.encoder_files import check_tokenizer
from rrra_haystack.model.rrra_model import RRRAModel

JSON_FILES = [
    "config.json",
    "config_sentence_transformers.json",
    "modules.json",
    "sentence_bert_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "1_Pooling/config.json",
]


def with_routes(folder: Path) -> Path:
    routes = reading(folder.parent / "one", seed=1), reading(folder.parent / "other", seed=2)
    return write_encoder(folder, [Router.for_query_document(*routes)])


@pytest.mark.parametrize("make", [write_encoder, write_network, write_late_interaction, with_routes])
def test_an_encoder_whose_vocabulary_is_gone_is_refused(make, tmp_path: Path) -> None:
    folder = make(tmp_path / "encoder")
    for path in folder.rglob("tokenizer.json"):
        path.unlink()
    with pytest.raises(
        ValueError, match=r"knows no words: its vocabulary \(tokenizer\.json or vocab\.txt\) is missing"
    ):
        RRRAModel.load(folder)


def test_the_vocabulary_of_an_earlier_transformers_is_one(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "encoder")
    expected = RRRAModel.load(folder)
    words = expected.encoder.transformer.tokenizer.get_vocab()
    (folder / "vocab.txt").write_text("\n".join(sorted(words, key=words.__getitem__)), encoding="utf-8")
    (folder / "tokenizer.json").unlink()
    text = ["The Danube rises in the Black Forest."]
    assert RRRAModel.load(folder).encoder.token_ids(text) == expected.encoder.token_ids(text)


def test_tokenizers_of_bytes_and_characters_need_no_vocabulary() -> None:
    check_tokenizer("bytes", ByT5Tokenizer())
    check_tokenizer("characters", CanineTokenizer())


def test_the_mark_of_a_space_is_no_word() -> None:
    with pytest.raises(ValueError, match=r"owner/model knows no words: .*tokenizer\.json or spiece\.model"):
        check_tokenizer("owner/model", T5Tokenizer())


@pytest.mark.parametrize("content", [b'{"model_type": ', b"\xff\xfe{}"])
@pytest.mark.parametrize("name", JSON_FILES)
def test_a_damaged_file_is_named(name: str, content: bytes, tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "encoder")
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"is not valid JSON .* Copy or download the model again\.") as raised:
        RRRAModel.load(folder)
    assert str(raised.value).startswith(f"{folder / name} ")
    assert "\n" not in str(raised.value)


def test_what_a_library_cannot_read_names_the_model(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "encoder")
    (folder / "modules.json").write_text("[]")
    with pytest.raises(ValueError, match=f"{folder} cannot be read as a sentence-transformers encoder: .*modules"):
        RRRAModel.load(folder)


def test_full_memory_is_no_flaw_of_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_encoder(tmp_path / "encoder")

    def full(*_: object, **__: object) -> None:
        msg = "CUDA out of memory."
        raise torch.OutOfMemoryError(msg)

    monkeypatch.setattr("transformers.AutoModel.from_pretrained", full)
    with pytest.raises(torch.OutOfMemoryError):
        RRRAModel.load(folder)


def test_what_lies_deep_below_a_folder_is_none_of_the_models(tmp_path: Path) -> None:
    (tmp_path / "projects" / "one").mkdir(parents=True)
    (tmp_path / "projects" / "one" / "broken.json").write_text("{")
    with pytest.raises((OSError, ValueError)) as error:
        RRRAModel.load(tmp_path)
    assert "broken.json" not in str(error.value)


def test_a_directory_of_something_else_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text('{"_id": "1", "text": "The Danube."}\n', encoding="utf-8")
    with pytest.raises(FileNotFoundError, match=r"is a directory without a model: it has none of modules\.json"):
        RRRAModel.load(tmp_path)


def test_a_folder_of_a_lora_adapter_is_a_model(tmp_path: Path) -> None:
    base, folder = write_network(tmp_path / "base"), tmp_path / "lora"
    network = get_peft_model(AutoModel.from_pretrained(base), LoraConfig(target_modules=["query"], r=2))
    network.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    assert not (folder / "config.json").exists()
    assert RRRAModel.load(folder).encoder.dimension == network.config.hidden_size
