"""Memory that forked processes share, with a lock that is free again when its holder is killed."""

import fcntl
import mmap
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class SharedArea:
    """Zeroed memory that is shared by the processes that are forked after it was made.

    The lock is a POSIX record lock: the operating system releases it when its holder is killed.
    """

    def __init__(self, size_bytes: int) -> None:
        self._file = os.memfd_create("case-ledger")
        os.truncate(self._file, size_bytes)
        self._map = mmap.mmap(self._file, size_bytes)
        # POSIX locks exclude processes, not threads of one.
        self._thread_lock = threading.Lock()
        self.view = memoryview(self._map)

    def keep_to_this_process(self) -> None:
        """Keep the memory from processes that this one forks, such as readers of documents."""
        self._map.madvise(mmap.MADV_DONTFORK)
        self._thread_lock = threading.Lock()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Exclude all other threads and processes while the block runs."""
        with self._thread_lock:
            fcntl.lockf(self._file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN)
