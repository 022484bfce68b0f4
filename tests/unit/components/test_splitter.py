import random

import pytest
from haystack import Document, Pipeline
from haystack.utils import ComponentDevice, Secret

from rrra_haystack import RRRADocumentSplitter, RRRAModel

SPLITTER_TYPE = "haystack_integrations.components.preprocessors.rrra.document_splitter.RRRADocumentSplitter"
RANDOM = random.Random(3)
PROSE = (
    "The deposit is two rents. Dr. Holm keeps it, e.g. for repairs by J. S. Lund & Co. until 3. May. It is returned "
    "when the keys are handed over! Is it returned at once? No: after thirty days."
)
KINDS = {
    "log": "\n".join(
        f"2026-03-{n % 28 + 1:02}T10:{n % 60:02} 10.0.{n % 255}.7 [{RANDOM.getrandbits(64):016x}] job {n} ended"
        for n in range(120)
    ),
    "links": "\n".join(f"https://example.org/{RANDOM.getrandbits(128):032x}?page={n}" for n in range(90)),
    "compounds": "Donaudampfschifffahrtsgesellschaftskapitän " * 120,
    "chinese": "东京是日本的首都\uff0c人口众多。它位于关东平原\uff01谁住在那里\uff1f" * 60,
    "japanese": "ドナウ川は黒い森に源を発する。「本当ですか\uff1f」と彼は言った。" * 60,
    "thai": "แม่น้ำดานูบไหลจากป่าดำไปยังทะเลดำ และไหลผ่านหลายประเทศ" * 40,
    "hindi": "डेन्यूब काले जंगल से निकलती है। यह काले सागर में गिरती है। " * 40,
    "prose": "\n\n".join([PROSE] * 20),
    "windows lines": "\r\n\r\n".join([PROSE] * 20),
    "one line": "word " * 900,
    "one word": "x" * 20_000,
}


def tokens(passages: list[Document], model: RRRAModel, before: str = "") -> list[int]:
    return [len(ids) for ids in model.encoder.token_ids([before + (one.content or "") for one in passages])]


