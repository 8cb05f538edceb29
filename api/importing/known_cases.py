"""Rows whose file number is that of a recorded case: what they change is recorded in that case.

What the case has of the person is read as any reading is: the agency needs a right and a basis, and
the access log has an entry. A statement that differs is recorded as ``identity_recorded``. An
action that the row tells and the case lacks is recorded too. Nothing that stands is taken back.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from joserfc.jwk import OKPKey
from pydantic_core import to_jsonable_python

from api.services.append_service import DirectAppend
from api.services.personal_data_access import PersonalDataAccess, Reader
from ledger.application import Ledger
from ledger.events.event import ActionRecorded
from ledger.importing.fields import ENDS
from ledger.importing.import_map import ImportMap, UpdateTerms
from ledger.importing.mapping import Fault, MappedAction, Mapper
from ledger.importing.preparing import ImportRow
from ledger.procedure.case import Case, decide
from ledger.procedure.case_fold import without_effect
from ledger.procedure.dates import ADULT_AT_YEARS
from ledger.procedure.disclosed_dates import (
    check_disclosed_dates,
    quarter_to_state,
    years_old,
)
from ledger.procedure.protocol import Agency, Protocol
from ledger.procedure.statements import PERSON_FIELDS, STATING
from ledger.procedure.time_zones import zone_of
from ledger.refusals import Refusal
from ledger.replication.outbox import Outbox
from ledger.signing import signed_action
from ledger.signing.keys import key_id
from ledger.signing.sd_jwt import SdJwt
from ledger.store.database import Database
from ledger.system import clock
from ledger.system.identifiers import new_id
from ledger.vault.vault import Vaults
from ledger.vocabulary import Action
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.person import IdentityRecorded
from ledger.vocabulary.picklists import Purpose


@dataclass(frozen=True, slots=True)
class Change:
    """A difference between a row and its case: a field of the person, or an action that is new."""

    column: str
    name: str
    """The field, or the kind of the action."""
    before: Any = None
    after: Any = None


@dataclass(frozen=True, slots=True)
class Updated:
    """The changes of a row in its case, or the faults for which it makes none."""

    changes: Sequence[Change] = ()
    faults: Sequence[Fault] = ()
    not_compared: Sequence[str] = ()
    """The columns of fields that the agency may not read in this case: they stay with it."""


class KnownCases:
    """The recorded cases of one agency, which rows of a later file are about."""

    def __init__(
        self,
        ledger: Ledger,
        database: Database,
        vaults: Vaults,
        agency: Agency,
        private: OKPKey,
        protocol: Protocol,
        import_map: ImportMap,
        terms: UpdateTerms,
    ) -> None:
        self._ledger = ledger
        self._append = DirectAppend(ledger, vaults)
        self._reading = PersonalDataAccess(ledger, vaults, Outbox(database))
        self._agency = agency
        self._private = private
        self._reader = Reader(agency, key_id(private), None)
        self._protocol = protocol
        self._mapper = Mapper(import_map, agency.party)
        self._column = import_map.file_number or ""
        self._terms = terms

    def update(self, row: ImportRow, case_id: UUID, *, is_rehearsal: bool) -> Updated:
        """Record what a row changes in a case; with ``is_rehearsal``, only tell it.

        A run that was stopped is run again: what is recorded differs no more.
        """
        told = self._mapper.read(row.values, lambda _, __: new_id())
        if told.faults:
            return Updated(faults=told.faults)
        try:
            case = self._ledger.case(case_id)
            if case is None or case.state.is_erased:
                return Updated(faults=[Fault("number-known", self._column)])
            opening, *others = told.told
            changes, stated, left = self._stated(opening, case)
            new: list[Action] = [stated] if stated is not None else []
            new += _lacking(others, case)
            changes += [Change("", one.kind) for one in new if one.kind != IdentityRecorded.kind]
            issued = self._decided(new, case)
            if not is_rehearsal:
                for number, one in enumerate(issued):
                    self._append.on_case(self._agency, str(one), case.id, case.version + number)
        except Refusal as refusal:
            at = next(iter(opening.columns.values()), "") if refusal.field is None else ""
            return Updated(faults=[Fault(refusal.rule, at, "", refusal.field or "")])
        return Updated(changes, not_compared=left)

    def _stated(
        self, opening: MappedAction, case: Case
    ) -> tuple[list[Change], IdentityRecorded | None, Sequence[str]]:
        """Return the statements on the person that differ, and the action that records them.

        The third value has the columns of the groups that the agency may not read. Raises
        ``Refusal`` if it may read none.
        """
        given: Mapping[str, Any] = {
            name: value
            for name, value in opening.action.model_dump(include=set(PERSON_FIELDS)).items()
            if value is not None
        }
        groups = sorted({group for name in given if (group := _group(name)) is not None})
        known, closed = self._known(case, groups)
        left = [opening.columns.get(name, "") for name in given if _group(name) in closed]
        changed = {
            name: value
            for name, value in given.items()
            if _group(name) not in closed and known.get(name) != to_jsonable_python(value)
        }
        if not changed:
            return [], None, left
        now = clock.now()
        terms = self._terms.model_dump()
        if (born := changed.get("birthdate")) is not None:
            quarter = quarter_to_state(born, now.date())
            if quarter is not None and years_old(born, now.date()) < ADULT_AT_YEARS:
                terms["of_age_from"] = quarter
        made = IdentityRecorded.model_validate({"acted_at": now, **terms, **changed})
        columns = opening.columns
        changes = [
            Change(columns.get(name, ""), name, known.get(name), to_jsonable_python(value))
            for name, value in changed.items()
        ]
        return changes, made, left

    def _known(
        self, case: Case, groups: Sequence[FieldGroup]
    ) -> tuple[Mapping[str, Any], Collection[FieldGroup]]:
        """Return the statements on the person that count, and the groups that stay closed.

        Raises ``Refusal`` if the agency may read none of the groups.
        """
        known: dict[str, Any] = {}
        closed: dict[FieldGroup, Refusal] = {}
        for group in groups:
            try:
                opened = self._reading.read(
                    self._reader, case.id, [group], Purpose.IDENTIFICATION, None
                )
            except Refusal as refusal:
                closed[group] = refusal
                continue
            known |= {
                one.field: one.value
                for one in opened.fields
                if (one.action_id, one.field) not in opened.ended
                and case.history[one.action_id].kind in STATING
            }
        if groups and len(closed) == len(groups):
            raise closed[groups[0]]
        return known, closed

    def _decided(self, new: Sequence[Action], case: Case) -> Sequence[SdJwt]:
        """Return the actions as signed, each decided upon the actions before it.

        So a row is recorded whole or not at all, and a rehearsal finds what would be refused.
        Raises ``Refusal``.
        """
        agreement = self._ledger.adopted().agreement
        project = Case.projector(agreement)
        position = max(case.state.position, agreement.last_position) + 1
        zone = zone_of(self._protocol, self._agency.party)
        folded: Case | None = case
        signed = []
        for action in new:
            issued = signed_action.sign(
                action,
                agency=self._agency.id,
                key=self._private,
                protocol=self._protocol.id,
                case_id=case.id,
                action_id=new_id(),
            )
            read, now = signed_action.read(issued), clock.now()
            event = decide(folded, read, case.id, self._protocol, now)
            state = folded.state if folded is not None else None
            history = folded.history.values() if folded is not None else ()
            check_disclosed_dates(action, state, history, zone)
            recorded = ActionRecorded(case.id, event.originator_version, read, position, now)
            folded = project(folded, [recorded])
            signed.append(issued)
        return signed


def _group(name: str) -> FieldGroup | None:
    return IdentityRecorded.level(name).group


def _lacking(told: Sequence[MappedAction], case: Case) -> list[Action]:
    """Return the actions of a row of which the case has fewer in force than the row tells.

    What ends another action is left out: the row does not say which one of the case.
    """
    gone = without_effect(case.history.values())
    there = Counter(act.kind for act in case.history.values() if act.id not in gone)
    found = []
    for one in told:
        kind = one.action.kind
        if there[kind]:
            there[kind] -= 1
        elif kind not in ENDS:
            found.append(one.action)
    return found
