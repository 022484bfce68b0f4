"""Token states <-> token codes, as records that are stored beside documents."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pybase64
import torch
from torch import Tensor

from rrra_haystack.model.codes.batch import CodeBatch
from rrra_haystack.model.codes.flaws import reject
from rrra_haystack.model.codes.kinds import KINDS
from rrra_haystack.model.codes.record import ALIGNMENT, CHECKSUM_WORD, HEAD, MAGIC, VERSION, WORD, RecordLayout
from rrra_haystack.model.segments import ranges


@dataclass(frozen=True)
class TokenCodec(RecordLayout):
    """Writes and reads the token codes of one model."""

    def pack(
        self,
        pooled: Tensor,
        states: Tensor,
        lengths: Tensor,
        words: Sequence[np.ndarray],
        contents: Sequence[int] | None = None,
    ) -> list[str]:
        """
        Pack the token codes of b documents.

        :param pooled: Pooled embeddings, shape ``[b, pooled_dim]``.
        :param states: Projected token states of all documents, one after the other, shape ``[T, token_dim]``; their
            lengths do not matter.
        :param lengths: Tokens of each document, shape ``[b]``.
        :param words: Words of each document, as :func:`~rrra_haystack.model.words.word_codes` gives them.
        :param contents: Check sum of each document's content; 0 or `None` if it is not known.
        :returns: One record a document, as base64 text.
        """
        counts = lengths.cpu().numpy()
        if len(counts) == 0:
            return []
        word_counts = np.asarray([len(own) for own in words])
        unit = torch.nn.functional.normalize(states.float(), dim=-1)
        tokens, token_scale = self.quantiser.quantise(unit, counts)
        # A late-interaction model has no pooled embedding, and an empty row no peak.
        peak = torch.nn.functional.pad(pooled.abs(), (0, 1)).amax(dim=1).clamp_min(1e-12)
        pooled_codes = (pooled * (127 / peak)[:, None]).round().to(torch.int8).cpu().numpy()

        rows = self.record_rows(counts, word_counts)
        ends = np.cumsum(rows)
        buffer = np.zeros((int(ends[-1]), self.row_bytes), dtype=np.uint8)
        buffer[ranges(ends - counts, counts)] = tokens

        head = np.zeros(len(counts), dtype=HEAD)
        head["magic"], head["version"], head["kind"] = MAGIC, VERSION, KINDS.index(self.kind)
        head["token_dim"], head["pooled_dim"] = self.token_dim, self.pooled_dim
        head["tokens"], head["words"], head["fingerprint"] = counts, word_counts, self.fingerprint
        head["content"] = 0 if contents is None else contents
        head["token_scale"], head["pooled_scale"] = token_scale, (peak / 127).cpu().numpy()
        flat = buffer.reshape(-1)
        starts = (ends - rows) * self.row_bytes
        head_bytes = np.concatenate([head.view(np.uint8).reshape(len(head), -1), pooled_codes.view(np.uint8)], axis=1)
        flat[starts[:, None] + np.arange(head_bytes.shape[1])] = head_bytes
        word_bytes = np.concatenate(words).astype(WORD).view(np.uint8)
        flat[ranges(starts + head_bytes.shape[1], WORD.itemsize * word_counts)] = word_bytes
        summands = flat.view(np.uint64)
        summands[starts // 8 + CHECKSUM_WORD] = np.add.reduceat(summands, starts // 8)
        text = pybase64.b64encode_as_string(flat.data)
        # Records end where base64 makes whole letters of their bytes.
        return [text[begin:end] for begin, end in pairwise([0, *(ends * self.row_bytes // 3 * 4).tolist()])]

    def unpack(self, records: Sequence[str], names: Sequence[str] | None = None) -> CodeBatch:
        """
        Read the codes of a candidate list.

        :param records: Base64 text of the records, one a document.
        :param names: What to call the documents in errors; their numbers if `None`.
        :raises InvalidCodesError: If a record is damaged, truncated, of another version, or made by another model.
        """
        if not records:
            return self._batch(np.zeros(0, np.uint8), np.zeros(0, HEAD), np.zeros(0, np.int64))
        try:
            sizes = np.fromiter(map(len, records), dtype=np.int64, count=len(records))
            buffer = pybase64.b64decode_as_bytearray("".join(records), validate=True)
        except (TypeError, ValueError):
            reject(records, names, self)
        sizes = sizes // 4 * 3
        smallest = -(-HEAD.itemsize // ALIGNMENT) * ALIGNMENT
        if len(buffer) != sizes.sum() or (sizes % ALIGNMENT).any() or (sizes < smallest).any():
            reject(records, names, self)
        flat = np.frombuffer(buffer, dtype=np.uint8)
        starts = np.cumsum(sizes) - sizes
        head = flat[starts[:, None] + np.arange(HEAD.itemsize)].view(HEAD)[:, 0]
        rows = self.record_rows(head["tokens"].astype(np.int64), head["words"].astype(np.int64))
        checksums = np.add.reduceat(flat.view(np.uint64), starts // 8) - head["checksum"]
        sound = (
            (head["magic"] == MAGIC)
            & (head["version"] == VERSION)
            & (head["kind"] == KINDS.index(self.kind))
            & (head["token_dim"] == self.token_dim)
            & (head["pooled_dim"] == self.pooled_dim)
            & (head["fingerprint"] == self.fingerprint)
            & (rows * self.row_bytes == sizes)
            & (checksums == head["checksum"])
        )
        if not sound.all():
            reject(records, names, self)
        return self._batch(flat, head, np.cumsum(rows))

    def _batch(self, flat: np.ndarray, head: np.ndarray, ends: np.ndarray) -> CodeBatch:
        """What is matched of sound records: their bytes, heads, and the row after the last one of each."""
        begins = (np.concatenate([[0], ends[:-1]]) if len(ends) else ends) * self.row_bytes + HEAD.itemsize
        pooled = flat[begins[:, None] + np.arange(self.pooled_dim)].view(np.int8)
        word_counts = head["words"].astype(np.int64)
        return CodeBatch(
            rows=flat.reshape(-1, self.row_bytes),
            ends=ends,
            lengths=head["tokens"].astype(np.int64),
            token_scale=head["token_scale"],
            pooled=torch.from_numpy(pooled * head["pooled_scale"][:, None]),
            words=flat[ranges(begins + self.pooled_dim, WORD.itemsize * word_counts)].view(WORD),
            word_counts=word_counts,
            contents=head["content"],
            quantiser=self.quantiser,
        )
