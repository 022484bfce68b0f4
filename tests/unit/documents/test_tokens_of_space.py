"""Passages and highlights, where a tokenizer makes tokens of space or does not tell where its tokens stand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoders import SIZE, byte_level, pieces, tokenizer, write_kind
from haystack import Document
from tokenizers import Tokenizer, models, normalizers, processors, trainers
from transformers import (
    BertConfig,
    BertJapaneseTokenizer,
    BertModel,
    ByT5Tokenizer,
    CanineTokenizer,
    PreTrainedTokenizerFast,
)

from rrra_haystack import RRRAAdapterRanker, RRRADocumentEmbedder, RRRADocumentSplitter, RRRAModel
from rrra_haystack.documents.token_places import EmbeddedText, places_of
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.encoder_kinds import dropped_ids

WORDS = "yeast dough Danube river Forest water green tea sun bread".split()
JAPANESE = "東京は日本の首都です。人口は多い。酵母はパンを膨らませる。茶は緑です。"


def trimming() -> Any:
    """As of RoBERTa: what it tells of places leaves out space."""
    made = byte_level("right")
    made.backend_tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 3), ("<s>", 2), trim_offsets=True, add_prefix_space=False
    )
    return made


def llama() -> Any:
    """Pieces with bytes for what is unknown; each space of a run is a token."""
    made = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    special = ["<unk>", "<s>", "</s>"]
    made.train_from_iterator(
        [" ".join(WORDS)], trainers.BpeTrainer(vocab_size=120, special_tokens=special, show_progress=False)
    )
    names = {"pad_token": "</s>", "unk_token": "<unk>", "eos_token": "</s>", "bos_token": "<s>"}
    return PreTrainedTokenizerFast(tokenizer_object=made, **names)


def japanese(folder: Path) -> Any:
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (folder / "vocab.txt").write_text("\n".join([*marks, *sorted(set(JAPANESE))]) + "\n")
    options = {"word_tokenizer_type": "basic", "subword_tokenizer_type": "character"}
    return BertJapaneseTokenizer(str(folder / "vocab.txt"), **options)


def lexical(size: int) -> BertModel:
    """A network whose states are those of the words, wherever they stand."""
    network = BertModel(BertConfig(vocab_size=size, max_position_embeddings=4096, **SIZE))
    for name, weight in network.state_dict().items():
        if "position_embeddings.weight" in name or "output.dense" in name:
            weight.zero_()
        elif "word_embeddings.weight" in name:
            weight.normal_()
    return network


TRIMMING = {
    "word pieces": tokenizer, "bytes": lambda: byte_level("right"), "trimmed": trimming, "pieces": pieces,
    "llama": llama,
}  # fmt: skip


@pytest.fixture(scope="module", params=TRIMMING)
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Callable[[], Any] = TRIMMING[request.param]
    return write_kind(tmp_path_factory.mktemp("space"), made(), lexical, length=64)


def code() -> str:
    draw = np.random.default_rng(0)
    lines = (f"{'    ' * draw.integers(1, 5)}{draw.choice(WORDS)} = {draw.choice(WORDS)}" for _ in range(200))
    return "\n".join(lines)


def test_each_token_has_a_place(path: Path) -> None:
    encoder = Encoder(path, device="cpu")
    for text in ("tea\n tea\n  yeast", "  a  b ", "\u4e2d tea", "tea   ", code(), "\u00e9 \u4e2d\U0001f355 z", " ", ""):
        offsets, (ids,) = encoder.token_offsets(text), encoder.token_ids([text])
        assert offsets.shape == (len(ids), 2)
        assert (np.diff(offsets[:, 0]) >= 0).all()
        assert (offsets[:, 0] <= offsets[:, 1]).all()
        assert (offsets <= len(text)).all()


def test_passages_of_indented_code_are_read_whole(path: Path) -> None:
    splitter = RRRADocumentSplitter(str(path), split_length=60)
    passages = [one.content for one in splitter.run([Document(content=code())])["documents"]]
    encoder = Encoder(path, device="cpu")
    assert max(map(len, encoder.token_ids(passages))) <= encoder.room()


TEXTS = {
    "runs of space": "  Leading   spaces.   Many\n\n\nlines here.   Trailing space.  ",
    "paragraphs": "\n\n    ".join(f"{one.capitalize()} {one} {one}." for one in WORDS),
    "code": code()[:400],
    "japanese": JAPANESE * 3,
    "marks": "A\u00adb soft. Tab\there. \ufeffBOM mark. [SEP] parts </s> things. Ok \u00fcber e\u0301.",
}


@pytest.mark.parametrize("prompt", ["", "passage: "])
@pytest.mark.parametrize("length", [24, 2000, None])
def test_the_tokens_of_a_sentence_are_those_that_stand_there(path: Path, length: int | None, prompt: str) -> None:
    model = RRRAModel.load(path, device="cpu", model_kwargs={"dtype": "float32"})
    model.encoder.transformer[0].max_seq_length = length
    reads = model.encoder.tokenizer
    if length is None:
        reads.model_max_length = 10**9
        assert model.encoder.room() is None
    for before in ("", "Title \u00fc. "):
        for text in TEXTS.values():
            _, codes = model.encode_documents([before + text], prompt=prompt)
            (places,) = places_of(model.encoder, model.read_codes(codes), {0: EmbeddedText(before, text, "")}, prompt)
            options = {"truncation": True, "max_length": length, "return_offsets_mapping": True}
            read = reads(prompt + before + text, **options)
            shift = len(prompt + before)
            own = np.array(read["offset_mapping"])[~np.isin(read["input_ids"], dropped_ids(reads))] - shift
            begins, ends = own[own[:, 1] > -len(before)].T
            for place in places:
                inside = slice(place.token, place.token + place.tokens)
                assert (begins[inside] < place.end).all()
                assert not any(text[end - 1 : end].strip() for end in ends[inside] if end <= place.start)
                # Some tokens reach over the end of a sentence.
                assert ((begins >= place.start) & (ends <= place.end) & (ends > begins)).sum() <= place.tokens
            assert places


def test_no_place_is_told_of_a_text_whose_beginning_was_cut_off(tmp_path: Path) -> None:
    path = write_kind(tmp_path, tokenizer(), lexical, length=16)
    options: dict[str, Any] = {"tokenizer_kwargs": {"truncation_side": "left"}}
    sentences = [f"{one.capitalize()} {one} {one}." for one in WORDS]
    embedder = RRRADocumentEmbedder(str(path), progress_bar=False, **options)
    documents = embedder.run([Document(content=" ".join(part)) for part in (sentences, sentences[:3])])["documents"]
    ranker = RRRAAdapterRanker(str(path), highlights=True, **options)
    long, short = (ranker.run(query=sentences[1], documents=[one])["documents"][0].meta for one in documents)
    assert long["rrra"]["highlights"] == []
    assert short["rrra"]["highlights"][0]["text"] == sentences[1]


SLOW = {"bytes": lambda _: ByT5Tokenizer(), "characters": lambda _: CanineTokenizer(), "japanese": japanese}


@pytest.mark.parametrize("kind", SLOW)
def test_a_tokenizer_in_python(kind: str, tmp_path: Path) -> None:
    reads = SLOW[kind](tmp_path)
    # A letter is a token of Canine by its number.
    network = lexical if kind != "characters" else lambda _: lexical(0xE100)
    with torch.random.fork_rng():
        path = write_kind(tmp_path, reads, network, length=64)
    encoder, text = Encoder(path, device="cpu"), (JAPANESE * 12 + code())
    splitter = RRRADocumentSplitter(str(path), split_length=40)
    passages = splitter.run([Document(content=text)])["documents"]
    lengths = list(map(len, encoder.token_ids([one.content for one in passages])))
    assert max(lengths) <= encoder.room()
    assert np.mean(lengths) > 12
    ranker = RRRAAdapterRanker(str(path), highlights=True)
    embedded = RRRADocumentEmbedder(str(path), progress_bar=False).run(passages[:3])["documents"]
    ranked = ranker.run(query="東京", documents=embedded)["documents"]
    assert [one.meta["rrra"]["highlights"] for one in ranked] == [[], [], []]
