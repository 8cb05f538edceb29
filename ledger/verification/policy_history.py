"""The recorded policies of a log, from any trusted one of them, offline.

Keys of a log and of its witnesses change by recorded decision. A checkpoint is judged by the policy
that was in force at its size. A :class:`PolicyHistory` gives a reader without the ledger all that
this needs: it is a text file beside a receipt or in an export.

- A *period* is the time of one policy: from which size on it holds, and the first published
  checkpoint of that time.
- An *act* is an event that tells whose decision counts, with its path to the last checkpoint.
- A *bridge* proves that the last checkpoint continues an older one.

A policy that is newer than the trusted one follows from the signed decisions of every party. An
older checkpoint is trusted by its bridge alone: its keys may have leaked since.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ledger.events.event import readable
from ledger.events.newer_event import needs_update
from ledger.log.checkpoint import Checkpoint, read_hash, write_hash
from ledger.log.merkle import ProofError, Tree, check_consistency, check_inclusion, leaf_hash
from ledger.log.note import Note, NoteError, verify
from ledger.log.policy import Policy, PolicyError
from ledger.procedure.named_checkpoint import named_checkpoint
from ledger.procedure.registry import AgreedPolicy, Registry
from ledger.store.database import Database
from ledger.store.recorder import LedgerRecorder
from ledger.verification.revalidation import Revalidation, RowReader, inspect
from ledger.vocabulary import REGISTRY_ACTIONS

FILE_NAME = "policies.json"
MAX_BYTES = 64 * 1024 * 1024
_UNIMPORTANT = {"readings_anchored"}
"""The acts on the protocol that come often, and have no say in whose policy holds."""
ACTS = frozenset(REGISTRY_ACTIONS) - _UNIMPORTANT
_CANDIDATES = 20
_FIRST_PUBLISHED = """
SELECT note FROM log.published WHERE size >= %(first)s AND size < %(end)s
ORDER BY size LIMIT %(limit)s
"""
_ACTS_UPTO = """
SELECT notification_id, state FROM ledger.events
WHERE originator_id = %(ledger)s AND notification_id <= %(last)s
  AND (topic = ANY(%(kinds)s) OR notification_id = ANY(%(also)s))
