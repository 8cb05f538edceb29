"""Rows as events that are ready to be recorded: signed, checked, verified, decided, sealed.

None of this needs a lock of the ledger, so that it can be done on every core.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from joserfc.jwk import OKPKey

from ledger.events.event import ActionRecorded
from ledger.events.event_bytes import MAX_BYTES
from ledger.importing.mapping import Fault, Mapped, MappedAction, Mapper
from ledger.procedure import case as cases
from ledger.procedure.agreement import Agreement
from ledger.procedure.approvals import MISSING
from ledger.procedure.case import Case
from ledger.procedure.deciding import check_case
from ledger.procedure.disclosed_agencies import check_agencies, named_agencies
from ledger.procedure.disclosed_dates import check_disclosed_dates
from ledger.procedure.protocol import Protocol
from ledger.procedure.time_zones import zone_of
from ledger.refusals import Ground, Refusal
from ledger.signing import signed_action
from ledger.signing.sd_jwt import Disclosure
from ledger.signing.signed_action import SignedAction
from ledger.store.bulk_append import NewEvent
from ledger.system import clock
from ledger.vault.bulk_deposits import SealedDeposit, seal_all
from ledger.vault.bulk_file_numbers import SealedNumber, seal_number
from ledger.vault.data_keys import DataKeys

_ROOM = 100  # for the time of recording, as for any append


class ImportRow(NamedTuple):
    """A row of the file: its number there, and its columns that have a value."""

    number: int
    values: Mapping[str, Any]
    file_number: str | None = None
    """The agency's own number of the case."""


class ReadyCase(NamedTuple):
    """A row that may be recorded."""

    row: int
    case_id: UUID
    events: list[NewEvent]
    deposits: list[SealedDeposit]
    decided_at: datetime
    """By which time its actions were decided: they are not recorded with an earlier one."""
    file_number: SealedNumber | None = None


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that is not recorded, and each reason."""

    row: int
    faults: Sequence[Fault]


@dataclass(frozen=True, slots=True)
class Prepared:
    """The outcome of some rows."""

    ready: Sequence[ReadyCase]
    refused: Sequence[RefusedRow]
    not_imported: Sequence[str]
    """Columns with a value that no action has, once for each row."""


@dataclass(frozen=True, slots=True)
class Signer:
    """The agency that imports, its private key, and that key as it is registered."""

    agency: str
    private: OKPKey
    registered: OKPKey
    protocol: Protocol


class RowError(RuntimeError):
    """A row makes this program fail; the message names it, and nothing of it."""


_Signed = tuple[SignedAction, Sequence[Disclosure]]


class _Judged(NamedTuple):
    row: int
    case_id: UUID
    signed: list[_Signed]
    refused: RefusedRow | None
    not_imported: Sequence[str]
    decided_at: datetime
    file_number: str | None


def case_id_of(import_id: UUID, row: int) -> UUID:
    """Return the id of a row's case: the same each time.

    Nobody can derive the id without the import's own id.
    """
    return uuid5(import_id, str(row))


def action_id_of(import_id: UUID, row: int, kind: str, number: int) -> UUID:
    """Return the id of a row's action: the same each time."""
    return uuid5(import_id, f"{row} {kind} {number}")


