"""Checks a vault against its inventory and against the ledger's digests.

Nothing is opened: the inventory is authenticated under each person's data key, and the ledger has
the digest of every disclosure.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from hmac import compare_digest
from typing import Any
from uuid import UUID

from psycopg.rows import DictRow
from psycopg.sql import SQL, Composed, Identifier

from ledger.event import ActionRecorded
from ledger.protocol import Protocol
from ledger.store.database import Database
from ledger.store.migrate import access_rows, reader_role, vault_role, vault_schema
from ledger.vault.country_key import SealError
from ledger.vault.data_keys import DataKeys
from ledger.vault.inventory import Kept, list_mac, row_mac
from ledger.vocabulary import ALL_ACTIONS
from ledger.vocabulary.action import LedgerModel

_PAGE_ACTIONS = 200

_NEXT = """
SELECT action_id FROM (
    (SELECT DISTINCT action_id FROM {held} WHERE action_id > %(after)s
    ORDER BY action_id LIMIT %(limit)s)
    UNION
    (SELECT DISTINCT action_id FROM {deposits} WHERE action_id > %(after)s
    ORDER BY action_id LIMIT %(limit)s)) AS known
ORDER BY action_id LIMIT %(limit)s
"""
# By the clock that wrote the time. A deposit comes before its event.
_HELD = """
SELECT *, received_at > clock_timestamp() - interval '10 minutes' AS is_new
FROM {held} WHERE action_id = ANY(%(actions)s)
"""
_DEPOSITS = "SELECT * FROM {deposits} WHERE action_id = ANY(%(actions)s)"
_MATRIX = "SELECT role, operation, field_group FROM {matrix}"


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


Recorded = Callable[[Sequence[UUID]], Mapping[UUID, ActionRecorded]]
"""Returns the recorded events of actions, by action id."""


class VaultCheck:
    """Checks one country's vault, some hundred actions at a time."""

    def __init__(
        self,
        database: Database,
        party: str,
        keys: DataKeys,
        recorded: Recorded,
        undecided: Callable[[Sequence[UUID]], set[UUID]],
    ) -> None:
        """``undecided`` returns those of some actions whose outcome is not known yet."""
        self._database = database
        self._party = party
        self._keys = keys
        self._recorded = recorded
        self._undecided = undecided
        self._role = vault_role(party)
        self.actions = 0
        """Actions that were checked so far."""

    def findings(self, protocol: Protocol, matrix_of: Protocol) -> Iterator[VaultFinding]:
        """What does not hold, a page at a time; nothing, where all does.

        ``matrix_of`` is the protocol whose access matrix ``case-ledger migrate`` wrote.
        """
        yield from self._matrix_findings(matrix_of)
        after = UUID(int=0)
        while actions := [
            row["action_id"] for row in self._rows(_NEXT, {"after": after, "limit": _PAGE_ACTIONS})
        ]:
            yield from self._page(actions, protocol)
            self.actions += len(actions)
            after = actions[-1]

    def _page(self, actions: Sequence[UUID], protocol: Protocol) -> Iterator[VaultFinding]:
        """Return the findings of one page; actions with findings are looked at again before.

        A data key may be replaced between the reading of the rows and of the key. So the second
        look has each person's keys of before and after the reading of the rows.
        """
        found = list(self._page_once(actions, protocol, {}))
        before = {
            one.case_id: [*self._data_keys(one.case_id)] for one in found if one.case_id is not None
        }
        again = sorted({one.action for one in found if one.action is not None})
        if again:
            yield from self._page_once(again, protocol, before)

    def _page_once(
        self,
        actions: Sequence[UUID],
        protocol: Protocol,
        before: Mapping[UUID, Sequence[bytes]],
    ) -> Iterator[VaultFinding]:
        """``before`` has data keys by person, which count besides those that are there now."""
        events, undecided = self._recorded(actions), self._undecided(actions)
        held, deposits = map(
            _by_deposit, self._rows_together((_HELD, _DEPOSITS), {"actions": actions})
        )
        for place in sorted(held.keys() | deposits.keys()):
            rows, event = held.get(place, []), events.get(place[0])
            of_deposit = deposits.get(place, [])
            case_id = (rows or of_deposit)[0]["case_id"]
            keys = partial(self._data_keys, case_id, before.get(case_id, ()))
            yield from self._deposit_findings(place[0], rows, of_deposit, event, keys)
            for row in rows:
                yield from self._ledger_findings(row, event, protocol, undecided)

    def _deposit_findings(
        self,
        action: UUID,
        rows: Sequence[DictRow],
        deposits: Sequence[DictRow],
        event: ActionRecorded | None,
        keys: Callable[[], Iterator[bytes]],
    ) -> Iterator[VaultFinding]:
        """What the rows of one deposit have that the inventory does not, and the reverse."""

        def finding(what: str, field: str | None = None) -> VaultFinding:
            case_id = (rows or deposits)[0]["case_id"]
            kind = event.action.kind if event is not None else None
            return VaultFinding(what=what, case_id=case_id, action=action, kind=kind, field=field)

        if not deposits:
            for row in rows:
                yield finding("the inventory does not have it", row["field"])
            return
        deposit = deposits[0]
        by_digest = {row["digest"]: row for row in rows}
        listed = dict(zip(deposit["digests"], deposit["fields"], strict=True))
        for digest in listed.keys() - by_digest.keys():
            yield finding("the disclosure is missing", listed[digest])
        for digest in by_digest.keys() - listed.keys():
            yield finding("the inventory does not have it", by_digest[digest]["field"])
        for row in rows:
            if row["received_at"] != deposit["received_at"]:
                yield finding("the time when it came in was changed", row["field"])
        if not deposit["macs"]:
            return  # from before the inventory

        def holds(data_key: bytes) -> bool:
            place = action, deposit["case_id"], deposit["received_from"]
            return compare_digest(list_mac(data_key, *place, listed.items()), bytes(deposit["mac"]))

        newest = next(keys(), None)
        if newest is None:
            yield finding("the person's data key is not in the key directory, or does not open")
            return
        data_key = next(filter(holds, keys()), newest)
        if data_key is newest and not holds(newest):
            yield finding("the inventory of the deposit was changed")
        for digest, mac in zip(deposit["digests"], deposit["macs"], strict=True):
            held = by_digest.get(digest)
            if held is None:
                continue
            if not compare_digest(row_mac(data_key, _kept(held)), bytes(mac)):
                yield finding("the disclosure, or its inventory, was changed", held["field"])

    def _data_keys(self, case_id: UUID, before: Sequence[bytes] = ()) -> Iterator[bytes]:
        """Return the person's key, and the replaced one while its replacement is not complete.

        Then those of ``before``.
        """
        for find in (self._keys.get, self._keys.replaced):
            with suppress(SealError):
                if (data_key := find(case_id)) is not None:
                    yield data_key
        yield from before

    def _ledger_findings(
        self,
        row: DictRow,
        event: ActionRecorded | None,
        protocol: Protocol,
        undecided: set[UUID],
    ) -> Iterator[VaultFinding]:
        """What a row has that the recorded action does not say."""
        action = row["action_id"]
        if event is None:
            if action not in undecided and not row["is_new"]:
                yield VaultFinding(
                    what="the ledger has no such action",
                    case_id=row["case_id"],
                    action=action,
                    field=row["field"],
                )
            return
        for what in _differing(row, event, protocol, self._party):
            yield VaultFinding(
                what=what,
                case_id=event.originator_id,
                action=action,
                kind=event.action.kind,
                field=row["field"],
            )

    def _matrix_findings(self, protocol: Protocol) -> Iterator[VaultFinding]:
        """Where the table that row-level security reads is not the protocol's access matrix."""
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
            deposits=SQL("{}.deposits").format(schema),
            matrix=SQL("{}.access_matrix").format(schema),
        )


def _by_deposit(rows: Iterable[DictRow]) -> dict[tuple[UUID, UUID], list[DictRow]]:
    found: dict[tuple[UUID, UUID], list[DictRow]] = {}
    for row in rows:
        found.setdefault((row["action_id"], row["deposit_id"]), []).append(row)
    return found


def _kept(row: DictRow) -> Kept:
    return Kept(
        row["action_id"],
        row["case_id"],
        row["digest"],
        row["field"],
        row["level"],
        row["field_group"],
        row["received_from"],
        bytes(row["sealed_hash"] or b""),
    )


def _differing(
    row: DictRow, event: ActionRecorded, protocol: Protocol, party: str
) -> Iterator[str]:
    action = event.action
    if row["digest"] not in action.digests:
        yield "the action that the agency signed has no such digest"
    if row["case_id"] != event.originator_id:
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