ORDER BY notification_id
"""


class _EvidencePart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Period(_EvidencePart):
    """The time of one policy."""

    since: Annotated[int, Field(ge=0, lt=2**63)]
    policy: str
    checkpoint: str | None = None
    """The first one that was published under the policy; ``None`` where there was none."""


class ProvedAct(_EvidencePart):
    """An act on the protocol, and its path to the root of the last checkpoint."""

    position: Annotated[int, Field(ge=1, lt=2**63)]
    event: str
    path: list[str]


class Bridge(_EvidencePart):
    """A proof that the last checkpoint continues the tree of ``size`` events (RFC 6962, 2.1.2)."""

    size: Annotated[int, Field(ge=1, lt=2**63)]
    proof: list[str]


class PolicyHistory(_EvidencePart):
    """The content of the file, of which nothing is verified yet: see :meth:`believed`."""

    format: Literal["case-ledger policies 1"] = "case-ledger policies 1"
    periods: Annotated[list[Period], Field(min_length=1, max_length=10_000)]
    acts: list[ProvedAct] = []
    bridges: list[Bridge] = []

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the file.

        Raises ``NoteError`` if the text is no such file.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise NoteError("this is no file of recorded policies") from error

    @property
    def head(self) -> Checkpoint | None:
        """Return the last checkpoint in the file, to which the acts and bridges lead.

        Raises ``NoteError`` if the checkpoint is malformed.
        """
        notes = [period.checkpoint for period in self.periods if period.checkpoint]
        return Checkpoint.parse(Note.parse(notes[-1]).text) if notes else None

    def __str__(self) -> str:
        return self.model_dump_json(indent=1) + "\n"

    def believed(self, trusted: Policy) -> "TrustedPolicies":
        """Return the policies that follow from the trusted one.

        Raises ``NoteError`` if the recorded policies do not hold.
        """
        try:
            return _believed(self, trusted)
        except (PolicyError, ProofError, ValueError) as error:
            if isinstance(error, NoteError):
                raise
            raise NoteError(f"the recorded policies do not hold: {error}") from error


@dataclass(frozen=True, slots=True)
class TrustedPolicies:
    """The policy that holds for each size, and the bridges that prove older checkpoints."""

    periods: tuple[AgreedPolicy, ...]
    first: int
    """The index of the trusted one: those before it are believed by bridges alone."""
    head: Checkpoint | None = None
    bridges: Mapping[int, tuple[bytes, ...]] | None = None

    @classmethod
    def alone(cls, trusted: Policy) -> "TrustedPolicies":
        """Return the trusted policy for every size: no file names other policies."""
        return cls((AgreedPolicy(0, trusted),), 0)

    def check(self, note: Note, *, quorum: bool = True) -> tuple[Checkpoint, dict[str, datetime]]:
        """Return the checkpoint, and the time at which each witness cosigned it.

        Without ``quorum``, the log's signature is enough. Raises ``NoteError`` if the checkpoint is
        not trusted.
        """
        checkpoint = Checkpoint.parse(note.text)
        place = max(n for n, agreed in enumerate(self.periods) if agreed.since <= checkpoint.size)
        policy = self.periods[place].policy
        if place >= self.first:
            if quorum:
                return policy.check(note)
            if not verify(note, [key for key in policy.logs if key.name == checkpoint.origin]):
                raise NoteError(
                    f"no log key of the policy in force at size {checkpoint.size} signed it"
                )
            return checkpoint, {}
        self._check_bridge(checkpoint)
        signed = verify(note, [witness.key for witness in policy.witnesses.values()])
        named = policy.witnesses.items()
        return checkpoint, {n: at for n, w in named if (at := signed.get(w.key)) is not None}

    def of_decisions(self, size: int) -> Policy:
        """Return the policy whose log keys sign decisions of ``size`` events.

        No event adopted the policy of the first period: the file of recorded policies alone names
        it. Raises ``NoteError`` for a size of that time, where the trusted policy is a later one.
        """
        place = max(n for n, agreed in enumerate(self.periods) if agreed.since <= size)
        if place == 0 and self.first > 0:
            raise NoteError(
                "the decision is older than every policy that the parties recorded: give the "
                "policy that you trusted then"
            )
        return self.periods[place].policy

    def matches(self, recorded: Sequence[AgreedPolicy]) -> bool:
        """Return whether the policies that events adopt are the trusted ones, as far as they go."""
        told = [(agreed.since, agreed.policy.trust) for agreed in self.periods[1:]]
        return [(a.since, a.policy.trust) for a in recorded] == told[: len(recorded)]

    def _check_bridge(self, checkpoint: Checkpoint) -> None:
        proof = (self.bridges or {}).get(checkpoint.size)
        if proof is None or self.head is None:
            raise NoteError(
                f"the checkpoint of {checkpoint.size} events is older than the policy that you "
                f"trust, which holds from size {self.periods[self.first].since} on; the proof that "
                "it is of the same ledger is missing: get it by "
                f"`case-ledger log policies --size {checkpoint.size}`"
            )
        _check_continues(checkpoint, self.head, proof)


def policy_history(
    rows: LedgerRecorder,
    database: Database,
    registry: Registry | None,
    trusted: Policy,
) -> PolicyHistory:
    """Make the file from a node's database.

    ``trusted`` is the policy of the node's settings. Before any policy was recorded, the node
    trusted this one, or one that the settings named earlier. The file stays the same until another
    policy is adopted.
    """
    first = [*_trusted_before(database), trusted]
    agreed = registry.policies if registry else ()
    begins = [0, *(one.since for one in agreed)]
    ends = [*begins[1:], 2**62]
    told = [_period(database, 0, ends[0], first)]
    told += [
        _period(database, one.since, end, [one.policy])
        for one, end in zip(agreed, ends[1:], strict=True)
    ]
    while len(told) > 1 and told[-1].checkpoint is None:
        told.pop()  # adopted, and nothing is published under it yet
    notes = [Note.parse(period.checkpoint) for period in told if period.checkpoint]
    if not notes:
        return PolicyHistory(periods=told)
    covered = [Checkpoint.parse(note.text) for note in notes]
    head = covered[-1]
    tree = Tree(head.size, rows.read_hashes)
    last = told[-1].since
    history = PolicyHistory(
        periods=told,
        acts=[
            ProvedAct(
                position=position,
                event=base64.b64encode(event).decode("ascii"),
                path=list(map(write_hash, tree.inclusion(position - 1, head.size))),
            )
            for position, event in _acts(database, registry, last)
        ],
    )
    sizes = [checkpoint.size for checkpoint in covered]
    return with_bridges(history, rows, [*sizes, *_sizes_voted_at(history.acts)])


def with_bridges(
    history: PolicyHistory, rows: LedgerRecorder, sizes: Sequence[int]
) -> PolicyHistory:
    """Add a bridge from each of ``sizes`` that the last checkpoint of the file covers."""
    head = history.head
    if head is None:
        return history
    known = {bridge.size for bridge in history.bridges}
    wanted = {size for size in sizes if 0 < size <= head.size} - known
    tree = Tree(head.size, rows.read_hashes)
    made = [
        Bridge(size=size, proof=list(map(write_hash, tree.consistency(size, head.size))))
        for size in sorted(wanted)
    ]
    return history.model_copy(update={"bridges": [*history.bridges, *made]})


def _sizes_voted_at(acts: Iterable[ProvedAct]) -> Iterator[int]:
    """Yield the sizes of the checkpoints that votes name."""
    for act in acts:
        action, _ = readable(base64.b64decode(act.event))
        if (named := named_checkpoint(action)) is not None:
            yield named[0]


def keep_trusted(database: Database, trusted: Policy) -> None:
    """Store that the node's settings name this policy, for :func:`policy_history` later."""
    with database.connection() as connection:
        connection.execute(
            "INSERT INTO log.trusted_policies (policy, first_seen) VALUES (%s, now())"
            " ON CONFLICT DO NOTHING",
            (str(trusted),),
        )


