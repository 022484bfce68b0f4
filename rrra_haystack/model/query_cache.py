"""The queries that a model has encoded last."""

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable

from rrra_haystack.model.encodings import QueryEncoding

# A text and its prompt.
Key = tuple[str, str | None]

# The longest query of MiniLM takes half a megabyte, one of 8,192 tokens of 1,024 dimensions up to 64.
_BYTES_KEPT = 1 << 27


class QueryCache:
    """
    Remembers the queries that were asked last, for all threads, as long as they take no more than 128 MB.

    The last one is always remembered, however large it is.

    :param kept: How many.
    :param bytes_kept: How much memory they may take.
    """

    def __init__(self, kept: int = 256, bytes_kept: int = _BYTES_KEPT) -> None:
        self._kept = kept
        self._bytes_kept = bytes_kept
        self._held: OrderedDict[Key, QueryEncoding] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, key: Key) -> bool:
        return key in self._held

    def get(self, key: Key, encode: Callable[[], QueryEncoding]) -> QueryEncoding:
        """
        A query's encoding.

        :param key: The query.
        :param encode: Encodes it if it is not remembered; other threads are not held up meanwhile.
        """
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        encoding = encode()
        with self._lock:
            # Another thread may have encoded it meanwhile.
            if key not in self._held:
                self._held[key] = encoding
                self._bytes += _size(key, encoding)
            while len(self._held) > self._kept or (self._bytes > self._bytes_kept and len(self._held) > 1):
                self._bytes -= _size(*self._held.popitem(last=False))
        return encoding

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._held.clear()
            self._bytes = 0


def _size(key: Key, encoding: QueryEncoding) -> int:
    """The bytes that a query takes; tensors may share theirs."""
    tensors = [encoding.embedding, encoding.states] + ([] if encoding.hidden is None else [encoding.hidden])
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(map(sys.getsizeof, key)) + encoding.words.nbytes + sum(storages.values())
