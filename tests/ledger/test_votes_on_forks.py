"""Votes on the log policy count in the history that they were given in, and in no fork of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from ledger.application import Ledger
from ledger.log.note import Note, NoteError, verify
from ledger.log.signed_decision import SignedDecision, action_digest, recorded, sign
from ledger.procedure import registry as registries
from ledger.procedure.deciding import refusal_by
from ledger.procedure.protocol import Protocol, shipped_protocol
from ledger.procedure.registry import policy_in_force
from ledger.refusals import Refusal
from ledger.replication.divergence import DisplacedVoteError, find_divergence
from ledger.replication.failover import take_over
from ledger.replication.false_decisions import LedgerEvents, held_against
from ledger.replication.mirror import DivergedError
from ledger.signing import signed_action
from ledger.store.database import Database
from ledger.verification.evidence_reader import kept_in, stored_rows
from ledger.verification.policy_history import Bridge, policy_history
from ledger.verification.verification import verify_ledger
from ledger.vocabulary.registration import LogPolicyAdopted, NamedCheckpoint
from tests.support.actions import START
from tests.support.agencies import PAST, Agencies
from tests.support.amending import acceptance, amended, proposal
from tests.support.auditor import run_auditor
from tests.support.copies import Copy, one_copy
from tests.support.exports import export_of
from tests.support.logs import ORIGIN, Log, LogSource, signer

COORDINATORS = ("xk-nac", "me-nac", "al-nac")
ELSEWHERE = NamedCheckpoint(size=1, root="0" * 64)


@pytest.fixture
def log(ledger: Ledger, database: str, agencies: Agencies) -> Iterator[Log]:
    with Database(database) as pool:
        yield Log(ledger, pool, agencies)


@dataclass(frozen=True)
class Put:
    """The events of the fork before the votes, and the checkpoint that the votes name."""

    others: int = 0
    """Other events on the fork before the votes."""
    early: bool = False
    """Whether the votes name the checkpoint that the fork begins after."""


@dataclass
class Forked:
    """A copy, and a ledger node with the old and the new log key that dropped the last two events.

    It put the votes of an ordinary rotation on what is left and other events. The votes name a
    checkpoint that has the two events, or one from before them (``Put.early``).
    """

    log: Log
    copy: Copy
    fork: Log
    conninfo: str
    """Of the fork's database."""
    first_vote: int
    """The position of the first vote on the fork."""


@pytest.fixture
def forked(
    request: pytest.FixtureRequest,
    server: str,
    migrated: str,
    log: Log,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Forked]:
    with one_copy(server, migrated, log) as copy, one_copy(server, migrated, log) as third:
        log.open_case()
        log.publication.step()
        source = LogSource(log)
        for one in (copy, third):
            one.catch_up(source)
            one.mirror.step_published(source)
        common = copy.mirror.size
        log.open_case()
        log.open_case()
        copy.catch_up(source)
        new_key = signer()
        put: Put = getattr(request, "param", Put())
        votes = log.decisions(log.policy_of(new_key), size=common if put.early else None)
        fork = replace(log, ledger=third.ledger, database=third.database, later_keys=[new_key])
        for _ in range(put.others):
            fork.open_case()
        with monkeypatch.context() as hostile:
            hostile.setattr("ledger.procedure.deciding.check_named_checkpoint", lambda *_: None)
            for vote in votes:
                read = signed_action.read(signed_action.parse(vote))
                third.ledger.append_to_registry(read)
        fork.publication.step()
        yield Forked(log, copy, fork, third.conninfo, common + put.others + 1)


def test_nobody_follows_a_rotation_whose_votes_are_on_a_fork(forked: Forked) -> None:
    """Else an operator's `node rejoin` would drop what the ledger node had acknowledged."""
    copy, source = forked.copy, LogSource(forked.fork)
    with pytest.raises(DisplacedVoteError, match="another history") as found:
        find_divergence(copy.ledger, copy.database, source, forked.log.policy)
    size = copy.mirror.size
    with pytest.raises(DivergedError, match="another history"):
        copy.mirror.step(source)
    (evidence,) = copy.mirror.evidence()
    assert evidence.refused == str(found.value.note)
    assert copy.mirror.size == size


def test_a_note_of_a_strangers_key_makes_no_evidence(forked: Forked) -> None:
    fork = forked.fork
    stranger = fork.note(fork.ledger.rows.frontier().size, key=signer())
    with pytest.raises(Exception, match="not signed") as told:
        forked.copy.mirror.step(LogSource(fork).lying(stranger))
    assert not isinstance(told.value, DivergedError)
    assert forked.copy.mirror.evidence() == []


