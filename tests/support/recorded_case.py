"""A case recorded without a database, for tests of folds."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from hypothesis import strategies as st

from ledger.events.act import Act
from ledger.events.event import ActionRecorded
from ledger.procedure.agreement import Agreement
from ledger.procedure.case import Case, decide
from ledger.refusals import Refusal
from ledger.signing import signed_action
from ledger.vocabulary import Action
from tests.support.agencies import Agencies
from tests.support.counterparts import counterparts
from tests.support.strategies import proposals


@dataclass
class RecordedCase:
    """One case, whose actions the rules decide."""

    agencies: Agencies
    case_id: UUID = field(default_factory=uuid4)
    case: Case | None = None
    events: list[ActionRecorded] = field(default_factory=list)
    second_persons: Agencies | None = None
    """Keys of the persons who approve an erasure."""

    @property
    def acts(self) -> list[Act]:
        return [event.as_act() for event in self.events]

    def take(self, agency: str, action: Action) -> UUID:
        """Record an action, a second after it was done. Raises ``Refusal``."""
        second = self.second_persons if action.kind.endswith("_approved") else None
        signed = (second or self.agencies).sign(agency, action, self.case_id)
        read = signed_action.read_recorded(signed.without_disclosures())
        protocol = self.agencies.protocol
        others = counterparts(read.kind, self.case.state if self.case else None, protocol)
        decided = decide(self.case, read, self.case_id, protocol, action.acted_at, others=others)
        event = ActionRecorded(
            self.case_id,
            decided.originator_version,
            decided.action,
            3 * decided.originator_version,  # other cases' events lie between
            action.acted_at + timedelta(seconds=1),
        )
        self.case = Case.projector(Agreement.of(self.agencies.protocol))(self.case, [event])
        self.events.append(event)
        return read.id

    def propose(self, data: st.DataObject, now: datetime, wanted: Collection[str] = ()) -> bool:
        """Return whether an agency's proposed act was recorded; kinds in ``wanted`` come often."""
        known = [act.id for act in self.acts]
        state = self.case.state if self.case else None
        agency, action = data.draw(
            proposals(state, self.agencies.protocol, known, now, wanted=wanted), label="proposal"
        )
        try:
            self.take(agency, action)
        except (Refusal, KeyError):
            return False
        return True
