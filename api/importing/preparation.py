"""Prepares rows on every core, in the order of the file, a bounded number ahead."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from typing import Any
from uuid import UUID

from joserfc.jwk import OKPKey

from api.keys.country_keys import country_key, person_keys
from api.runtime.settings import Settings
from ledger.importing.import_map import ImportMap
from ledger.importing.mapping import Mapper
from ledger.importing.preparing import ImportRow, Prepared, Preparer, Signer
from ledger.procedure.protocol import Protocol

_ALONE = 2
"""Up to so many batches, starting processes costs more than it gains."""
_prepare: Callable[[Sequence[ImportRow]], Prepared]


@dataclass(frozen=True, slots=True)
class PreparationJob:
    """The inputs of a process that prepares rows of one import."""

    settings: Settings
    import_id: UUID
    import_map: ImportMap
    agency: str
    party: str
    private: dict[str, Any]
    """The agency's key as a JWK: handed over in memory, and written nowhere."""
    registered: dict[str, Any]
    protocol: Protocol
    seals: bool
    """Whether persons' data keys are made and disclosures sealed; not in a rehearsal."""

    def preparer(self) -> Preparer:
        """Return the preparer of a process.

        Raises ``ValueError`` if the country's key does not open, or if the map does not hold.
        """
        keys = None
        if self.seals:
            own = {self.party: country_key(self.settings, self.party)}
            keys = person_keys(self.settings, own)[self.party]
        signer = Signer(
            self.agency,
            OKPKey.import_key(self.private),
            OKPKey.import_key(self.registered),
            self.protocol,
        )
        mapper = Mapper(self.import_map, self.party)
        return Preparer(self.import_id, signer, mapper, keys)


def prepare_all(
    work: PreparationJob, batches: Iterable[Sequence[ImportRow]], *, workers: int | None = None
) -> Iterator[Prepared]:
    """Yield the result of each batch, in order."""
    count = workers or len(os.sched_getaffinity(0))
    remaining = iter(batches)
    first = list(islice(remaining, _ALONE + 1))
    if count == 1 or len(first) <= _ALONE:
        yield from map(work.preparer().prepare, chain(first, remaining))
        return
    with ProcessPoolExecutor(
        count, mp_context=get_context("spawn"), initializer=_begin, initargs=(work,)
    ) as pool:
        ahead: deque[Future[Prepared]] = deque()
        try:
            for batch in chain(first, remaining):
                ahead.append(pool.submit(_work, batch))
                if len(ahead) > 2 * count:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def _begin(work: PreparationJob) -> None:
    global _prepare  # a process has one work
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _prepare = work.preparer().prepare


def _work(rows: Sequence[ImportRow]) -> Prepared:
    return _prepare(rows)


def _end_with_parent() -> None:
    """End this process when its parent ends.

    A parent that is killed cannot tell its children to stop.
    """
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
