"""Agencies that write again and again, and remember what was acknowledged."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from uuid import uuid4

from api.client import LedgerClient
from api.client.schemas import Receipt
from ledger.vocabulary.picklists import RiskLevel
from ledger.vocabulary.protection import RiskAssessed
from tests.support.actions import START, opening
from tests.support.agencies import Agencies
from tests.support.waiting import until

ACTIONS_OF_A_CASE = 12
BETWEEN_SECONDS = 0.05
"""A writer rests so long between two actions: several together have some under way all the time,
and leave the processor to what a test waits for."""


class Writer(threading.Thread):
    """One agency that opens cases and acts on them, and remembers what was acknowledged."""

    def __init__(self, client: LedgerClient) -> None:
        super().__init__(name=client.agency)
        self.client = client
        self.acknowledged: list[Receipt] = []
        self.stopping = threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with self.client:
                while not self.stopping.is_set():
                    self._one_case()
        except BaseException as error:
            self.error = error

    def _one_case(self) -> None:
        case_id = uuid4()
        opened = opening(indicators_note="a note that must not be lost")
        self.acknowledged.append(self.client.append(opened, case_id, 0))
        for version in range(1, ACTIONS_OF_A_CASE):
            if self.stopping.wait(BETWEEN_SECONDS):
                return
            assessed = RiskAssessed(
                acted_at=START + timedelta(hours=version), risk_level=RiskLevel.HIGH
            )
            self.acknowledged.append(self.client.append(assessed, case_id, version))


@contextmanager
def writing(url: str, agencies: Agencies, names: Sequence[str]) -> Iterator[list[Writer]]:
    """Writers of these agencies, for as long as the block runs; none of them may fail."""
    writers = [
        Writer(
            LedgerClient(
                url,
                agency=agency,
                key=agencies.keys[agency],
                protocol=agencies.protocol.id,
                patience=90,
            )
        )
        for agency in names
    ]
    for writer in writers:
        writer.start()
    try:
        yield writers
    finally:
        for writer in writers:
            writer.stopping.set()
        for writer in writers:
            writer.join()
    assert [writer.error for writer in writers] == [None] * len(writers)


def wait_for_progress(
    writers: Sequence[Writer], said: Callable[[], str], seconds: float = 60
) -> None:
    """Wait until every writer got something acknowledged since now."""
    counts = [len(writer.acknowledged) for writer in writers]

    def all_went_on() -> bool:
        assert all(writer.error is None for writer in writers), [w.error for w in writers]
        return all(len(w.acknowledged) > c for w, c in zip(writers, counts, strict=True))

    until(all_went_on, said, seconds=seconds)
