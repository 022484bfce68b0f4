"""How an embedder reads texts, where the first stores were written otherwise."""

from haystack import Pipeline

from haystack_integrations.components.embedders.rrra import RRRADocumentEmbedder
from rrra_haystack.documents.sparse import counts_words
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.pretrained import bundled


def readings(pipeline: Pipeline) -> dict[str, list[str]]:
    """
    What embedders read otherwise than those of the first stores, by their names; nothing of those that read as ever.

    :param pipeline: An indexing pipeline. Models that are not bundled are loaded, for their tokenizers decide.
    """
    embedders = {name: one for name, one in pipeline.walk() if isinstance(one, RRRADocumentEmbedder)}
    return {name: told for name, one in embedders.items() if (told := _read_anew(one))}


def _read_anew(embedder: RRRADocumentEmbedder) -> list[str]:
    if bundled(str(embedder.model)) is not None and not embedder.tokenizer_kwargs:
        # Word pieces without capitals are read as ever.
        return []
    encoder = embedder.loaded_model.encoder
    prompt = encoder.transformer.prompts.get("document") if embedder.prefix is None else embedder.prefix
    changes = {
        "words": embedder.sparse and counts_words(encoder),
        "first token": encoder.embeds and _joins(encoder, prompt or ""),
    }
    return [name for name, is_new in changes.items() if is_new]


def _joins(encoder: Encoder, prompt: str) -> bool:
    """Whether the end of a prompt, such as a space, is a part of the first token behind it."""
    alone, whole = encoder.token_ids([prompt, f"{prompt}the"])
    return whole[: len(alone)] != alone
