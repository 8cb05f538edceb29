"""Checks a vault against its inventory and against the ledger.

Nothing is opened: the inventory is authenticated under each person's data key. The ledger has the
digest of every disclosure, and says which the country must hold (``required_disclosures.py``).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Any, NamedTuple, Self
from typing import Protocol as Interface
from uuid import UUID

from psycopg.rows import DictRow
from psycopg.sql import SQL, Composed, Identifier

from ledger.events.act import Act
from ledger.events.event import ActionRecorded
from ledger.procedure.case import Case
from ledger.procedure.protocol import Protocol
from ledger.procedure.subject_ids import act_subject
from ledger.signing.country_key import SealError
from ledger.store.database import Database
from ledger.store.migrate import access_rows, reader_role, vault_role, vault_schema
from ledger.vault.data_keys import DataKeys
from ledger.vault.documents.chunk_store import ChunkStore, PostgresChunks
from ledger.vault.documents.content_messages import ContentRefusal
from ledger.vault.documents.documents import opens
from ledger.vault.documents.uploads import place_of
from ledger.vault.inventory import InventoryRow, list_mac, row_mac
from ledger.vault.required_disclosures import FieldPart, Lack, ListedDeposit, lacks, must_hold
from ledger.vocabulary import ALL_ACTIONS, REGISTRY_ACTIONS
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.documents import DOCUMENT_FIELDS

_PAGE_CASES = 50

_NEXT = """
SELECT case_id FROM (
    (SELECT DISTINCT case_id FROM {held} WHERE case_id > %(after)s
    ORDER BY case_id LIMIT %(limit)s)
    UNION
    (SELECT DISTINCT case_id FROM {deposits} WHERE case_id > %(after)s
    ORDER BY case_id LIMIT %(limit)s)
    UNION
    (SELECT DISTINCT case_id FROM {missing} WHERE case_id > %(after)s
    ORDER BY case_id LIMIT %(limit)s)) AS known
ORDER BY case_id LIMIT %(limit)s
"""
# By the clock that wrote the time. A deposit comes before its event. Where the action is refused or
# never recorded, the sweep removes the deposit 20 to 30 minutes after it came.
_HELD = """
SELECT *, received_at > clock_timestamp() - interval '45 minutes' AS is_new
FROM {held} WHERE case_id = ANY(%(cases)s)
"""
_DEPOSITS = "SELECT * FROM {deposits} WHERE case_id = ANY(%(cases)s)"
_DOCUMENTS = """
SELECT d.*, c.chunks, c.bytes, d.touched_at > clock_timestamp() - interval '45 minutes' AS is_new,
    e.since < clock_timestamp() - interval '1 day' AS is_late, e.refused
FROM {documents} d LEFT JOIN {chunks} c USING (document_id)
LEFT JOIN {expected} e USING (document_id)
WHERE d.case_id = ANY(%(cases)s) AND d.action_id IS NOT NULL
"""
_ERASED = """
SELECT case_id, erased_at > now() - interval '10 minutes' AS is_new FROM {erased}
WHERE case_id = ANY(%(cases)s)
"""
_NOTED_FROM = "SELECT position FROM {progress} WHERE work = 'deposits noted from'"
_ASIDE = "SELECT action_id FROM {aside}"
_MATRIX = "SELECT role, operation, field_group FROM {matrix}"
_REMOVE_ROW = """
DELETE FROM {disclosures}
WHERE action_id = %(action)s AND deposit_id = %(deposit)s AND digest = %(digest)s
"""
_REMOVE_DEPOSIT = """
DELETE FROM {deposits} WHERE action_id = %(action)s AND deposit_id = %(deposit)s
"""
_NOT_TO_COME = frozenset({ContentRefusal.NOT_DUE.value, ContentRefusal.WITHDRAWN.value})
"""By the ledger nothing comes while one of these holds."""
_DECIDES_ERASURE = frozenset({"erasure_approved", "erasure_confirmed", "retention_announced"})


class VaultFinding(LedgerModel):
    """Something in a vault that does not hold."""

    what: str
    case_id: UUID | None = None
    action: UUID | None = None
    kind: str | None = None
    """The action's kind, where the ledger has the action."""
    field: str | None = None

    def __str__(self) -> str:
        named = (f"action {self.action}", self.kind, f"field {self.field}")
        parts = [
            text
            for text, known in zip(named, (self.action, self.kind, self.field), strict=True)
            if known is not None and text is not None
        ]
        return f"{', '.join(parts)}: {self.what}" if parts else self.what


