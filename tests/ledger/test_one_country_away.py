"""Publication, votes and takeover with one country away, and what the country finds afterwards."""

import base64
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from ledger.application import Ledger
from ledger.events import event_bytes
from ledger.log.note import NoteError
from ledger.log.policy import Policy
from ledger.publication.missed_cosignatures import MissedCosignatures, missed_publications
from ledger.publication.publisher import published
from ledger.refusals import Refusal
from ledger.replication.failover import take_over
from ledger.signing import signed_action
from ledger.store.database import Database
from ledger.system import clock
from ledger.verification.evidence_reader import kept_in, stored_rows
from ledger.verification.policy_history import PolicyHistory, ProvedAct
from ledger.verification.verification import verify_ledger
from ledger.vocabulary.picklists import VoteSubject
from ledger.vocabulary.registration import AbsenceAnnounced, PresenceDeclared
from tests.ledger.test_mirror import one_copy, prioritised
from tests.support.actions import START
from tests.support.agencies import Agencies
from tests.support.auditor import run_auditor
from tests.support.exports import export_of, receipt_of, recorded_policies
from tests.support.go_programs import build, need_go
from tests.support.logs import Log, LogSource, signer
from tests.support.waiting import until

NOTICE = timedelta(days=14)
BOTH = (VoteSubject.LOG_KEY, VoteSubject.WITNESSES)


@dataclass
class Calendar:
    """This machine's clock, which a test moves on."""

    passed: timedelta = field(default=timedelta())

    def now(self) -> datetime:
        return datetime.now(UTC) + self.passed


@pytest.fixture
def calendar(monkeypatch: pytest.MonkeyPatch) -> Calendar:
    made = Calendar()
    monkeypatch.setattr(clock, "now", made.now)
    return made


@pytest.fixture
def log(ledger: Ledger, database: str, agencies: Agencies) -> Iterator[Log]:
    """A log of which two of three witnesses publish."""
    with Database(database) as pool:
        yield Log(ledger, pool, agencies, threshold=2)


def absent(*subjects: VoteSubject) -> AbsenceAnnounced:
    return AbsenceAnnounced(acted_at=START, party="AL", subjects=subjects or BOTH)


def missed(log: Log, party: str) -> list[MissedCosignatures]:
    return missed_publications(log.database, party, log.policy.witnesses[party].key.name)


def cosigners(log: Log) -> set[str]:
    last = published(log.database)
    assert last is not None
    return set(log.policy_at(last[1].size).check(last[0])[1])


def test_two_witnesses_publish_and_the_third_goes_on_where_it_was(
    server: str, migrated: str, log: Log
) -> None:
    log.publication.step()
    assert cosigners(log) == {"AL", "ME", "XK"}  # nobody who is there is left out
    before = log.ledger.rows.tree().size
    log.away = {"AL"}
    sizes = []
    for _ in range(3):
        log.open_case()
        standing = log.publication.step()
        assert standing.published == standing.signed
        assert standing.witnesses == {"AL": before, "ME": standing.signed, "XK": standing.signed}
        assert cosigners(log) == {"ME", "XK"}
        sizes.append(standing.published)
    (gap,) = missed(log, "AL")
    assert (gap.first, gap.last, gap.count, gap.covered_by) == (sizes[0], sizes[-1], 3, None)
    assert missed(log, "XK") == []
    # Albania's copy verifies every event, and its witness cosigns from its last size on.
    with one_copy(server, migrated, log) as copy:
        source = LogSource(log)
        copy.catch_up(source)
        assert copy.mirror.step_published(source)
    log.away = set()
    log.publication.step()
    until(lambda: log.publication.standing().witnesses["AL"] == sizes[-1])
    log.open_case()
    log.publication.step()
    assert cosigners(log) == {"AL", "ME", "XK"}
    (gap,) = missed(log, "AL")
    assert (gap.first, gap.last, gap.covered_by) == (sizes[0], sizes[-1], sizes[-1])


def test_one_witness_of_three_publishes_nothing(log: Log) -> None:
    log.publication.step()
    before = log.ledger.rows.tree().size
    log.away = {"AL", "ME"}
    log.open_case()
    standing = log.publication.step()
    assert (standing.signed > before, standing.published) == (True, before)


def decided_without_albania(log: Log, calendar: Calendar) -> Policy:
    """Adopt another log key by Kosovo and Montenegro alone, after the notice."""
    log.publication.step()
    log.away = {"AL"}
    log.later_keys = [signer()]
    policy = log.policy_of(log.later_keys[0])
    log.register("xk-nac", absent(VoteSubject.LOG_KEY))
    with pytest.raises(Refusal, match="counts from"):
        log.register("xk-nac", log.vote(policy, "AL"))
    calendar.passed += NOTICE
    log.register("xk-nac", log.vote(policy, "AL"))
    log.register("me-nac", log.vote(policy, "AL"))
    log.register("xk-nac")
    standing = log.publication.step()
    assert standing.published == standing.signed
    return policy


