"""Questions that a chat model writes of passages."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from pathlib import Path

import numpy as np
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.utils import Secret
from openai import BadRequestError, OpenAIError
from tqdm.auto import tqdm

from rrra_haystack.files import atomic_write
from rrra_training.adapting.questions import Question
from rrra_training.adapting.replies import NOTHING, question_of
from rrra_training.data import Passage

# A server is asked this many requests at once; one that answers them one after the other takes its time.
_AT_ONCE = 8
_SECONDS = 600.0
# The likeliest words: the same passage is asked for in the same way again.
_SUREST = {"temperature": 0}
# Passages that are asked for, for one question that is wanted: of some nobody would ask anything.
_MOST_TRIES = 2
_MOST_EXAMPLES = 5
# Characters of a passage that are shown: what is longer may not fit into what a model reads.
_SHOWN = 2000
_TASK = (
    "You write the questions that people ask a search engine. You are shown a passage, and answer with one short "
    "question that it answers, in its language, as somebody would ask who has not read it: with what it is about by "
    f"its name, and in words of your own where you can. Answer with the question alone, or with {NOTHING} if the "
    "passage says nothing that anybody would ask for."
)
# A model that is small follows what it is shown, and not what it is told.
_BASALT = (
    "Basalt columns form when a thick flow of lava cools from its surface. The rock shrinks and cracks, and the cracks "
    "grow downwards. Slow cooling gives broad columns, fast cooling narrow ones."
)
_FERRY = (
    "Maria Theisen ran the ferry at Alken for thirty years. When the bridge was opened in 1968 she sold the boat to a "
    "museum, and kept the bell, which hangs above her door."
)
# Nobody would ask anything of it.
MENU = "Home | Products | Contact | Terms and conditions | All rights reserved"
_STRIP = (
    "strip(text, chars=None): returns a copy of the text without the characters at both ends, or without white space "
    "if none are given."
)
_SHOWN_BEFORE = {
    _BASALT: "Why are some basalt columns broader than others?",
    _FERRY: "What became of the ferry of Alken?",
    MENU: NOTHING,
    _STRIP: "How do I remove white space around a string?",
}


@dataclass(frozen=True)
class Writer:
    """
    A chat model behind an OpenAI-compatible API.

    :param model: Its name.
    :param api_base_url: Where the API is; that of OpenAI if `None`.
    :param api_key: The key of the API.
    """

    model: str
    api_base_url: str | None = None
    api_key: Secret = field(default_factory=lambda: Secret.from_env_var("OPENAI_API_KEY", strict=False))

    def write(
        self,
        passages: Sequence[Passage],
        generator: np.random.Generator,
        most: int,
        *,
        queries: Sequence[str] = (),
        cache: Path | None = None,
        show_progress: bool = False,
    ) -> list[Question]:
        """
        Have questions written; a passage is asked for once, and keeps all that it says.

        :param passages: The corpus.
        :param generator: Draws passages and examples.
        :param most: How many questions.
        :param queries: Queries of people, some of which are shown to the model: it asks as they do.
        :param cache: Keep what was written here, so that nothing is written twice; nothing is kept if `None`.
        :param show_progress: Show progress and the time left.
        :returns: The questions, fewer if the passages give no more.
        :raises ValueError: If the environment has no key, or what was kept is damaged.
        :raises RuntimeError: If the model cannot be asked.
        """
        if self.api_key.resolve_value() is None:
            msg = (
                f"{self.model} is asked with a key, and there is none: set OPENAI_API_KEY in the environment, to any "
                "word where the API asks for none."
            )
            raise ValueError(msg)
        examples = generator.permutation(len(queries))[:_MOST_EXAMPLES].tolist()
        task = "\n".join([_TASK, *(["", "People ask like this:"] if examples else []), *(queries[n] for n in examples)])
        shown = [ChatMessage.from_system(task)]
        for passage, question in _SHOWN_BEFORE.items():
            shown += [ChatMessage.from_user(_asked_for(passage)), ChatMessage.from_assistant(question)]
        rows = iter(generator.permutation(len(passages))[: most * _MOST_TRIES].tolist())
        kept = _Kept(cache)
        chat = OpenAIChatGenerator(
            api_key=self.api_key, model=self.model, api_base_url=self.api_base_url, timeout=_SECONDS
        )
        chat.warm_up()
        found: list[Question] = []
        # What was shown is no question about these passages, and none counts twice.
        seen = {question.casefold() for question in _SHOWN_BEFORE.values()}
        with tqdm(total=most, desc="Writing questions", unit="question", disable=not show_progress) as progress:
            # No more is asked for than is wanted: it may cost money.
            while now := list(islice(rows, min(_AT_ONCE, most - len(found)))):
                texts = [passages[row].title_and_text for row in now]
                replies = self._replies(
                    chat, [[*shown, ChatMessage.from_user(_asked_for(text))] for text in texts], kept
                )
                before = len(found)
                for row, text, reply in zip(now, texts, replies, strict=True):
                    question = question_of(reply, text)
                    if question and question.casefold() not in seen:
                        seen.add(question.casefold())
                        found.append(Question(row, question, None))
                progress.update(len(found) - before)
        return found

    def _replies(self, chat: OpenAIChatGenerator, prompts: Sequence[list[ChatMessage]], kept: "_Kept") -> list[str]:
        """What the model answers, by prompt."""
        keys = [self._key(prompt) for prompt in prompts]
        new = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in kept.texts}
        if new:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                asked = {pool.submit(self._reply, chat, prompt): key for key, prompt in new.items()}
            # What was answered is kept, whatever came of the others.
            for one in sorted(asked, key=lambda one: one.exception() is not None):
                kept.add(asked[one], one.result())
        return [kept.texts[key] for key in keys]

    def _key(self, prompt: Sequence[ChatMessage]) -> str:
        parts = [str(self.api_base_url), self.model, *(one.text or "" for one in prompt)]
        return sha256("\n".join(parts).encode()).hexdigest()

    def _reply(self, chat: OpenAIChatGenerator, prompt: list[ChatMessage]) -> str:
        try:
            try:
                replies = chat.run(prompt, generation_kwargs=_SUREST)["replies"]
            except BadRequestError as error:
                # Some models that think have one temperature, and refuse another.
                if "temperature" not in str(error):
                    raise
                replies = chat.run(prompt)["replies"]
        except OpenAIError as error:
            place = self.api_base_url or "the API of OpenAI"
            msg = (
                f"{self.model} at {place} writes no questions: {error} Name a model that is served there (--writer), "
                "where the API is (--api-base-url), and its key (OPENAI_API_KEY in the environment; any word where "
                "none is needed)."
            )
            raise RuntimeError(msg) from error
        return (replies[0].text if replies else None) or ""


def _asked_for(passage: str) -> str:
    return f"Passage:\n{passage[:_SHOWN]}\n\nQuestion:"


class _Kept:
    """What was written: a file of lines, to which one is added as soon as it is there."""

    def __init__(self, cache: Path | None) -> None:
        self._path = None if cache is None else cache / "written-questions.jsonl"
        self.texts: dict[str, str] = {}
        if self._path is not None and self._path.is_file():
            whole, _, rest = self._path.read_text(encoding="utf-8").rpartition("\n")
            try:
                self.texts = dict(json.loads(line) for line in whole.splitlines())
            except (ValueError, TypeError):
                msg = f"{self._path} is damaged: remove it, and the questions are written anew."
                raise ValueError(msg) from None
            if rest:
                # A killed run did not finish the last line.
                atomic_write(self._path, f"{whole}\n" if whole else "")

    def add(self, key: str, text: str) -> None:
        self.texts[key] = text
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([key, text]) + "\n")