class LedgerFacts(Interface):
    """The questions of a vault check to the ledger and to the node's outbox."""

    def recorded(self, action_ids: Sequence[UUID]) -> Mapping[UUID, ActionRecorded]:
        """Return the recorded events of actions, by action id."""

    def undecided(self, action_ids: Sequence[UUID]) -> set[UUID]:
        """Return the actions among ``action_ids`` that have no outcome yet."""

    def cases(self, case_ids: Sequence[UUID]) -> Mapping[UUID, Case]:
        """Return the cases as they are."""

    def next_cases(self, after: UUID, limit: int) -> Sequence[UUID]:
        """Return the next cases in the order of their ids."""

    def receives(self, party: str) -> bool:
        """Return whether a country has a registered key, so that others can send it parcels."""


class Superseded(NamedTuple):
    """A row or deposit that does not hold, and that a sound one has taken the place of."""

    action: UUID
    deposit: UUID
    digest: str | None
    """``None``: the deposit's entry of the inventory."""


@dataclass(slots=True)
class Checked:
    """The findings on some cases."""

    findings: list[VaultFinding] = field(default_factory=list)
    """The fields that do not hold."""
    lacks: list[Lack] = field(default_factory=list)
    """The fields that are missing by the ledger."""
    superseded: list[Superseded] = field(default_factory=list)
    broken_contents: list[UUID] = field(default_factory=list)
    """Documents of other countries whose chunks are not here any more. They can come again."""
    actions: int = 0


@dataclass(slots=True)
class _Deposit:
    """One deposit with its rows, as compared with the inventory."""

    action: UUID
    id: UUID
    rows: Sequence[DictRow]
    entry: DictRow | None
    is_sound: bool = True
    """Whether the entry of the inventory holds."""
    changed: set[str] = field(default_factory=set)
    """Digests whose rows the inventory does not have, or not so."""

    @property
    def received_from(self) -> str | None:
        row = self.entry if self.entry is not None else self.rows[0]
        return None if row["received_from"] is None else str(row["received_from"])

    @property
    def sound(self) -> set[str]:
        """Return the digests of the rows that agree with the inventory."""
        return {row["digest"] for row in self.rows} - self.changed if self.entry else set()

    def listed(self) -> ListedDeposit | None:
        if self.entry is None or not self.is_sound:
            return None
        fields = dict(zip(self.entry["digests"], self.entry["fields"], strict=False))
        is_authenticated = bool(self.entry["mac"])
        return ListedDeposit(self.received_from, fields, self.entry["whole"], is_authenticated)