def test_what_was_decided_without_it_verifies_everywhere(
    log: Log, calendar: Calendar, database: str, tmp_path: Path
) -> None:
    log.adopt(log.policy)
    policy = decided_without_albania(log, calendar)
    agreed = log.registry().policies[-1]
    assert (str(agreed.policy), agreed.without) == (str(policy), {"AL"})
    with psycopg.connect(database) as connection:
        kept = kept_in(connection, log.policy)
        report = verify_ledger(stored_rows(connection), kept, workers=1)
    assert report.holds, report.findings
    # The policy of before leads to the new one, by the announcement and the two signatures.
    history = recorded_policies(log)
    assert history.believed(log.policy).periods[-1].policy == policy
    export, trusted, receipt = (tmp_path / name for name in ("export", "trusted", "receipt"))
    export_of(log, export)
    trusted.write_text(str(log.policy))
    receipt.write_text(receipt_of(log, 3))
    done = run_auditor("export", export, "--policy", str(trusted))
    assert done.returncode == 0, done.stdout + done.stderr
    policies = tmp_path / "policies.json"
    policies.write_text(str(history))
    done = run_auditor("receipt", receipt, "--policy", str(trusted), "--policies", str(policies))
    assert done.returncode == 0, done.stdout
    policies.write_text(str(forged := unannounced(history)))
    with pytest.raises(NoteError, match="not-absent"):
        forged.believed(log.policy)
    done = run_auditor("receipt", receipt, "--policy", str(trusted), "--policies", str(policies))
    assert (done.returncode, "AL is not absent" in done.stderr) == (3, True), done.stderr


def unannounced(history: PolicyHistory) -> PolicyHistory:
    """The same, without the announcement."""
    acts = [one for one in history.acts if kind_of(one) != "absence_announced"]
    assert len(acts) < len(history.acts)
    return history.model_copy(update={"acts": acts})


def kind_of(act: ProvedAct) -> str:
    return signed_action.read_recorded(event_bytes.unseal(base64.b64decode(act.event))[0]).kind


def test_another_implementation_agrees(log: Log, calendar: Calendar, tmp_path: Path) -> None:
    need_go()
    reader = build(tmp_path / "read_policies")
    log.adopt(log.policy)
    log.register("me-nac", absent())
    calendar.passed += timedelta(days=1)
    log.register("al-nac", PresenceDeclared(acted_at=START))
    before = log.policy
    decided_without_albania(log, calendar)
    history = recorded_policies(log)
    files = {name: tmp_path / name for name in ("trusted", "policies", "receipt")}
    files["trusted"].write_text(str(before))
    files["receipt"].write_text(receipt_of(log, 3))
    words = [reader, files["trusted"], files["policies"], files["receipt"]]
    files["policies"].write_text(str(history))
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    files["policies"].write_text(str(unannounced(history)))
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "not absent" in done.stderr) == (1, True), done.stderr


def test_a_copy_takes_the_ledger_over_without_the_party_that_is_away(
    server: str, migrated: str, log: Log, calendar: Calendar
) -> None:
    log.adopt(log.policy)
    log.publication.step()
    log.away = {"AL"}
    case_id = log.open_case()
    log.publication.step()
    source = LogSource(log)
    with one_copy(server, migrated, log) as copy, one_copy(server, migrated, log) as third:
        for one in (copy, third):
            one.catch_up(source)
            one.mirror.step_published(source)
        size = copy.mirror.size
        # The ledger node is lost, and nobody announced Albania's absence while it was there.
        heirs_key = signer()
        policy = log.policy_of(heirs_key)
        words = log.decisions(policy, ("xk-nac", "me-nac"), "AL")
        own = [heirs_key.verifier]
        with pytest.raises(Refusal, match="AL does not count as absent"):
            take_over(copy.ledger, words, own)
        with pytest.raises(Refusal, match="The word of AL is missing"):
            take_over(copy.ledger, log.decisions(policy, ("xk-nac", "me-nac")), own)
        with pytest.raises(Refusal, match="The word of ME is missing"):
            take_over(copy.ledger, words[:1], own)
        assert copy.mirror.size == size
        announced = str(log.agencies.sign("me-nac", absent(), None))
        (receipt,) = take_over(copy.ledger, [announced], own)
        assert receipt.position == size + 1
        calendar.passed += NOTICE
        receipts = take_over(copy.ledger, words, own)
        assert [r.position for r in receipts] == [size + 2, size + 3]
        heir = replace(log, ledger=copy.ledger, database=copy.database, later_keys=[heirs_key])
        heir.act("xk-prosecution-prishtina", prioritised(), case_id)
        standing = heir.publication.step()
        assert standing.published == standing.signed == size + 4
        # Another country's node verifies the decision, and so does Albania's when it is back.
        third.catch_up(LogSource(heir))
        assert third.tables() == copy.tables()
        heir.away = set()
        heir.publication.step()
        until(lambda: heir.publication.standing().witnesses["AL"] == size + 4)
        with psycopg.connect(third.conninfo) as connection:
            kept = kept_in(connection, log.policy)
            report = verify_ledger(stored_rows(connection), kept, workers=1)
        assert report.holds, report.findings
