"""A leaked log key leads a witness astray; the parties' recorded decision brings it back."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest

from api.exchange.witness_clients import RecordedRoots
from ledger.application import Ledger
from ledger.export.static_export import read_checkpoint, read_export, write_export
from ledger.log.checkpoint import Checkpoint
from ledger.log.merkle import Frontier, Tree, leaf_hash
from ledger.log.note import Note, NoteSignature, SignerKey
from ledger.publication.publisher import signed
from ledger.publication.witness import AddCheckpointRequest, Adopted, AnotherDecisionError, Witness
from ledger.store.database import Database
from ledger.verification.evidence_reader import registered_keys
from ledger.verification.policy_adoption import adopted_in, adopted_in_export
from tests.support.agencies import Agencies
from tests.support.logs import ORIGIN, Log, signer


@pytest.fixture
def log(ledger: Ledger, database: str, agencies: Agencies) -> Iterator[Log]:
    with Database(database) as pool:
        made = Log(ledger, pool, agencies)
        made.publication.step()
        yield made


def alone(log: Log, party: str = "ME") -> Witness:
    """A witness that copies no events and was told the first log key."""
    given = [log.key.verifier]
    return Witness(log.database, party, log.witness_keys[party], lambda _: given)


def forged(log: Log, by: SignerKey, more: int = 5) -> AddCheckpointRequest:
    """Events that the ledger never had, after its own: all that it takes is public but the key."""
    tree = log.ledger.rows.tree()
    leaves = [*log.ledger.rows.read_hashes(0, 0, tree.size)]
    leaves += [leaf_hash(b"forged %d" % n) for n in range(more)]
    made = Tree(len(leaves), lambda _, start, count: leaves[start : start + count])
    text = str(Checkpoint(ORIGIN, len(leaves), made.root()))
    proof = tuple(made.consistency(tree.size, len(leaves)))
    return AddCheckpointRequest(tree.size, proof, Note(text, (by.sign(text),)))


def true(log: Log, old: int) -> bytes:
    log.publication.sign()
    last = signed(log.database)
    assert last is not None
    proof = tuple(log.ledger.rows.tree().consistency(old, last[1].size))
    return bytes(AddCheckpointRequest(old, proof, last[0]))


def rotate(log: Log) -> None:
    log.later_keys = [signer()]
    log.adopt(log.policy_of(log.later_keys[0]))
    log.publication.sign()


def decision(log: Log) -> Adopted:
    last = signed(log.database)
    assert last is not None
    return adopted_in(log.registry(), last[0], log.ledger.rows.tree())


def test_a_witness_that_was_led_astray_goes_back_by_the_parties_decision(log: Log) -> None:
    witness = alone(log)
    before = log.ledger.rows.tree().size
    attack = forged(log, log.key)
    assert witness.add_checkpoint(bytes(attack)).status == 200
    log.open_case()
    assert witness.add_checkpoint(true(log, before)).status == 409  # and for ever, so far
    with pytest.raises(AnotherDecisionError, match="adopted no log policy"):
        decision(log)
    rotate(log)
    assert witness.add_checkpoint(true(log, before)).status != 200
    applied = witness.follow(decision(log))
    size = log.ledger.rows.tree().size
    assert (applied.size, applied.reset_from) == (size, before + 5)
    # The forged note stays as evidence, beside the true one.
    kept = witness.evidence()[-1]
    assert str(attack.note.text) in str(kept["refused"])
    assert f"\n{size}\n" in str(kept["held"])
    # The rotated key counts no more, at once; the new one does, and publication goes on.
    refused = witness.add_checkpoint(bytes(forged(log, log.key)))
    assert (refused.status, "no trusted key" in refused.body) == (403, True)
    log.open_case()
    assert witness.add_checkpoint(true(log, size)).status == 200
    assert log.publication.step().published == log.ledger.rows.tree().size
    assert witness.follow(decision(log)).reset_from is None


def test_no_witness_goes_back_without_such_a_decision(log: Log, database: str) -> None:
    witness = alone(log)
    assert witness.add_checkpoint(bytes(forged(log, log.key))).status == 200
    # The parties adopt another policy, with the same log key: the note may be the log's own.
    del log.witness_keys["AL"]
    log.adopt(log.policy)
    log.publication.sign()
    with pytest.raises(AnotherDecisionError, match="still in force"):
        witness.follow(decision(log))
    rotate(log)
    true_one = decision(log)
    other = Frontier().extend([leaf_hash(b"other")])[0].root()
    text = str(Checkpoint(ORIGIN, true_one.since, other))
    lie = Note(text, (log.later_keys[0].sign(text),))
    stolen = Note(true_one.note.text, (log.key.sign(true_one.note.text),))
    for note in (lie, stolen):
        with pytest.raises(AnotherDecisionError):
            witness.follow(Adopted(true_one.policy, true_one.since, note, true_one.root_at))
    # Nor in the database, in the witness's own role.
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SET ROLE case_ledger_witness_me")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="never goes back"):
            connection.execute("UPDATE witness_me.cosigned SET size = 1")
        for statement in ("DELETE FROM witness_me.cosigned", "DELETE FROM witness_me.resets"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
    assert witness.follow(true_one).reset_from is not None
    # A decision that is older than the one that is followed changes nothing.
    with pytest.raises(AnotherDecisionError, match="older"):
        witness.follow(Adopted(true_one.policy, 1, true_one.note, true_one.root_at))


def test_a_witness_with_no_events_of_its_own_follows_an_export(log: Log, tmp_path: Path) -> None:
    witness = alone(log)
    assert witness.add_checkpoint(bytes(forged(log, log.key))).status == 200
    rotate(log)
    last = signed(log.database)
    assert last is not None
    write_export(log.ledger.rows, last[0], tmp_path, lambda *_: None)
    keys = registered_keys(read_export(tmp_path))
    checkpoint = read_checkpoint(tmp_path)
    first = log.ledger.rows.read_hashes(0, 0, 1)[0]

    def adopted(adoption: bytes) -> Adopted:
        return adopted_in_export(lambda: read_export(tmp_path), keys, checkpoint, adoption)

    with pytest.raises(AnotherDecisionError, match="another adoption"):
        adopted(bytes(32))
    assert witness.follow(adopted(first)).reset_from is not None
    bundle = next((tmp_path / "tile" / "entries").rglob("[0-9]*[0-9]"))
    bundle = bundle if bundle.is_file() else next(bundle.iterdir())
    content = bytearray(bundle.read_bytes())
    content[-9] ^= 1
    bundle.write_bytes(bytes(content))
    with pytest.raises(AnotherDecisionError, match="does not hold"):
        adopted(first)


def test_the_ledger_nodes_own_witnesses_cosign_what_it_recorded_and_no_more(log: Log) -> None:
    """The key alone does not lead them astray: they compare with the events."""
    given = [log.key.verifier]
    own = RecordedRoots(log.ledger, SimpleNamespace(is_taken_over=False), lambda: None)
    witness = Witness(log.database, "XK", log.witness_keys["XK"], lambda _: given, own)
    before = log.ledger.rows.tree().size
    assert witness.add_checkpoint(bytes(forged(log, log.key))).status == 503
    for _ in range(6):
        log.open_case()
    attack = forged(log, log.key, more=0)
    tree = log.ledger.rows.tree()
    text = str(Checkpoint(ORIGIN, tree.size, bytes(32)))
    lie = AddCheckpointRequest(before, attack.proof, Note(text, (log.key.sign(text),)))
    assert witness.add_checkpoint(bytes(lie)).status in (409, 422)
    assert witness.add_checkpoint(true(log, before)).status == 200


def test_a_witness_that_knows_no_policy_cosigns_with_each_of_its_keys(log: Log) -> None:
    """So its key is rotated: whichever key the policy in force names is among the answers."""
    old = log.witness_keys["ME"]
    new = signer(old.name, old.type)
    both = Witness(log.database, "ME", old, lambda _: [log.key.verifier], also=[new])
    before = Checkpoint.parse(Note.parse(both.latest(origin_hash()) or "").text).size
    log.open_case()
    answer = both.add_checkpoint(true(log, before))
    assert answer.status == 200
    lines = [NoteSignature.parse(line) for line in answer.body.splitlines()]
    assert [key.verifier.made(line) for key, line in zip((old, new), lines, strict=True)] == [
        True,
        True,
    ]


def origin_hash() -> str:
    return hashlib.sha256(ORIGIN.encode()).hexdigest()
