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
from haystack.utils import Secret
from openai import OpenAIError
from tqdm.auto import tqdm

from rrra_haystack.files import atomic_write
from rrra_training.adapting.questions import Question
from rrra_training.data import Passage

# A server answers this many requests at once.
_AT_ONCE = 8
# Passages that are asked for, for one question that is wanted: of some nobody would ask anything.
_MOST_TRIES = 2
_MOST_EXAMPLES = 5
_LONGEST = 400
_NOTHING = "NONE"
_TASK = (
    "Write one question that somebody would ask who needs what the passage below says, and who has not read it. "
    "Do not speak of the passage. Use words of your own where you can. Ask in the language of the passage. "
    f"Answer with the question alone, or with {_NOTHING} if the passage says nothing that anybody would ask for."
)


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
        rows = iter(generator.permutation(len(passages))[: most * _MOST_TRIES].tolist())
        kept = _Kept(cache)
        chat = OpenAIChatGenerator(api_key=self.api_key, model=self.model, api_base_url=self.api_base_url)
        chat.warm_up()
        found: list[Question] = []
        with tqdm(total=most, desc="Writing questions", unit="question", disable=not show_progress) as progress:
            # No more is asked for than is wanted: it may cost money.
            while now := list(islice(rows, min(_AT_ONCE, most - len(found)))):
                prompts = [f"{task}\n\nPassage:\n{passages[row].title_and_text}" for row in now]
                texts = self._answers(chat, prompts, kept)
                written = [Question(row, text, None) for row, text in zip(now, texts, strict=True) if text]
                found += written
                progress.update(len(written))
        return found

    def _answers(self, chat: OpenAIChatGenerator, prompts: Sequence[str], kept: "_Kept") -> list[str]:
        """What the model asks, by prompt; empty where it asks nothing."""
        keys = [sha256(f"{self.api_base_url}\n{self.model}\n{prompt}".encode()).hexdigest() for prompt in prompts]
        new = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in kept.texts}
        if new:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                asked = {pool.submit(self._answer, chat, prompt): key for key, prompt in new.items()}
            # What was answered is kept, whatever came of the others.
            for one in sorted(asked, key=lambda one: one.exception() is not None):
                kept.add(asked[one], one.result())
        return [kept.texts[key] for key in keys]

    def _answer(self, chat: OpenAIChatGenerator, prompt: str) -> str:
        try:
            replies = chat.run(prompt)["replies"]
        except OpenAIError as error:
            place = self.api_base_url or "the API of OpenAI"
            msg = (
                f"{self.model} at {place} writes no questions: {error} Name a model that is served there (--writer), "
                "where the API is (--api-base-url), and its key (OPENAI_API_KEY in the environment; any word where "
                "none is needed)."
            )
            raise RuntimeError(msg) from error
        reply = (replies[0].text if replies else None) or ""
        # Some models think aloud before they answer.
        lines = reply.rpartition("</think>")[2].strip().splitlines()
        text = lines[0].strip().strip('"') if lines else ""
        return "" if text.strip(".") == _NOTHING or len(text) > _LONGEST else text


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