def test_a_copy_that_has_only_the_beginning_does_not_follow_either(
    server: str, migrated: str, forked: Forked
) -> None:
    with one_copy(server, migrated, forked.log) as young:
        with pytest.raises(DivergedError, match="another-history"):
            young.catch_up(LogSource(forked.fork))
        assert young.mirror.size == 0
        (evidence,) = young.mirror.evidence()
        assert f"position {forked.first_vote}: " in evidence.what


@pytest.mark.parametrize("forked", [Put(others=2)], indirect=True)
def test_verification_and_recorded_policies_name_the_vote(forked: Forked, tmp_path: Path) -> None:
    fork, log = forked.fork, forked.log
    place = f"position {forked.first_vote}: "
    with psycopg.connect(forked.conninfo) as connection:
        kept = kept_in(connection, log.policy)
        report = verify_ledger(stored_rows(connection), kept, workers=1)
    assert f"{place}the rules refuse it (another-history)" in map(str, report.findings)
    history = policy_history(fork.ledger.rows, fork.database, fork.registry(), log.policy)
    with pytest.raises(NoteError, match=f"{place}the vote was given in another history"):
        history.believed(log.policy)
    export_of(fork, tmp_path / "fork")
    (tmp_path / "policy").write_text(str(log.policy))
    told = run_auditor("export", tmp_path / "fork", "--policy", str(tmp_path / "policy"))
    assert (told.returncode, "not of the same ledger" in told.stderr) == (3, True), told
    # Without the file of policies the new policy is trusted, and the vote is found all the same.
    (tmp_path / "fork" / "policies.json").unlink()
    told = run_auditor("export", tmp_path / "fork")
    assert (told.returncode, place + "the vote" in told.stderr) == (3, True), told


@pytest.mark.parametrize("forked", [Put(early=True)], indirect=True)
def test_a_fork_after_the_votes_checkpoint_is_noticed_by_a_node_with_a_dropped_event(
    forked: Forked,
) -> None:
    """Nothing in the votes contradicts such a fork. The copy and the receipts do."""
    log, copy, source = forked.log, forked.copy, LogSource(forked.fork)
    size = copy.mirror.size
    with pytest.raises(DivergedError, match="the last 2 events of this copy"):
        copy.mirror.step(source)
    (evidence,) = copy.mirror.evidence()
    held, refused = (Note.parse(note) for note in (evidence.held, evidence.refused))
    assert verify(held, [log.key.verifier])
    assert verify(refused, [forked.fork.later_keys[0].verifier])
    assert copy.mirror.size == size
    # A node that copied neither event has the signed receipt of its own agency's action.
    dropped, on_fork = copy.ledger.rows_at([size])[0], LedgerEvents(forked.fork.ledger)
    assert on_fork.size >= size
    signed = dropped.event().action.sd_jwt
    receipt = SignedDecision.parse(
        sign(
            recorded(
                ORIGIN,
                dropped.action_id,
                action_digest(signed),
                size,
                dropped.recorded_at,
                dropped.leaf_hash,
            ),
            log.key,
        )
    )
    registry = forked.fork.registry()
    receipt.verify(policy_in_force(registry, size, log.policy))
    check = held_against(receipt, signed, on_fork)
    assert check.untrue is not None
    assert "another one" in check.untrue


def test_a_rotation_holds_for_all_who_verify_it(log: Log, database: str, tmp_path: Path) -> None:
    for _ in range(8):
        log.register("xk-nac")
    text = amended(log.registry().agreement.latest.protocol, title="Another title")
    proposed = log.record("xk-nac", proposal(text))
    log.publication.step()
    for coordinator in ("me-nac", "al-nac"):
        log.record(coordinator, acceptance(proposed.action_id, text, log.named()))
    log.later_keys.append(new := signer())
    tree = log.ledger.rows.tree()
    sizes = {"xk-nac": 1, "me-nac": 2 ** (tree.size.bit_length() - 1), "al-nac": tree.size}
    for coordinator, size in sizes.items():
        log.register(coordinator, log.vote(log.policy_of(new), size=size))
    log.publication.step()
    with psycopg.connect(database) as connection:
        kept = kept_in(connection, log.policy)
        report = verify_ledger(stored_rows(connection), kept, workers=1)
    assert report.holds, report.findings
    history = policy_history(log.ledger.rows, log.database, log.registry(), log.policy)
    assert len(history.believed(log.policy).periods) == 2
    export_of(log, tmp_path / "export")
    (tmp_path / "policy").write_text(str(log.policy))
    policy = str(tmp_path / "policy")
    told = run_auditor("export", tmp_path / "export", "--policy", policy)
    assert told.returncode == 0, told
    # Each of the votes needs its proof.
    for bridge in history.bridges:
        rest = [one for one in history.bridges if one != bridge]
        with pytest.raises(NoteError, match=r"proof|another one's time"):
            history.model_copy(update={"bridges": rest}).believed(log.policy)
        wrong = Bridge(size=bridge.size, proof=[*bridge.proof, "A" * 43 + "="])
        with pytest.raises(NoteError):
            history.model_copy(update={"bridges": [*rest, wrong]}).believed(log.policy)


