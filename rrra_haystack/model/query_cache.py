"""The queries that a model has encoded last."""

import threading
from collections import OrderedDict
from collections.abc import Callable

from rrra_haystack.model.encodings import QueryEncoding

# A text and its prompt.
Key = tuple[str, str | None]


class QueryCache:
    """
    Remembers the queries that were asked last, for all threads.

    :param kept: How many.
    """

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._held: OrderedDict[Key, QueryEncoding] = OrderedDict()
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
            self._held[key] = encoding
            while len(self._held) > self._kept:
                self._held.popitem(last=False)
        return encoding

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._held.clear()
