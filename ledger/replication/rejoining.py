"""A copy that has a tail goes back to the last common checkpoint, in one transaction.

The tail is the events that the copy has beyond the parties' decision to take over
(:mod:`ledger.replication.divergence`). Nothing of it is deleted: its events, and the checkpoints
that the old log signed of them, are kept as evidence. The actions of the country's own agencies
among them go back into the outbox, and their disclosures stay in the vault. Disclosures that other
countries sent for such actions are set aside.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg import Connection
from psycopg.rows import DictRow
from psycopg.sql import SQL, Composed, Identifier

from ledger.application import Ledger
from ledger.events.event import readable
from ledger.log.checkpoint import Checkpoint
from ledger.log.merkle import Frontier, Tree
from ledger.log.note import Note
from ledger.procedure.protocol import Protocol
from ledger.publication.witness import Witness
from ledger.replication.divergence import Divergence
from ledger.replication.history_mark import OperatorDecision, Reached, record_decision
from ledger.store.migrate import vault_schema
from ledger.vault.access_log import COUNTED
from ledger.vault.vault import NOTED_FROM

_OWNER = """
SELECT tableowner FROM pg_tables WHERE schemaname = 'ledger' AND tablename = 'events'
"""
_TAIL = """
INSERT INTO log.tails (decision, source, common_size, decision_since, ledger_note)
VALUES (%s, %s, %s, %s, %s)
"""
_KEEP_EVENTS = """
INSERT INTO log.tail_events
SELECT %(decision)s, notification_id, originator_id, originator_version, topic, state, action_id,
    recorded_at, leaf_hash
FROM ledger.events WHERE notification_id > %(size)s
"""
_DROP_TREE = "DELETE FROM ledger.tree WHERE (index + 1) * (256::bigint ^ level) > %(size)s"
_REWIND = """
UPDATE ledger.head SET position = %(size)s, frontier = %(frontier)s, recorded_at = COALESCE(
    (SELECT recorded_at FROM ledger.events WHERE notification_id = %(size)s), 'epoch')
"""
# In an order in which no row is referred to any more when it is deleted.
_ABOUT_SIZES = (
    "timestamps",
    "published",
    "cosignatures",
    "signed",
    "dated_checkpoints",
    "unread_signed",
)
_KEEP_NOTES = """
INSERT INTO log.tail_records (decision, place, content)
SELECT %(decision)s, %(place)s, to_jsonb(t) FROM log.{table} t WHERE size > %(size)s
"""
_KEEP_OUTGOING = """
INSERT INTO log.tail_records (decision, place, content)
SELECT %(decision)s, 'outbox.actions', to_jsonb(a) FROM outbox.actions a
WHERE action_id = ANY(%(actions)s) ORDER BY seq
"""
# What the old log key signed of sizes beyond is no decision of the ledger.
_UNDECIDED = """
UPDATE outbox.actions SET state = 'waiting', sent_at = NULL, decision = NULL, decision_size = NULL,
    is_receipt = false, is_checked = false
WHERE action_id = ANY(%(actions)s)
"""
_DECIDED_BEYOND = """
SELECT action_id FROM outbox.actions
WHERE state IN ('waiting', 'sent') AND decision_size > %(size)s AND action_id <> ALL(%(own)s)
"""
_PUT_BACK = """
INSERT INTO outbox.actions (
    action_id, agency, party, case_id, case_version, sd_jwt, deposit_id, state, received_at)
VALUES (%(action_id)s, %(agency)s, %(party)s, %(case_id)s, %(case_version)s, %(sd_jwt)s,
    %(deposit_id)s, 'waiting', COALESCE(%(received_at)s, now()))
"""
_DEPOSITS = """
SELECT action_id, min(deposit_id::text)::uuid AS deposit_id FROM {schema}.deposits
WHERE received_from IS NULL AND action_id = ANY(%(actions)s) GROUP BY action_id
"""
_SET_ASIDE = """
INSERT INTO {schema}.set_aside (action_id)
SELECT DISTINCT action_id FROM {schema}.deposits
WHERE received_from IS NOT NULL AND action_id = ANY(%(actions)s)
ON CONFLICT DO NOTHING
"""
_FOLLOW_AGAIN = """
UPDATE {schema}.progress SET position = %(size)s
WHERE position > %(size)s AND work <> ALL (%(others)s)
"""
_STAY = (COUNTED, NOTED_FROM)
"""The other rows of the same table, which do not follow the ledger."""
_CONFIRM_AGAIN = """
UPDATE {schema}.erased SET confirmed_at = NULL WHERE case_id IN (
    SELECT originator_id FROM log.tail_events
    WHERE decision = %(decision)s AND topic = 'erasure_confirmed')
