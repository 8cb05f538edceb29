"""Cases that are played by the shipped protocol's rules alone: no database, no keys."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from ledger.events.act import Act
from ledger.procedure import case_rules
from ledger.procedure.agreement import Agreement
from ledger.procedure.case_fold import fold
from ledger.procedure.case_state import CaseState
from ledger.procedure.legal_basis import reading_bases
from ledger.procedure.protocol import Protocol, shipped_protocol
from ledger.refusals import Refusal
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import LegalBasis

PROTOCOL = shipped_protocol()
START = datetime(2027, 1, 4, 8, tzinfo=UTC)
POLICE, ADVOCATE, SOCIAL = "xk-dhtqnj", "xk-victim-advocate", "xk-csw-prishtina"
RISK = {"risk_level": "medium"}
GUARDIAN = {"given_by": "guardian", "form": "written"}
PERSON = {"given_by": "person", "form": "written"}


@dataclass
class Played:
    """A case that is played by the rules alone."""

    protocol: Protocol = PROTOCOL
    acts: list[Act] = field(default_factory=list)
    now: datetime = START

    @property
    def state(self) -> CaseState | None:
        return fold(self.acts, Agreement.of(self.protocol))

    def take(self, agency: str, kind: str, /, *, days: float = 0.04, **fields: Any) -> UUID:
        """Take an action so many days after the last one. Raises ``Refusal``."""
        now = self.now + timedelta(days=days)
        number = len(self.acts) + 1
        act = Act(
            id=uuid4(), kind=kind, case_id=UUID(int=1), version=number, position=number,
            agency=agency, acted_at=now, recorded_at=now,
            fields={name: str(v) if isinstance(v, UUID) else v for name, v in fields.items()},
            key_id=agency, digests=frozenset(),
        )  # fmt: skip
        history = {one.id: one for one in self.acts}
        case_rules.decide(self.state, history, act, self.protocol, now)
        self.now = now
        self.acts.append(act)
        return act.id

    def refused(self, rule: str, agency: str, kind: str, /, **fields: Any) -> Refusal:
        """Check that an action is refused by a rule, and leaves nothing."""
        before = len(self.acts)
        with pytest.raises(Refusal) as refusal:
            self.take(agency, kind, **fields)
        assert refusal.value.rule == rule, refusal.value.message
        assert len(self.acts) == before
        return refusal.value

    def reads(self, agency: str, group: FieldGroup) -> bool:
        """Return whether an agency may read a group by a duty now."""
        assert self.state is not None
        history = {one.id: one for one in self.acts}
        own = self.protocol.agencies_by_id[agency]
        bases = reading_bases(self.state, self.protocol, own, group, self.now, history)
        return any(one.kind is LegalBasis.DUTY for one in bases)

    def identified(self, age_group: str = "child") -> "Played":
        """Open the case in Kosovo, identify the person and assess the risk."""
        self.take(POLICE, "case_opened", age_group=age_group, countries=["XK"])
        others = [ADVOCATE]
        if age_group == "child":
            self.take(SOCIAL, "guardian_appointed", guardian_kind="social_work_centre")
            others.append(SOCIAL)
        self.jointly("risk_assessed", POLICE, *others, **RISK)
        self.jointly("victim_identified", POLICE, *others)
        return self

    def jointly(self, kind: str, by: str, *others: str, **fields: Any) -> UUID:
        """Have other bodies confirm a decision, and take it."""
        if kind == "victim_identified":
            fields = {"status": "ActualVictimOfTrafficking", **fields}
        named = {name: v for name, v in fields.items() if name in ("status", "risk_level")}
        proposal = self.take(by, "decision_proposed", decision=kind, **named)
        for other in others:
            self.take(other, "decision_confirmed", proposal=proposal)
        return self.take(by, kind, **fields)

    def assessed(
        self,
        outcome: str = "return_to_family",
        *,
        heard: bool = True,
        family: str = "found_and_safe",
        suitable: bool = True,
        consent: dict[str, str] = GUARDIAN,
    ) -> UUID:
        """Assess what a return of the child stands on, and consent to it."""
        assessed = self.take(SOCIAL, "best_interests_assessed", outcome=outcome, child_heard=heard)
        self.take(SOCIAL, "family_traced", outcome=family)
        self.take(SOCIAL, "family_assessed", suitable=suitable)
        self.take(SOCIAL, "consent_given", scopes=["return"], **consent)
        return assessed

    def agreed(self) -> "Played":
        """Have Montenegro accept the return, and agree on the plan."""
        self.take(SOCIAL, "return_requested", destination="ME")
        self.take("me-nac", "return_accepted")
        self.take(SOCIAL, "return_decided", destination="ME")
        plan = self.take("me-csw-podgorica", "reintegration_planned", plan_types=["Education"])
        self.take(SOCIAL, "reintegration_plan_agreed", plan=plan)
        self.take("me-nac", "travel_document_issued", document="passport")
        return self

    def returned(self) -> "Played":
        self.take("xk-border", "departed", days=100)
        handover = self.take("xk-border", "handover_recorded")
        self.take("me-border", "handover_confirmed", handover=handover, is_complete=True)
        self.take("me-border", "received", in_person=True)
        return self