class VaultCheck:
    """Checks one country's vault, some cases at a time."""

    def __init__(
        self,
        database: Database,
        party: str,
        keys: DataKeys,
        facts: LedgerFacts,
        chunks: ChunkStore | None = None,
    ) -> None:
        """Prepare the check.

        ``chunks`` keeps the contents of documents; without it they are rows of the database.
        """
        self._chunks = chunks or PostgresChunks(party)
        self._database = database
        self._party = party
        self._keys = keys
        self._facts = facts
        self._role = vault_role(party)
        self.actions = 0
        """Actions that were checked so far."""
        self.lacks: list[Lack] = []
        """The fields that :meth:`findings` found missing by the ledger."""

    def findings(self, protocol: Protocol, matrix_of: Protocol) -> Iterator[VaultFinding]:
        """Yield each fault of the vault, one page of cases at a time.

        A vault without a fault yields nothing. ``matrix_of`` is the protocol whose access matrix
        ``case-ledger migrate`` wrote.
        """
        yield from self.matrix_findings(matrix_of)
        after = UUID(int=0)
        while cases := self.next_cases(after):
            checked = self.check(cases, protocol)
            yield from checked.findings
            self.lacks += checked.lacks
            self.actions += checked.actions
            after = cases[-1]

    def next_cases(self, after: UUID, limit: int = _PAGE_CASES) -> Sequence[UUID]:
        """Return the next cases of the ledger and of the vault, in the order of their ids."""
        rows = self._rows(_NEXT, {"after": after, "limit": limit})
        found = {row["case_id"] for row in rows} | {*self._facts.next_cases(after, limit)}
        return sorted(found)[:limit]

    def check(self, case_ids: Sequence[UUID], protocol: Protocol) -> Checked:
        """Compare the rows of some cases with the inventory and the ledger.

        A case with a finding is checked a second time. A data key may be replaced between the
        reading of the rows and of the key, so the second check has each person's keys from before
        and from after the reading of the rows.
        """
        checked = self._check_once(case_ids, protocol, {})
        again = {one.case_id for one in checked.findings} | {
            one.due.case_id for one in checked.lacks
        }
        cases = sorted(one for one in again if one is not None)
        if cases:
            before = {case_id: [*self._data_keys(case_id)] for case_id in cases}
            second = self._check_once(cases, protocol, before)
            second.actions = checked.actions
            return second
        return checked

    def _check_once(
        self,
        case_ids: Sequence[UUID],
        protocol: Protocol,
        before: Mapping[UUID, Sequence[bytes]],
    ) -> Checked:
        """Compare cases with the inventory and the ledger once.

        ``before`` has data keys by person, which count besides the current keys.
        """
        cases = self._facts.cases(case_ids)
        erased_rows, entry_rows, held_rows, noted, aside, documents = self._rows_together(
            (_ERASED, _DEPOSITS, _HELD, _NOTED_FROM, _ASIDE, _DOCUMENTS),
            {"cases": list(case_ids)},
        )
        erased = {row["case_id"] for row in erased_rows}
        being_erased = {row["case_id"] for row in erased_rows if row["is_new"]}
        entries, held = _by_deposit(entry_rows), _by_deposit(held_rows)
        noted_from = noted[0]["position"] if noted else 0
        acts = {act.id: act for case in cases.values() for act in case.history.values()}
        unknown = [a for a in {place[0] for place in held} if a not in acts]
        events, undecided = self._facts.recorded(unknown), self._facts.undecided(unknown)
        undecided |= {row["action_id"] for row in aside}
        of_cases: dict[UUID, dict[UUID, list[_Deposit]]] = {}
        for place in sorted(held.keys() | entries.keys()):
            rows, entry = held.get(place, []), next(iter(entries.get(place, [])), None)
            case_id = (entry or rows[0])["case_id"]
            deposit = _Deposit(*place, rows, entry)
            of_cases.setdefault(case_id, {}).setdefault(place[0], []).append(deposit)
        checked, receives = Checked(), self._facts.receives(self._party)
        for case_id in case_ids:
            of_actions, case = of_cases.get(case_id, {}), cases.get(case_id)
            if case_id in being_erased:
                of_actions = {}  # the key goes before the rows: between the two nothing opens
            own = [row for row in documents if row["case_id"] == case_id]
            has_any = bool(of_actions or own)
            data_keys = [*self._data_keys(case_id), *before.get(case_id, ())] if has_any else []
            for action, deposits in of_actions.items():
                recorded = _Signed.of(acts.get(action), events.get(action))
                checked.actions += 1
                kind = recorded.kind if recorded is not None else None
                checked.findings += _action_findings(deposits, data_keys, kind)
                for row in (row for deposit in deposits for row in deposit.rows):
                    checked.findings += self._ledger_findings(row, recorded, protocol, undecided)
                checked.superseded += _superseded(deposits)
            if case_id not in being_erased:
                checked.findings += self._document_findings(case_id, own, of_actions, data_keys)
                checked.broken_contents += self._broken_contents(own)
                _without_contents(own, of_actions)
            if case is None:
                continue
            if case_id in erased:
                checked.findings += _undecided_erasure(case, protocol)
                continue
            checked.lacks += lacks(
                [
                    one
                    for one in must_hold(case, self._party, protocol)
                    if one.part is FieldPart.OWN or receives
                ],
                {a: [one for d in ds if (one := d.listed())] for a, ds in of_actions.items()},
                {
                    a: {(digest, d.received_from) for d in ds for digest in d.sound}
                    for a, ds in of_actions.items()
                },
                noted_from=noted_from,
                key_is_there=not of_actions or self._keys.has(case_id),
            )
        return checked

    def _document_findings(
        self,
        case_id: UUID,
        documents: Sequence[DictRow],
        of_actions: Mapping[UUID, Sequence["_Deposit"]],
        data_keys: Sequence[bytes],
    ) -> Iterator[VaultFinding]:
        """Yield each document that is missing, or whose key or chunks are.

        The content is not read: a chunk that was changed is found when it is opened.
        """
        here = {(row["action_id"], row["field"]) for row in documents}
        for action, deposits in of_actions.items():
            entries = [one.entry for one in deposits if one.entry and not one.received_from]
            fields = {name for entry in entries for name in entry["fields"]}
            if "signs" in fields:
                continue  # the content belongs to the act whose document this one signs
            for field_name in sorted(fields & {*DOCUMENT_FIELDS}):
                if (action, field_name) not in here:
                    what = "the content of the document is missing"
                    yield VaultFinding(what=what, case_id=case_id, action=action, field=field_name)
        for row in documents:
            found: list[str] = []
            if row["action_id"] not in of_actions and not row["is_new"]:
                found.append("a document is here, and no deposit of its action")
            if not any(opens(row, key) for key in data_keys):
                found.append("the key of the document does not open")
            if row["is_whole"]:
                if not self._has_all_chunks(row):
                    found.append("chunks of the document are missing or were cut")
            elif row["is_late"] and row["refused"] not in _NOT_TO_COME:
                found.append("the content has not come from the other country for a day")
            for what in found:
                yield VaultFinding(
                    what=what, case_id=case_id, action=row["action_id"], field=row["field"]
                )

    def _broken_contents(self, documents: Sequence[DictRow]) -> Iterator[UUID]:
        for row in documents:
            if row["is_whole"] and row["received_from"] and not self._has_all_chunks(row):
                yield row["document_id"]

    def _has_all_chunks(self, row: DictRow) -> bool:
        place = place_of(row)
        held = self._chunks.held(place.document_id) or (row["chunks"] or 0, row["bytes"] or 0)
        return held == (place.chunks, place.sealed_bytes)

    def remove(self, superseded: Sequence[Superseded]) -> None:
        """Remove rows and deposits that a sound one has replaced."""
        with self._database.transaction(role=self._role) as connection:
            for one in superseded:
                statement = _REMOVE_DEPOSIT if one.digest is None else _REMOVE_ROW
                named = {"action": one.action, "deposit": one.deposit, "digest": one.digest}
                connection.execute(self._named(statement), named)

    def _data_keys(self, case_id: UUID) -> Iterator[bytes]:
        """Yield the person's key, and the replaced key while its replacement is not complete."""
        for find in (self._keys.get, self._keys.replaced):
            with suppress(SealError):
                if (data_key := find(case_id)) is not None:
                    yield data_key

    def _ledger_findings(
        self,
        row: DictRow,
        recorded: "_Signed | None",
        protocol: Protocol,
        undecided: set[UUID],
    ) -> Iterator[VaultFinding]:
        """Yield each part of a row that the recorded action does not state."""
        action = row["action_id"]
        if recorded is None:
            if action not in undecided and not row["is_new"]:
                yield VaultFinding(
                    what="the ledger has no such action",
                    case_id=row["case_id"],
                    action=action,
                    field=row["field"],
                )
            return
        for what in _differing(row, recorded, protocol, self._party):
            yield VaultFinding(
                what=what,
                case_id=recorded.case_id,
                action=action,
                kind=recorded.kind,
                field=row["field"],
            )

    def matrix_findings(self, protocol: Protocol) -> Iterator[VaultFinding]:
        """Yield each difference between row-level security's table and the access matrix."""
        with self._database.transaction(role=reader_role(self._party)) as connection:
            rows = connection.execute(self._named(_MATRIX)).fetchall()
        stored = {(row["role"], row["operation"], row["field_group"]) for row in rows}
        agreed = access_rows(protocol)
        for role, operation, group in sorted(stored - agreed):
            yield VaultFinding(
                what=f"the access matrix allows {role} to {operation} {group}, and the protocol "
                "does not"
            )
        for role, operation, group in sorted(agreed - stored):
            yield VaultFinding(
                what=f"the access matrix does not allow {role} to {operation} {group}, and the "
                "protocol does"
            )

    def _rows(self, statement: str, parameters: Mapping[str, Any]) -> Sequence[DictRow]:
        (rows,) = self._rows_together((statement,), parameters)
        return rows

    def _rows_together(
        self, statements: Sequence[str], parameters: Mapping[str, Any]
    ) -> Sequence[Sequence[DictRow]]:
        """Return the rows of each statement, all as of one moment."""
        with self._database.transaction(role=self._role) as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            return [
                connection.execute(self._named(statement), parameters).fetchall()
                for statement in statements
            ]

    def _named(self, statement: str) -> Composed:
        schema = Identifier(vault_schema(self._party))
        return SQL(statement).format(
            held=SQL("{}.held").format(schema),
            documents=SQL("{}.documents").format(schema),
            chunks=SQL("{}.held_chunks").format(schema),
            expected=SQL("{}.contents_expected").format(schema),
            disclosures=SQL("{}.disclosures").format(schema),
            deposits=SQL("{}.deposits").format(schema),
            aside=SQL("{}.set_aside").format(schema),
            missing=SQL("{}.missing").format(schema),
            erased=SQL("{}.erased").format(schema),
            progress=SQL("{}.progress").format(schema),
            matrix=SQL("{}.access_matrix").format(schema),
        )