def _trusted_before(database: Database) -> list[Policy]:
    with database.connection() as connection:
        rows = connection.execute(
            "SELECT policy FROM log.trusted_policies ORDER BY first_seen, policy"
        ).fetchall()
    return [Policy.parse(row["policy"]) for row in rows]


def _acts(database: Database, registry: Registry | None, last: int) -> list[tuple[int, bytes]]:
    """Return the acts on the protocol that say whose policy holds, up to a position.

    Each act comes with its position, in order. The acts are of the kinds :data:`ACTS`. An act of
    another kind is among them if it ended the announced absence of a party.
    """
    if registry is None:
        return []
    wanted = {
        "ledger": registry.ledger_id,
        "kinds": sorted(ACTS),
        "also": [one.ended_at for one in registry.announced if one.ended_at is not None],
        "last": last,
    }
    with database.connection() as connection:
        rows = connection.execute(_ACTS_UPTO, wanted).fetchall()
    return [(row["notification_id"], bytes(row["state"])) for row in rows]


def _period(database: Database, since: int, end: int, candidates: Sequence[Policy]) -> Period:
    """Return the period that begins at ``since``, with its policy and first checkpoint.

    The policy is the candidate by which a checkpoint of the period holds.
    """
    limits = {"first": since, "end": end, "limit": _CANDIDATES}
    with database.connection() as connection:
        found = connection.execute(_FIRST_PUBLISHED, limits).fetchall()
    for row in found:
        for policy in candidates:
            try:
                policy.check(Note.parse(row["note"]))
            except NoteError:
                continue
            return Period(since=since, policy=str(policy), checkpoint=row["note"])
    return Period(since=since, policy=str(candidates[0]))


