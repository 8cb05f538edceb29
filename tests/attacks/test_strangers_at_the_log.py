"""Strangers who submit to a witness: nothing that anybody can send stays, or accuses a log."""

import os
from collections.abc import Iterator

import httpx
import psycopg
import pytest

from ledger.log.checkpoint import Checkpoint
from ledger.log.note import Note, NoteSignature
from ledger.publication.witness import AddCheckpointRequest
from tests.attacks.conftest import attacked
from tests.attacks.target import KOSOVO, Target
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.process import wait_until_published

_LIMIT = 30


@pytest.fixture(scope="module")
def witnessing(server: str, begun: str, agencies: Agencies) -> Iterator[Target]:
    with attacked(server, begun, agencies, submissions_per_minute=_LIMIT) as made:
        yield made


def checkpoint(target: Target) -> Note:
    return Note.parse(target.ask("/log/checkpoint", None).text)


def submit(target: Target, submission: AddCheckpointRequest, party: str = "xk") -> httpx.Response:
    path = f"/witness/{party}/add-checkpoint"
    return target.ask(path, None, method="POST", content=bytes(submission))


def evidence(target: Target) -> int:
    with psycopg.connect(target.database) as connection:
        row = connection.execute("SELECT count(*) FROM witness_xk.evidence").fetchone()
    assert row is not None
    return int(row[0])


def test_old_checkpoints_and_wrong_proofs_leave_no_row(witnessing: Target) -> None:
    """API4:2023: anybody has a published checkpoint and can send it again, changed or not."""
    wait_until_published(witnessing.server.url, 1)
    old = checkpoint(witnessing)
    with witnessing.server.client(KOSOVO) as police:
        receipt = police.open_case(opening())
    wait_until_published(witnessing.server.url, receipt.position)
    size = Checkpoint.parse(checkpoint(witnessing).text).size
    for _ in range(5):
        by_anybody = NoteSignature("anybody.example", os.urandom(4), os.urandom(64))
        sent = old.with_signatures([by_anybody])
        assert submit(witnessing, AddCheckpointRequest(0, (), sent)).status_code == 409
        wrong = AddCheckpointRequest(size, (os.urandom(32),), checkpoint(witnessing))
        assert submit(witnessing, wrong).status_code == 422
    assert evidence(witnessing) == 0


def test_an_address_submits_so_often_and_no_more(witnessing: Target) -> None:
    """API4:2023: one address has a limit of its own at the witnesses, for what holds too."""
    note = checkpoint(witnessing)
    told = [submit(witnessing, AddCheckpointRequest(0, (), note)) for _ in range(_LIMIT + 1)]
    witnessing.refuses(told[-1], 429, "too-many-requests")
    assert int(told[-1].headers["retry-after"]) > 0
    assert witnessing.ask("/log/checkpoint", None).is_success  # nothing else is refused