def test_an_acceptance_of_an_amendment_on_a_fork_is_found_by_everyone(
    server: str,
    migrated: str,
    log: Log,
    database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = amended(log.registry().agreement.latest.protocol, title="Another title")
    proposed = log.record("xk-nac", proposal(text))
    elsewhere = NamedCheckpoint(size=proposed.position, root="0" * 64)
    with monkeypatch.context() as hostile:
        hostile.setattr("ledger.procedure.deciding.check_named_checkpoint", lambda *_: None)
        vote = log.record("me-nac", acceptance(proposed.action_id, text, elsewhere))
    log.publication.step()
    place = f"position {vote.position}: the "
    with psycopg.connect(database) as connection:
        report = verify_ledger(stored_rows(connection), kept_in(connection, log.policy), workers=1)
    assert f"{place}rules refuse it (another-history)" in map(str, report.findings)
    export_of(log, tmp_path / "export")
    told = run_auditor("export", tmp_path / "export")
    assert (told.returncode, f"{place}vote names a checkpoint" in told.stderr) == (3, True), told
    with one_copy(server, migrated, log) as copy:
        with pytest.raises(DivergedError, match="another-history"):
            copy.catch_up(LogSource(log))
        (evidence,) = copy.mirror.evidence()
        assert place in evidence.what


def test_votes_of_another_history_are_refused(log: Log) -> None:
    policy, size = log.policy_of(signer()), log.ledger.rows.frontier().size
    good = log.vote(policy)
    attempts: dict[str, Callable[[], LogPolicyAdopted]] = {
        "has fewer": lambda: _naming(good, size + 1, "00" * 32),
        "another root": lambda: _naming(good, size, "00" * 32),
        "names no checkpoint": lambda: good.model_copy(update={"checkpoint": None}),
    }
    for said, vote in attempts.items():
        with pytest.raises(Refusal, match=said) as refused:
            log.register("xk-nac", vote())
        assert refused.value.field == "act.checkpoint"
    assert log.ledger.rows.frontier().size == size
    later = _naming(good, size + 7, "00" * 32)
    words = [str(log.agencies.sign(name, later, None)) for name in COORDINATORS]
    with pytest.raises(Refusal, match="has fewer"):
        take_over(log.ledger, words, [policy.logs[0]])
    log.register("xk-nac", good)


def _naming(vote: LogPolicyAdopted, size: int, root: str) -> LogPolicyAdopted:
    return vote.model_copy(update={"checkpoint": NamedCheckpoint(size=size, root=root)})


def test_a_signed_refusal_of_a_vote_is_held_against_the_same_size(log: Log) -> None:
    """A vote that names a later size was refused rightly, though the ledger has grown since."""
    size = log.ledger.rows.frontier().size
    log.register("xk-nac")
    vote = log.decisions(log.policy_of(signer()), ("me-nac",))[0]
    events = log.ledger.events_upto(size, None)
    at = START + timedelta(days=1)

    def refused(upto: int) -> Refusal | None:
        def root_at(named: int) -> bytes | None:
            return log.ledger.root_at(named) if named <= upto else None

        return refusal_by(events, vote, None, 0, at, root_at)

    told = refused(size)
    assert told is not None
    assert told.rule == "another-history"
    assert refused(size + 1) is None


@pytest.mark.parametrize("checkpoint", [None, ELSEWHERE])
def test_votes_of_edition_1_need_no_checkpoint(checkpoint: NamedCheckpoint | None) -> None:
    content = shipped_protocol().model_dump(mode="json") | {"edition": 1}
    agencies = Agencies(Protocol.model_validate(content))
    adoption = signed_action.read(agencies.adoption())
    registry = registries.evolve(None, adoption, PAST, 1)
    log = Log(None, None, agencies)  # type: ignore[arg-type]  # only its keys are needed
    vote = LogPolicyAdopted(acted_at=PAST, policy=str(log.policy), checkpoint=checkpoint)
    signed = signed_action.read(agencies.sign("xk-nac", vote, None))
    registries.decide(registry, signed, PAST)