def _believed(history: PolicyHistory, trusted: Policy) -> TrustedPolicies:
    periods = [AgreedPolicy(p.since, Policy.parse(p.policy)) for p in history.periods]
    notes = [Note.parse(p.checkpoint) if p.checkpoint else None for p in history.periods]
    begins = [period.since for period in periods]
    if begins[0] != 0 or begins != sorted(set(begins)):
        raise NoteError("the recorded policies are not in their order, from the first event on")
    found = [n for n, p in enumerate(periods) if p.policy.trust == trusted.trust and notes[n]]
    if not found:
        raise NoteError("the recorded policies do not lead from the one that you trust")
    bridges = {b.size: tuple(map(read_hash, b.proof)) for b in history.bridges}
    head = history.head
    if head is None:
        raise NoteError("no checkpoint is among the recorded policies")
    ends = [*begins[1:], 2**63]
    for n in range(found[0], len(periods)):
        if (note := notes[n]) is None:
            continue
        checkpoint, _ = periods[n].policy.check(note)
        if not begins[n] <= checkpoint.size < ends[n] or checkpoint.size not in bridges:
            raise NoteError("a checkpoint among the recorded policies is of another one's time")
        _check_continues(checkpoint, head, bridges[checkpoint.size])
    recorded = _recorded(history.acts, head, bridges)
    believed = TrustedPolicies(tuple(periods), found[0], head, bridges)
    if len(recorded) != len(periods) - 1 or not believed.matches(recorded):
        raise NoteError("the acts on the protocol adopt other policies than the file tells")
    return believed


def _recorded(
    acts: Sequence[ProvedAct], head: Checkpoint, bridges: Mapping[int, Sequence[bytes]]
) -> Sequence[AgreedPolicy]:
    """Return the policies that the parties adopted, by acts that are in the tree of ``head``.

    Each checkpoint that a vote names is in that tree too: ``bridges`` prove it.
    """
    replay, reader = Revalidation(), RowReader()
    roots: dict[int, bytes] = {}
    positions = [act.position for act in acts]
    if positions != sorted(set(positions)):
        raise NoteError("the acts on the protocol are not in their order")
    for act in acts:
        event = base64.b64decode(act.event, validate=True)
        path = list(map(read_hash, act.path))
        check_inclusion(leaf_hash(event), act.position - 1, head.size, path, head.root)
        row = reader.row(act.position, event)
        inspected = inspect(row)
        mark = inspected.action.mark
        if mark is not None and mark.is_newer:
            raise NoteError(needs_update(act.position))
        if row.kind not in REGISTRY_ACTIONS:
            raise NoteError(f"the event at position {act.position} is no act on the protocol")
        if (named := named_checkpoint(inspected.action)) is not None:
            size, root = named
            _check_vote(act.position, Checkpoint(head.origin, size, root), head, bridges)
            roots[size] = root
        for problem in replay.judge(act.position, inspected, roots.get):
            raise NoteError(f"position {act.position}: {problem}")
        if replay.newer is not None:
            raise NoteError(needs_update(replay.newer))
    return replay.registry.policies if replay.registry else ()


def _check_vote(
    position: int, named: Checkpoint, head: Checkpoint, bridges: Mapping[int, Sequence[bytes]]
) -> None:
    """Check that the checkpoint that a vote names is of the same ledger.

    Raises ``NoteError`` if it is not.
    """
    proof = bridges.get(named.size)
    if proof is None:
        raise NoteError(
            f"position {position}: the proof is missing that the vote was given in this ledger"
        )
    try:
        _check_continues(named, head, proof)
    except NoteError as error:
        raise NoteError(
            f"position {position}: the vote was given in another history: {error}"
        ) from error


def _check_continues(older: Checkpoint, newer: Checkpoint, proof: Sequence[bytes]) -> None:
    try:
        check_consistency(older.size, newer.size, proof, older.root, newer.root)
    except ProofError as error:
        raise NoteError(
            f"the checkpoint of {older.size} events is not of the same ledger: {error}"
        ) from error
