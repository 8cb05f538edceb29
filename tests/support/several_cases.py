"""Several cases recorded without a database, whose actions the rules decide."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID, uuid4

from ledger.events.act import Act
from ledger.events.event import ActionRecorded
from ledger.procedure.agreement import Agreement
from ledger.procedure.case import Case, after_event, decide
from ledger.procedure.case_state import CaseState
from ledger.procedure.deciding import others_of
from ledger.procedure.protocol import Protocol
from ledger.signing import signed_action
from ledger.vocabulary import Action
from tests.support.actions import START, opening
from tests.support.agencies import Agencies


@dataclass
class SeveralCases:
    """The cases of one ledger."""

    agencies: Agencies
    cases: dict[UUID, Case] = field(default_factory=dict)
    events: list[ActionRecorded] = field(default_factory=list)

    @property
    def protocol(self) -> Protocol:
        return self.agencies.protocol

    @property
    def agreement(self) -> Agreement:
        return Agreement.of(self.protocol)

    def opened(self, agency: str, countries: tuple[str, ...], at: timedelta = timedelta()) -> UUID:
        """Open a child's case, and return its id."""
        case_id = uuid4()
        self.take(agency, opening(countries, acted_at=START + at), case_id)
        return case_id

    def take(self, agency: str, action: Action, case_id: UUID) -> UUID:
        """Record an action at the time at which it was done. Raises ``Refusal``."""
        text = self.agencies.sign(agency, action, case_id).without_disclosures()
        signed = signed_action.read_recorded(text)
        case = self.cases.get(case_id)
        others = others_of(signed, case, self.cases.get)
        decided = decide(case, signed, case_id, self.protocol, action.acted_at, others=others)
        event = ActionRecorded(
            case_id,
            decided.originator_version,
            decided.action,
            len(self.events) + 1,
            action.acted_at,
        )
        self._fold(self.cases, event)
        self.events.append(event)
        return signed.id

    def state(self, case_id: UUID) -> CaseState:
        return self.cases[case_id].state

    def acts(self, case_id: UUID) -> list[Act]:
        return [event.as_act() for event in self.events if event.originator_id == case_id]

    def judge_again(self) -> Mapping[UUID, Case]:
        """Decide each event again on the events before it, as every copy does."""
        cases: dict[UUID, Case] = {}
        for event in self.events:
            case, at = cases.get(event.originator_id), event.recorded_at
            assert at is not None
            others = others_of(event.action, case, cases.get)
            decide(case, event.action, event.originator_id, self.protocol, at, others=others)
            self._fold(cases, event)
        assert cases == self.cases
        return cases

    def _fold(self, cases: dict[UUID, Case], event: ActionRecorded) -> None:
        after, mark = after_event(cases.get(event.originator_id), event, self.agreement)
        assert mark is None
        assert after is not None
        cases[event.originator_id] = after
