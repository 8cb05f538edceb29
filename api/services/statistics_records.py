"""Pseudonymised records of a country's cases for its own analysts, and their access-log entries.

The basis is the protocol's part on statistics. Each case that is opened has an entry of its own,
and so has each request as a whole, granted or refused.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

from api.services.personal_data_access import Reader, asked_by, await_matrix, check_matrix
from ledger.application import Ledger
from ledger.events.act import Act
from ledger.procedure.case import Case
from ledger.procedure.case_fold import withheld_ids, without_effect
from ledger.procedure.protocol import Operation, Protocol, StatisticsTerms
from ledger.procedure.readings import Asked, BasisNamed, OwnPurpose, Reading
from ledger.procedure.time_zones import zone_of
from ledger.refusals import Ground, Refusal
from ledger.system import clock
from ledger.vault.access_log import NO_CASE, NewEntry
from ledger.vault.held_fields import Held
from ledger.vault.held_statements import ended_statements
from ledger.vault.vault import Vault, Vaults
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import ClosureReason, LegalBasis
from projections.statistics.person_records import PersonFacts, PersonRecords, make_records

_AT_ONCE = 200
"""Cases whose entries are written together; they are opened within the minute of the entries."""
GROUPS = (FieldGroup.IDENTITY,)
_PERSONAL = ("gender", "citizenship")
_FORMS = frozenset({"victim_identified", "new_exploitation_found"})
_ASSESSING = frozenset({"victim_identified", "victim_status_changed", "not_a_victim"})
"""Kinds that state whether the person is a victim. Others do if they have ``protected_as``."""


class StatisticsRecords:
    """The only way to an analyst's records: matrix, basis, access log, then the fields."""

    def __init__(self, ledger: Ledger, vaults: Vaults) -> None:
        self._ledger = ledger
        self._vaults = vaults
        self._one_at_a_time = threading.Lock()

    def release(self, reader: Reader) -> PersonRecords:
        """Return a release of the records of all persons whose case the reader's country opened.

        Erased persons are not in it, nor merged cases, nor those that were opened in error. What is
        annulled or destroyed is in none. Raises ``Refusal`` (``access-matrix``,
        ``no-legal-basis``), which is written down too.
        """
        now = clock.now()
        protocol = self._ledger.adopted().protocol_today(now)
        agency = reader.agency
        vault = self._vaults.of(agency.party)
        asked = _asked(reader, NO_CASE)
        try:
            terms = _checked(protocol, reader)
        except Refusal as refusal:
            vault.readings.record(asked, refused_by=refusal.rule)
            raise
        await_matrix(vault, asked)
        vault.readings.record(asked)
        zone = zone_of(protocol, agency.party)
        with self._one_at_a_time:
            position = self._ledger.head()
            facts = list(self._facts(reader, vault, protocol))
        return make_records(
            facts,
            country=agency.party,
            parties=protocol.party_codes,
            citizenships=terms.citizenships,
            dates=terms.dates,
            smallest_category=terms.smallest_category,
            now=now.astimezone(zone),
            about=(protocol.id, protocol.version, position),
        )

    def _facts(self, reader: Reader, vault: Vault, protocol: Protocol) -> Iterator[PersonFacts]:
        after = NO_CASE
        while subjects := self._ledger.next_subjects(after, _AT_ONCE):
            after = subjects[-1]
            known = self._ledger.cases(subjects, keep=False)
            own = [
                case
                for case in map(known.get, subjects)
                if case is not None and self._counts(case, vault, protocol)
            ]
            readings = vault.readings.record_all([_entry(reader, case) for case in own])
            for case, reading, held in zip(
                own, readings, vault.personal_fields_of(readings, _PERSONAL), strict=True
            ):
                yield self._facts_of(case, vault, protocol, reading, held)

    def _counts(self, case: Case, vault: Vault, protocol: Protocol) -> bool:
        """Return whether a case is of a person whom the vault's country counts."""
        state = case.state
        acts = list(case.history.values())
        opened_by = protocol.agencies_by_id.get(acts[0].agency)
        return (
            opened_by is not None
            and opened_by.party == vault.party
            and acts[0].id not in withheld_ids(acts)
            and state.merged_into is None
            and state.closure is not ClosureReason.OPENED_IN_ERROR
            and not state.is_erased
            and vault.erased_at(case.id) is None
        )

    def _facts_of(
        self,
        case: Case,
        vault: Vault,
        protocol: Protocol,
        reading: Reading,
        personal: Sequence[Held],
    ) -> PersonFacts:
        held = [*personal, *vault.case_fields(reading.asked.case_id)]
        ended = ended_statements(vault, case, [(one.action_id, one.field) for one in held])
        counting = [
            one
            for one in held
            if one.action_id in case.history and (one.action_id, one.field) not in ended
        ]
        acts = list(case.history.values())
        place = {act.id: number for number, act in enumerate(acts)}
        counting.sort(key=lambda one: place[one.action_id])
        state = case.state

        def stated(field: str, kinds: Iterable[str] | None = None) -> list[Any]:
            """Return the values of a field that actions of some kinds have, the newest last."""
            wanted = None if kinds is None else frozenset(kinds)
            return [
                one.value
                for one in counting
                if one.field == field and one.value is not None
                if wanted is None or case.history[one.action_id].kind in wanted
            ]

        return PersonFacts(
            case_id=case.id,
            opened=state.opened_at.astimezone(zone_of(protocol, vault.party)),
            age_group=state.age_group,
            stage=state.stage,
            status=state.status,
            trafficking_status=state.trafficking_status if _is_assessed(acts) else None,
            closure=state.closure,
            destination=state.planned_return.destination if state.planned_return else None,
            gender=_last(stated("gender")),
            citizenships=_citizenships(stated("citizenship")),
            ground=_last(stated("ground", ("case_opened",))),
            exploitation=tuple(
                dict.fromkeys(
                    form for forms in stated("types_of_exploitation", _FORMS) for form in forms
                )
            ),
            offences=tuple(
                dict.fromkeys(one for some in stated("offences", ("charged",)) for one in some)
            ),
            verdict=_last(stated("verdict", ("judgment_given",))),
        )