def _by_deposit(rows: Iterable[DictRow]) -> dict[tuple[UUID, UUID], list[DictRow]]:
    found: dict[tuple[UUID, UUID], list[DictRow]] = {}
    for row in rows:
        found.setdefault((row["action_id"], row["deposit_id"]), []).append(row)
    return found


def _kept(row: DictRow) -> InventoryRow:
    return InventoryRow(
        row["action_id"],
        row["case_id"],
        row["digest"],
        row["field"],
        row["level"],
        row["field_group"],
        row["received_from"],
        bytes(row["sealed_hash"] or b""),
    )


class _Signed(NamedTuple):
    """The signed digests of an action in the ledger."""

    case_id: UUID
    kind: str
    agency: str
    digests: Collection[str]

    @classmethod
    def of(cls, act: Act | None, event: ActionRecorded | None) -> Self | None:
        if act is not None:
            return cls(act.case_id, act.kind, act.agency, act.digests)
        if event is None:
            return None
        action = event.action
        case_id = event.originator_id
        if action.kind in REGISTRY_ACTIONS:  # the originator is the ledger
            case_id = act_subject(case_id, action.id)
        return cls(case_id, action.kind, action.agency, action.digests)


_GONE = "the disclosure is missing"
_SURPLUS = "the inventory does not have it"