def split(text: str, **parameters: object) -> list[Document]:
    return RRRADocumentSplitter(**parameters).run([Document(content=text)])["documents"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("title", ["", "A guide to deposits, rivers and logs\n"])
def test_all_is_read(kind: str, title: str, model: RRRAModel) -> None:
    document = Document(content=KINDS[kind], meta={"title": title.strip() or None})
    passages = RRRADocumentSplitter(meta_fields_to_embed=["title"]).run([document])["documents"]
    assert len(passages) > 1
    assert max(tokens(passages, model, title)) <= model.encoder.room() == 254
    assert "".join("".join(one.content for one in passages).split()) == "".join(KINDS[kind].split())
    for number, one in enumerate(passages):
        begin = one.meta["split_idx_start"]
        assert KINDS[kind][begin : begin + len(one.content)] == one.content
        assert (one.meta["split_id"], one.meta["source_id"]) == (number, document.id)


@pytest.mark.parametrize(
    ("kind", "marks"), [("prose", ".!?"), ("chinese", "。\uff01\uff1f"), ("japanese", "。"), ("hindi", "।")]
)
def test_no_sentence_is_cut(kind: str, marks: str) -> None:
    text = KINDS[kind].replace("\n\n", " ")
    passages = split(text)
    assert len(passages) > 3
    for one in passages:
        assert one.content[-1] in marks
        assert not one.content.endswith(("Dr.", "e.g.", "J.", "S.", "Co.", " 3."))


def test_a_sentence_that_the_encoder_reads_stays_whole(model: RRRAModel) -> None:
    long = "The deposit is returned when " + ", and when ".join(f"room {n} is swept" for n in range(32)) + "."
    (count,) = tokens([Document(content=long)], model)
    assert 200 < count <= 254
    assert long in [one.content for one in split(f"A short one. {long} Another short one. {'And more. ' * 30}")]


def test_a_wrapped_line_is_no_end_and_a_row_is_one() -> None:
    wrapped = (
        "The key of the cellar hangs\nbehind the door of the hall\nand belongs to all tenants\nof the house. " * 20
    )
    for one in split(wrapped.strip()):
        assert one.content.endswith("of the house.")
    rows = "\n".join(f"- item {n} of the list, which has no full stop at its end" for n in range(60))
    for one in split(rows):
        assert one.content.startswith("- item")
        assert one.content.endswith("its end")


@pytest.mark.parametrize("text", ["", "\n", "\n\n---\n\n***\n", "____"])
def test_no_passage_is_without_a_word(text: str) -> None:
    assert split(text) == []
    assert [one.content for one in split(f"{text}\n\nA word.")] == [f"{text}\n\nA word.".strip()]


def test_paragraphs_stay_together_where_that_is_no_loss() -> None:
    paragraphs = [f"Paragraph {n} tells of the house. " * 9 + f"It ends with {n}." for n in range(6)]
    passages = split("\n\n".join(paragraphs))
    assert all(one.content.split()[0] == "Paragraph" and "It ends with" in one.content[-20:] for one in passages)


def test_pages_are_counted() -> None:
    text = (
        "The first page.\f"
        + "A sentence of the second page. " * 60
        + "\f\fThe fourth page begins. "
        + "It goes on. " * 90
    )
    passages = split(text)
    pages = [one.meta["page_number"] for one in passages]
    assert pages == sorted(pages)
    assert {1, 2, 4} <= set(pages)
    assert all(text[: one.meta["split_idx_start"]].count("\f") + 1 == one.meta["page_number"] for one in passages)
    later = RRRADocumentSplitter().run([Document(content="A\fB", meta={"page_number": 7})])["documents"]
    assert [one.meta["page_number"] for one in later] == [7]


def test_the_prefix_and_the_suffix_count(model: RRRAModel) -> None:
    parameters = {"prefix": "passage of a manual: ", "suffix": " (end of the passage)", "split_length": 254}
    passages = split("word " * 600, **parameters)
    read = [f"{parameters['prefix']}{one.content}{parameters['suffix']}" for one in passages]
    assert max(map(len, model.encoder.token_ids(read))) <= 254


def test_passages_are_the_same_at_every_run() -> None:
    assert [one.id for one in split(KINDS["prose"])] == [one.id for one in split(KINDS["prose"])]


def test_a_shorter_length_gives_more_passages() -> None:
    assert len(split(KINDS["prose"], split_length=40)) > len(split(KINDS["prose"]))
    with pytest.raises(ValueError, match="split_length must be > 0, but got 0"):
        RRRADocumentSplitter(split_length=0)


@pytest.mark.parametrize("wrong", ["text", Document(content="text"), ["text"], [Document(content="A text"), "text"]])
def test_documents_must_be_a_list_of_documents(wrong: object) -> None:
    with pytest.raises(TypeError, match="RRRADocumentSplitter expects a list of Documents"):
        RRRADocumentSplitter().run(wrong)


def test_documents_may_have_no_metadata() -> None:
    bare, plain = (
        RRRADocumentSplitter().run([Document(content="A text", **own)])["documents"] for own in ({"meta": None}, {})
    )
    assert [one.content for one in bare] == [one.content for one in plain] == ["A text"]
    assert bare[0].meta.keys() == plain[0].meta.keys()


def test_to_dict_of_the_defaults() -> None:
    assert RRRADocumentSplitter().to_dict() == {
        "type": SPLITTER_TYPE,
        "init_parameters": {
            "model": "rrra-minilm-l6",
            "split_length": 180,
            "device": None,
            "token": {"type": "env_var", "env_vars": ["HF_API_TOKEN", "HF_TOKEN"], "strict": False},
            "prefix": None,
            "suffix": "",
            "meta_fields_to_embed": [],
            "embedding_separator": "\n",
            "trust_remote_code": False,
            "local_files_only": False,
            "truncate_dim": None,
            "model_kwargs": None,
            "tokenizer_kwargs": None,
            "config_kwargs": None,
            "revision": None,
        },
    }


def test_yaml_keeps_other_values_and_shares_the_model() -> None:
    given = RRRADocumentSplitter(
        "all-MiniLM-L6-v2",
        split_length=20,
        device=ComponentDevice.from_str("cpu"),
        token=Secret.from_env_var("KEY", strict=False),
        meta_fields_to_embed=["title"],
        embedding_separator=" - ",
        revision="main",
    )
    pipeline = Pipeline()
    pipeline.add_component("splitter", given)
    loaded = Pipeline.loads(pipeline.dumps()).get_component("splitter")
    assert loaded.to_dict() == given.to_dict()
    assert len(loaded.run([Document(content=PROSE)])["documents"]) > 1
    given.warm_up()
    assert loaded.loaded_model is given.loaded_model
    loaded.close()
    assert loaded._model is None