"""
_SETTLE = """
UPDATE log.evidence SET settled_at = now(), settled_why = %s WHERE id = ANY(%s)
"""


class MovedError(RuntimeError):
    """The copy is not the one that was compared with the ledger, or its node still runs."""


@dataclass(frozen=True, slots=True)
class RolledBack:
    """The result of going back."""

    decision: OperatorDecision
    events: int
    """The events of the tail, which are evidence now."""
    put_back: int
    """The actions of own agencies that wait in the outbox again."""
    set_aside: int
    """The actions whose disclosures from other countries are set aside."""


def roll_back(
    connection: Connection[DictRow],
    ledger: Ledger,
    found: Divergence,
    *,
    parties: Sequence[str],
    witnesses: Iterable[Witness],
    source: str,
    by: str,
    why: str,
) -> RolledBack:
    """Go back to ``found.checkpoint``, in a transaction of a login that may act as the owner.

    ``parties`` are the countries whose node this is. Raises ``MovedError`` if the copy is another
    by now.
    """
    size, protocol = found.checkpoint, ledger.adopted().directory
    act_as_owner(connection)
    tree = Tree(found.size, ledger.rows.read_hashes)
    if _locked_head(connection) != tree.frontier():
        raise MovedError("the copy grew meanwhile; stop the node, and run the command again")
    decision = OperatorDecision(
        decided_at=_now(connection),
        decided_by=by,
        why=why,
        seen=found.size,
        reached=Reached.of(tree),
        goes_on_from=Reached.of(tree, size),
    )
    common = _signed(connection, size)
    place = record_decision(connection, decision)
    connection.execute(_TAIL, (place, source, found.common, found.decision.since, str(found.note)))
    given = {"decision": place, "size": size}
    events = connection.execute(_KEEP_EVENTS, given).rowcount
    for table in _ABOUT_SIZES:
        at = {**given, "place": f"log.{table}"}
        connection.execute(SQL(_KEEP_NOTES).format(table=Identifier(table)), at)
        drop = SQL("DELETE FROM log.{} WHERE size > %(size)s")
        connection.execute(drop.format(Identifier(table)), given)
    own, tail = _own_actions(connection, place, protocol, parties)
    _put_back(connection, place, size, own, parties)
    set_aside = 0
    for party in parties:
        set_aside += connection.execute(_of(party, _SET_ASIDE), {"actions": tail}).rowcount
        connection.execute(_of(party, _FOLLOW_AGAIN), {**given, "others": list(_STAY)})
        connection.execute(_of(party, _CONFIRM_AGAIN), given)
    for witness in witnesses:
        witness.go_back(connection, common, found.note)
    connection.execute("DELETE FROM log.unread_leaves")
    connection.execute("DELETE FROM ledger.events WHERE notification_id > %(size)s", given)
    connection.execute(_DROP_TREE, given)
    connection.execute(_REWIND, {**given, "frontier": tree.frontier(size).to_bytes()})
    connection.execute(_SETTLE, (f"{by}: {why}", _settled(connection, size)))
    return RolledBack(decision, events, len(own), set_aside)


def act_as_owner(connection: Connection[DictRow]) -> None:
    """Take the role that owns the ledger's tables, until the transaction ends.

    Raises ``psycopg.errors.InsufficientPrivilege`` if the login may not.
    """
    owner = connection.execute(_OWNER).fetchone()
    if owner is None:
        raise MovedError("the database has no ledger; run `case-ledger migrate`")
    connection.execute(SQL("SET LOCAL ROLE {}").format(Identifier(owner["tableowner"])))


def last_rolled_back(connection: Connection[DictRow]) -> OperatorDecision | None:
    """Return the last decision to go back from a tail, as the database has it."""
    row = connection.execute(
        "SELECT d.* FROM log.history_decisions d JOIN log.tails t ON t.decision = d.id"
        " ORDER BY d.id DESC LIMIT 1"
    ).fetchone()
    if row is None:
        return None
    return OperatorDecision(
        decided_at=row["decided_at"],
        decided_by=row["decided_by"],
        why=row["why"],
        seen=row["seen_size"],
        reached=Reached(size=row["reached_size"], root=bytes(row["reached_root"]).hex()),
        goes_on_from=Reached(size=row["from_size"], root=bytes(row["from_root"]).hex()),
    )


def _locked_head(connection: Connection[DictRow]) -> Frontier | None:
    head = connection.execute("SELECT position, frontier FROM ledger.head FOR UPDATE").fetchone()
    return None if head is None else Frontier.from_bytes(head["position"], head["frontier"])


def _now(connection: Connection[DictRow]) -> datetime:
    """Return the time of the transaction, which identifies this decision in the database."""
    row = connection.execute("SELECT now() AS now").fetchone()
    if row is None:
        raise RuntimeError("the database tells no time")
    now: datetime = row["now"]
    return now


def _signed(connection: Connection[DictRow], size: int) -> Note | None:
    row = connection.execute("SELECT note FROM log.signed WHERE size = %s", (size,)).fetchone()
    return None if row is None else Note.parse(row["note"])


def _own_actions(
    connection: Connection[DictRow], decision: int, protocol: Protocol, parties: Sequence[str]
) -> tuple[list[dict[str, object]], list[UUID]]:
    """Return the own agencies' actions of the tail as rows of the outbox, and every action's id."""
    rows = connection.execute(
        "SELECT * FROM log.tail_events WHERE decision = %s ORDER BY notification_id", (decision,)
    ).fetchall()
    own: list[dict[str, object]] = []
    for row in rows:
        action, _ = readable(bytes(row["state"]))
        agency = protocol.agencies_by_id.get(action.agency)
        if action.is_understood and agency is not None and agency.party in parties:
            own.append(
                {
                    "action_id": action.id,
                    "agency": agency.id,
                    "party": agency.party,
                    "case_id": action.case_id,
                    "case_version": row["originator_version"] - 1 if action.case_id else 0,
                    "sd_jwt": action.sd_jwt,
                }
            )
    return own, [row["action_id"] for row in rows]


def _put_back(
    connection: Connection[DictRow],
    decision: int,
    size: int,
    own: Sequence[dict[str, object]],
    parties: Sequence[str],
) -> None:
    """Put actions into the outbox, in the tail's order, before the actions that wait there."""
    actions = [one["action_id"] for one in own]
    beyond = connection.execute(_DECIDED_BEYOND, {"size": size, "own": actions}).fetchall()
    undecided = [row["action_id"] for row in beyond]
    connection.execute(_KEEP_OUTGOING, {"decision": decision, "actions": undecided})
    connection.execute(_UNDECIDED, {"actions": undecided})
    deposits: dict[object, object] = {}
    for party in parties:
        rows = connection.execute(_of(party, _DEPOSITS), {"actions": actions}).fetchall()
        deposits |= {row["action_id"]: row["deposit_id"] for row in rows}
    connection.execute(_KEEP_OUTGOING, {"decision": decision, "actions": actions})
    rows = connection.execute(
        "DELETE FROM outbox.actions WHERE action_id = ANY(%s) RETURNING action_id, received_at",
        (actions,),
    ).fetchall()
    received = {row["action_id"]: row["received_at"] for row in rows}
    waiting = connection.execute(
        "SELECT action_id FROM outbox.actions WHERE state IN ('waiting', 'sent') ORDER BY seq"
    ).fetchall()
    for one in own:
        action_id = one["action_id"]
        more = {"deposit_id": deposits.get(action_id), "received_at": received.get(action_id)}
        connection.execute(_PUT_BACK, {**one, **more})
    for row in waiting:
        connection.execute(
            "UPDATE outbox.actions SET seq = DEFAULT WHERE action_id = %s", (row["action_id"],)
        )


def _settled(connection: Connection[DictRow], size: int) -> list[int]:
    """Return the ids of the unsettled evidence about the tail.

    The refused note of such evidence covers more than ``size`` events, the number that is left.
    """
    rows = connection.execute(
        "SELECT id, refused FROM log.evidence WHERE settled_at IS NULL"
    ).fetchall()
    return [
        row["id"] for row in rows if Checkpoint.parse(Note.parse(row["refused"]).text).size > size
    ]


def _of(party: str, statement: str) -> Composed:
    return SQL(statement).format(schema=Identifier(vault_schema(party)))