def _checked(protocol: Protocol, reader: Reader) -> StatisticsTerms:
    """Return the basis of the records. Raises ``Refusal`` if the protocol gives the reader none."""
    check_matrix(protocol, reader.agency, Operation.STATISTICS, GROUPS)
    if protocol.statistics is None or not protocol.sees_figures_alone(reader.agency):
        raise Refusal(
            Ground.NOT_ALLOWED,
            "no-legal-basis",
            "The protocol in force has no part on statistics, which is the basis of such records."
            " The parties may add it by an amendment.",
            "purpose",
        )
    return protocol.statistics


def _asked(reader: Reader, case_id: UUID) -> Asked:
    return asked_by(reader, case_id, Operation.STATISTICS, GROUPS, OwnPurpose.STATISTICS)


def _entry(reader: Reader, case: Case) -> NewEntry:
    opening = next(iter(case.history))
    basis = BasisNamed(kind=LegalBasis.DUTY, action=opening)
    return NewEntry(_asked(reader, case.id), dict.fromkeys(GROUPS, basis))


def _is_assessed(acts: Sequence[Act]) -> bool:
    """Return whether an action that stands states if the person is a victim."""
    gone = without_effect(acts)
    return any(
        act.id not in gone and (act.kind in _ASSESSING or act.fields.get("protected_as"))
        for act in acts
    )


def _citizenships(stated: Sequence[Any]) -> tuple[str, ...]:
    newest = _last(stated)
    if newest is None:
        return ()
    return (newest,) if isinstance(newest, str) else tuple(newest)


def _last(values: Sequence[Any]) -> Any:
    return values[-1] if values else None