def _without_contents(
    documents: Sequence[DictRow], of_actions: Mapping[UUID, Sequence[_Deposit]]
) -> None:
    """Let fields of other countries not count as held that name a document without a row here.

    They are asked for again then, and the document is expected with them.
    """
    here = {(row["action_id"], row["field"]) for row in documents}
    for action, deposits in of_actions.items():
        for deposit in deposits:
            if deposit.received_from is None or any(r["field"] == "signs" for r in deposit.rows):
                continue  # what an act signs of another act's document has no content of its own
            deposit.changed |= {
                row["digest"]
                for row in deposit.rows
                if row["field"] in DOCUMENT_FIELDS and (action, row["field"]) not in here
            }


def _action_findings(
    deposits: Sequence[_Deposit], data_keys: Sequence[bytes], kind: str | None
) -> Iterator[VaultFinding]:
    """Yield each difference between the rows of an action and the inventory."""
    found = [(deposit, *one) for deposit in deposits for one in _compare(deposit, data_keys)]
    held = {(digest, d.received_from) for d in deposits for digest in d.sound}
    for deposit, what, digest, name in found:
        if what is _GONE and (digest, deposit.received_from) in held:
            continue  # another deposit has the same disclosure
        case_id = (deposit.entry or deposit.rows[0])["case_id"]
        yield VaultFinding(what=what, case_id=case_id, action=deposit.action, kind=kind, field=name)


