from haystack import logging

from rrra_haystack.model.encoder import Encoder

logger = logging.getLogger(__name__)


def _may_exceed(text: str, room: int) -> bool:
    """Whether a text may have more tokens than some, told without reading it."""
    # Tokenizers take letters apart, and those of bytes make up to four tokens of one. They leave ASCII as it is, but
    # some put a space before each word that is a token too.
    return not text.isascii() or 2 * len(text) > room


def unread_tokens(
    encoder: Encoder, texts: list[str], prefix: str | None, read: list[list[int]] | None = None
) -> dict[int, int]:
    """
    How much of texts an encoder does not read; one warning tells of all.

    :param encoder:
        The encoder.
    :param texts:
        The texts.
    :param prefix:
        What is put before each; the encoder's own document prompt if `None`.
    :param read:
        The tokens of all texts, where they are known.
    :returns:
        By the numbers of the texts that are too long, the tokens behind those that are read.
    """
    room = encoder.room(prefix)
    if room is None:
        return {}
    long = [number for number, text in enumerate(texts) if _may_exceed(text, room)]
    if not long:
        return {}
    own = encoder.token_ids([texts[i] for i in long]) if read is None else [read[i] for i in long]
    lengths = {number: len(ids) for number, ids in zip(long, own, strict=True)}
    unread = {number: length - room for number, length in lengths.items() if length > room}
    if unread:
        logger.warning(
            "{count} of {all} documents are longer than the {room} tokens that {encoder} reads: {share} of their "
            "tokens are neither embedded nor coded. Split them with RRRADocumentSplitter before they are embedded.",
            count=len(unread),
            all=len(texts),
            room=room,
            encoder=encoder.name,
            share=f"{sum(unread.values()) / sum(lengths[number] for number in unread):.0%}",
        )
    return unread