class Preparer:
    """Prepares rows of one import. Without ``keys`` nothing is sealed, and nothing written."""

    def __init__(
        self,
        import_id: UUID,
        signer: Signer,
        mapper: Mapper,
        keys: DataKeys | None,
    ) -> None:
        self._import_id = import_id
        self._signer = signer
        self._mapper = mapper
        self._keys = keys

    def prepare(self, rows: Sequence[ImportRow]) -> Prepared:
        """Judge each row by itself. Its person's data key is durable on return."""
        made = [self._judged(row) for row in rows]
        refused = [one.refused for one in made if one.refused is not None]
        not_imported = [column for one in made for column in one.not_imported]
        return Prepared(
            self._sealed([one for one in made if not one.refused]), refused, not_imported
        )

    def _judged(self, row: ImportRow) -> _Judged:
        case_id = case_id_of(self._import_id, row.number)

        def action_id(kind: str, number: int) -> UUID:
            return action_id_of(self._import_id, row.number, kind, number)

        now = clock.now()
        try:
            mapped = self._mapper.read(row.values, action_id)
            faults = list(mapped.faults)
            signed = [] if faults else self._decided(mapped, case_id, faults, now)
        except Exception as error:
            # Its message may hold a value; its class does not.
            raise RowError(f"row {row.number} cannot be read ({type(error).__name__})") from None
        refused = RefusedRow(row.number, faults) if faults else None
        return _Judged(
            row.number, case_id, signed, refused, mapped.not_imported, now, row.file_number
        )

    def _decided(
        self, mapped: Mapped, case_id: UUID, faults: list[Fault], now: datetime
    ) -> list[_Signed]:
        """Return the row's actions as signed, each decided upon the actions before it."""
        signer = self._signer
        zone = zone_of(signer.protocol, signer.protocol.agencies_by_id[signer.agency].party)
        project = Case.projector(Agreement.of(signer.protocol))
        case: Case | None = None
        signed: list[_Signed] = []
        for told in mapped.told:
            try:
                action, disclosures = self._signed(told, case_id)
                event = cases.decide(case, action, case_id, signer.protocol, now)
                earlier = () if case is None else case.history.values()
                state = None if case is None else case.state
                check_disclosed_dates(told.action, state, earlier, zone)
            except Refusal as refusal:
                faults.append(told.fault(refusal.rule, refusal.field))
                return []
            recorded = ActionRecorded(case_id, event.originator_version, action, 1, now)
            case = project(case, [recorded])
            signed.append((action, disclosures))
        if mapped.status is not None and case is not None and case.state.status != mapped.status:
            faults.append(Fault("status-differs", mapped.status_column))
        return signed

    def _signed(
        self, told: MappedAction, case_id: UUID
    ) -> tuple[SignedAction, Sequence[Disclosure]]:
        """Sign an action, and check it as any agency's action is checked.

        Raises ``Refusal`` if the check fails.
        """
        signer = self._signer
        issued = signed_action.sign(
            told.action,
            agency=signer.agency,
            key=signer.private,
            protocol=signer.protocol.id,
            case_id=case_id,
            action_id=told.id,
        )
        action = signed_action.read(issued)
        if len(action.sd_jwt) > MAX_BYTES - _ROOM:
            raise Refusal(Ground.INVALID, "too-large", "What is signed is too long.")
        if signer.protocol.approval_of(action.kind, signer.agency) is not None:
            raise Refusal(
                Ground.NOT_ALLOWED, MISSING, "A second member approves this; an import has none."
            )
        check_case(action, case_id)
        signed_action.check_disclosures(action, issued.disclosures)
        check_agencies(action, named_agencies(action, issued.disclosures), signer.protocol)
        signed_action.verify(action, signer.registered)
        return action, issued.disclosures

    def _sealed(self, accepted: Sequence[_Judged]) -> list[ReadyCase]:
        data_keys: Mapping[UUID, bytes] = {}
        if self._keys is not None:
            persons = [one.case_id for one in accepted if any(a.digests for a, _ in one.signed)]
            data_keys = self._keys.make_all(persons)
        made = []
        for row, case_id, signed, _, _, decided_at, number in accepted:
            events = [
                NewEvent(case_id, version, action.kind, action.id, action.sd_jwt.encode("ascii"))
                for version, (action, _) in enumerate(signed, 1)
            ]
            deposits = [
                seal_all(action, case_id, disclosed, data_keys[case_id])
                for action, disclosed in signed
                if case_id in data_keys and action.digests
            ]
            sealed = None
            if number is not None and case_id in data_keys:
                sealed = seal_number(data_keys[case_id], case_id, self._signer.agency, number)
            made.append(ReadyCase(row, case_id, events, deposits, decided_at, sealed))
        return made