def _compare(
    deposit: _Deposit, data_keys: Sequence[bytes]
) -> Iterator[tuple[str, str | None, str | None]]:
    """Yield each difference between a deposit's rows and its entry of the inventory.

    Each difference comes with the digest and the name of the field, and is noted in ``deposit``.
    The newest of ``data_keys`` is the first.
    """
    entry = deposit.entry
    by_digest = {row["digest"]: row for row in deposit.rows}
    if entry is None:
        deposit.is_sound = False
        for row in deposit.rows:
            deposit.changed.add(row["digest"])
            yield _SURPLUS, row["digest"], row["field"]
        return
    # Lists of other lengths were changed, and are not authenticated.
    listed = dict(zip(entry["digests"], entry["fields"], strict=False))
    for digest in listed.keys() - by_digest.keys():
        yield _GONE, digest, listed[digest]
    for digest in by_digest.keys() - listed.keys():
        deposit.changed.add(digest)
        yield _SURPLUS, digest, by_digest[digest]["field"]
    for row in deposit.rows:
        if row["received_at"] != entry["received_at"]:
            yield "the time when it came in was changed", row["digest"], row["field"]
    if not entry["mac"]:
        return  # from before the inventory
    if not data_keys:
        yield "the person's data key is not in the key directory, or does not open", None, None
        return
    place = deposit.action, entry["case_id"], entry["received_from"]

    def holds(data_key: bytes) -> bool:
        whole = list_mac(data_key, *place, listed.items(), is_whole=entry["whole"])
        return compare_digest(whole, bytes(entry["mac"]))

    data_key = next(filter(holds, data_keys), None)
    if data_key is None:
        deposit.is_sound = False
        data_key = data_keys[0]
        yield "the inventory of the deposit was changed", None, None
    for digest, mac in zip(entry["digests"], entry["macs"], strict=False):
        held = by_digest.get(digest)
        if held is not None and not compare_digest(row_mac(data_key, _kept(held)), bytes(mac)):
            deposit.changed.add(digest)
            yield "the disclosure, or its inventory, was changed", digest, held["field"]


def _superseded(deposits: Sequence[_Deposit]) -> Iterator[Superseded]:
    """Yield each faulty row or deposit that a sound one of the same action replaces."""
    sound = {(digest, d.received_from) for d in deposits if d.is_sound for digest in d.sound}
    for deposit in deposits:
        came = deposit.received_from
        for digest in deposit.changed:
            if (digest, came) in sound:
                yield Superseded(deposit.action, deposit.id, digest)
        whole = [d for d in deposits if (one := d.listed()) and one.is_whole]
        has_whole = any(d.received_from == came and d is not deposit for d in whole)
        rows = {(digest, came) for digest in deposit.sound}
        if deposit.entry is not None and not deposit.is_sound and has_whole and rows <= sound:
            yield from (Superseded(deposit.action, deposit.id, d) for d in deposit.sound)
            yield Superseded(deposit.action, deposit.id, None)


def _undecided_erasure(case: Case, protocol: Protocol) -> Iterator[VaultFinding]:
    """Yield a finding if a person is noted as erased without a recorded decision.

    A recorded action decides the erasure or announces it.
    """
    kinds = {act.kind for act in case.history.values()}
    if protocol.edition >= 2 and not kinds & _DECIDES_ERASURE:
        yield VaultFinding(
            what="the person is noted as erased, and no recorded action decides that",
            case_id=case.id,
        )


def _differing(row: DictRow, action: _Signed, protocol: Protocol, party: str) -> Iterator[str]:
    if row["digest"] not in action.digests:
        yield "the action that the agency signed has no such digest"
    if row["case_id"] != action.case_id:
        yield "it lies with another case than the action's"
    model = ALL_ACTIONS.get(action.kind)
    if model is not None and row["field"] in model.disclosable_fields():
        at = model.level(row["field"])
        if (row["level"], row["field_group"]) != (at.level.value, at.group and at.group.value):
            yield "its level or group is not the field's"
    elif model is not None:
        yield "the action has no such field"
    agency = protocol.agencies_by_id.get(action.agency)
    if agency is not None:
        sender = None if agency.party == party else agency.party
        if row["received_from"] != sender:
            yield "it is said to come from another country than the action's agency"
    if row["sealed_hash"] is None:
        yield "it is not encrypted"
