"""Obligations of a case follow from the cases too that a merge joined with it."""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from ledger.application import Ledger, environment
from ledger.events.act import Act
from ledger.events.event_mapper import UnsealedEvent
from ledger.procedure.case import decide
from ledger.procedure.deciding import others_of
from ledger.refusals import Refusal
from ledger.signing import signed_action
from ledger.store.datastore import LedgerDatastore
from ledger.vocabulary import Action
from ledger.vocabulary.coordination import CaseClosed, CaseReopened, Correction
from ledger.vocabulary.destruction import DestructionProposed
from ledger.vocabulary.erasure import (
    ErasureApproved,
    ErasureProposed,
    LegalHoldLifted,
    LegalHoldPlaced,
)
from ledger.vocabulary.linking import (
    CaseMerged,
    MergeAccepted,
    MergeDeclined,
    MergeProposed,
    MergeUndone,
)
from ledger.vocabulary.protection import RiskAssessed
from projections.folds.case_folder import Folder
from projections.folds.joined_cases import JoinedCases, cases_then
from projections.folds.obligation_terms import ObligationKind, ObligationOutcome
from projections.folds.obligations import Obligation, obligations
from projections.tables.all_views import VIEWS
from projections.tables.view import PROJECTOR_ROLE, EventHistory
from projections.upkeep.rebuild import rebuild_views
from projections.upkeep.view_check import ViewChecker
from tests.support.actions import START
from tests.support.agencies import Agencies
from tests.support.databases import new_database
from tests.support.several_cases import SeveralCases
from tests.support.views import rows_of

AGENCIES = Agencies()
POLICE, COURT, NAC = "xk-dhtqnj", "xk-court-prishtina", "xk-nac"
THEIRS, THEIR_COURT, THEIR_NAC = "me-police-thb", "me-court-podgorica", "me-nac"
THIRD, THIRD_COURT, THIRD_NAC = "al-police-thb", "al-court-tirana", "al-nac"
LEADS = (POLICE, THEIRS, THIRD)
APPROVERS = [a.id for a in AGENCIES.protocol.agencies if a.role in ("oversight", "coordinator")]


@dataclass
class Persons:
    """Three cases of one ledger, one in each country."""

    ledger: SeveralCases = field(default_factory=lambda: SeveralCases(AGENCIES))
    at: datetime = START + timedelta(days=3)
    cases: tuple[UUID, ...] = ()

    def __post_init__(self) -> None:
        self.cases = tuple(self.ledger.opened(one, (one[:2].upper(),)) for one in LEADS)

    def take(self, agency: str, case: int, kind: type[Action], **fields: Any) -> UUID:
        self.at += timedelta(hours=1)
        made = kind(acted_at=self.at, **fields)
        return self.ledger.take(agency, made, self.cases[case])

    def proposed(self, ends: int, goes_on: int) -> UUID:
        by, to = LEADS[ends], LEADS[goes_on]
        told = (by[:2].upper(), to[:2].upper())
        return self.take(by, ends, MergeProposed, addressee=to, told=told)

    def accepted(self, ends: int, goes_on: int) -> UUID:
        state = self.ledger.state(self.cases[ends])
        proposal = state.merge_proposal
        if proposal is None:
            raise LookupError
        return self.take(
            LEADS[goes_on], goes_on, MergeAccepted, ended_case=self.cases[ends],
            proposal=proposal.proposal, opened_at=state.opened_at,
            countries=tuple(one for one in state.parties if one != proposal.joined),
        )  # fmt: skip

    def ended(self, ends: int, goes_on: int) -> UUID:
        taken_in = self.ledger.state(self.cases[goes_on]).taken_in
        acceptance = next(a for a, one in taken_in.items() if one.case == self.cases[ends])
        into = {"continues_in": self.cases[goes_on], "acceptance": acceptance}
        return self.take(LEADS[ends], ends, CaseMerged, **into)

    def folded(self, case: int, upto: int | None = None) -> Mapping[UUID, Obligation]:
        joined, agreement = self.joined(self.cases[case], upto), self.ledger.agreement
        return obligations(self._acts(self.cases[case], upto), agreement, joined).by_id

    def joined(self, case_id: UUID, upto: int | None = None) -> Mapping[UUID, Sequence[Act]]:
        found = JoinedCases(event.as_act() for event in self.ledger.events[:upto])
        return {one: self._acts(one, upto) for one in found.others(case_id)}

    def _acts(self, case_id: UUID, upto: int | None) -> list[Act]:
        events = self.ledger.events[:upto]
        return [event.as_act() for event in events if event.originator_id == case_id]

    def open_merges(self, case: int) -> list[tuple[str, str | None, str | None]]:
        return [
            (one.action, one.debtor_agency, one.creditor_agency)
            for one in self.folded(case).values()
            if one.kind is ObligationKind.MERGE and one.closed is None
        ]

    def open_approvals(self, case: int) -> list[Obligation]:
        found = self.folded(case).values()
        return [o for o in found if o.kind is ObligationKind.APPROVAL and o.closed is None]


def test_the_agency_that_must_act_owes_a_merge() -> None:
    """The asked agency owes the acceptance, and then the lead of the case that ends its end."""
    persons = Persons()
    proposal = persons.proposed(0, 1)
    assert persons.open_merges(0) == [("merge_accepted", THEIRS, POLICE)]
    acceptance = persons.accepted(0, 1)
    assert persons.open_merges(0) == [("case_merged", POLICE, THEIRS)]
    answered, ends = (o for o in persons.folded(0).values() if o.kind is ObligationKind.MERGE)
    assert (answered.outcome, answered.concerning) == (ObligationOutcome.DONE, proposal)
    assert answered.closed is not None
    assert (answered.closed.action, answered.closed.agency) == (acceptance, THEIRS)
    assert (ends.opened.action, ends.late) == (acceptance, None)
    # Undone before the case ended: the asked agency owes its answer again.
    undo = {"merge": acceptance, "ground": "another_person"}
    persons.take(THEIRS, 1, MergeUndone, **undo)
    assert persons.open_merges(0) == [("merge_accepted", THEIRS, POLICE)]
    assert persons.folded(0)[ends.id].outcome is ObligationOutcome.NOT_EXPECTED
    persons.accepted(0, 1)
    persons.ended(0, 1)
    assert persons.open_merges(0) == []
    assert [o.outcome for o in persons.folded(0).values() if o.kind is ObligationKind.MERGE] == [
        ObligationOutcome.DONE, ObligationOutcome.NOT_EXPECTED,
        ObligationOutcome.DONE, ObligationOutcome.DONE,
    ]  # fmt: skip


def test_a_hold_of_a_joined_case_stops_the_approval_and_its_period() -> None:
    """The hold is placed where the case continues, and holds it still after the undoing."""
    persons = Persons()
    entry = persons.take(POLICE, 0, RiskAssessed, risk_level="high")
    annul = {"corrects": entry, "effect": "annulled", "reason": "entry_error"}
    persons.take(POLICE, 0, Correction, **annul)
    persons.proposed(0, 1)
    acceptance = persons.accepted(0, 1)
    merge = persons.ended(0, 1)
    persons.take(POLICE, 0, DestructionProposed, annulled=entry)
    owed, *_ = persons.open_approvals(0)
    hold = persons.take(THEIR_COURT, 1, LegalHoldPlaced, ground="proceedings")
    announced = {"merge": acceptance, "ground": "another_person", "continued_in": persons.cases[1]}
    persons.take(POLICE, 0, MergeUndone, **announced)
    undoing = persons.take(THEIRS, 1, MergeUndone, merge=acceptance, ground="another_person")
    undone = {**announced, "merge": merge, "undoing": undoing}
    persons.take(POLICE, 0, MergeUndone, **undone)
    assert persons.open_approvals(0) == []
    persons.at += timedelta(days=40)
    lifted = persons.take(THEIR_COURT, 1, LegalHoldLifted, hold=hold)
    (again,) = persons.open_approvals(0)
    assert (again.opened.action, again.concerning) == (lifted, owed.concerning)
    assert again.due is not None
    assert again.due - again.opened.acted_at >= timedelta(days=7)


def can_be_approved(persons: Persons, case: int, proposal: UUID) -> bool:
    """Return whether the rules let any agency approve an erasure now."""
    ledger, case_id = persons.ledger, persons.cases[case]
    for agency in APPROVERS:
        made = ErasureApproved(acted_at=persons.at, proposal=proposal)
        text = AGENCIES.sign(agency, made, case_id).without_disclosures()
        signed, known = signed_action.read_recorded(text), ledger.cases[case_id]
        others = others_of(signed, known, ledger.cases.get)
        with suppress(Refusal):
            decide(known, signed, case_id, ledger.protocol, persons.at, others=others)
            return True
    return False


def try_anything(persons: Persons, chance: random.Random) -> None:
    """Try one action that a merge, a hold or an erasure takes; the rules refuse most."""
    case, other = chance.choice(((0, 1), (0, 1), (2, 1), (1, 0)))
    court, nac = ((COURT, NAC), (THEIR_COURT, THEIR_NAC), (THIRD_COURT, THIRD_NAC))[case]
    state = persons.ledger.state(persons.cases[case])
    into = state.merged_into
    step = chance.choices((*_WEIGHTS,), (*_WEIGHTS.values(),))[0]
    match step:
        case "propose":
            persons.proposed(case, other)
        case "accept":
            persons.accepted(case, other)
        case "end":
            persons.ended(case, other)
        case "decline" if state.merge_proposal is not None:
            declined = {"proposal": state.merge_proposal.proposal, "reason": "withdrawn"}
            persons.take(LEADS[case], case, MergeDeclined, **declined)
        case "undo" if state.taken_in:
            undo = {"merge": chance.choice([*state.taken_in]), "ground": "another_person"}
            persons.take(LEADS[case], case, MergeUndone, **undo)
        case "undo" if into is not None:
            where = persons.ledger.cases[into.case].history
            undone = [a.id for a in where.values() if a.kind == "merge_undone"]
            undo = {"ground": "another_person", "continued_in": into.case}
            if into.undoing is None:
                undo["merge"] = into.acceptance
            else:
                undo |= {"merge": into.action, "undoing": undone[-1]}
            persons.take(LEADS[case], case, MergeUndone, **undo)
        case "hold":
            persons.take(court, case, LegalHoldPlaced, ground="proceedings")
        case "lift" if state.holds:
            persons.take(court, case, LegalHoldLifted, hold=chance.choice([*state.holds]))
        case "erase" if state.is_closed:
            persons.take(nac, case, ErasureProposed, ground="persons_request")
        case "reopen" if state.is_closed:
            persons.take(nac, case, CaseReopened, reason="renewed_risk")
        case "close":
            persons.take(nac, case, CaseClosed, reason="lost_contact")


_WEIGHTS = {
    "propose": 4, "accept": 8, "end": 8, "decline": 1, "undo": 4, "hold": 2, "lift": 6,
    "erase": 4, "reopen": 1, "close": 2,
}  # fmt: skip


def walked(seed: int, steps: int) -> Iterator[Persons]:
    """Yield three cases after each recorded action of a random walk."""
    persons, chance = Persons(), random.Random(seed)
    persons.proposed(0, 1)
    persons.accepted(0, 1)
    for _ in range(steps):
        before = len(persons.ledger.events)
        with suppress(Refusal, LookupError, StopIteration):
            try_anything(persons, chance)
        if len(persons.ledger.events) > before:
            yield persons


def test_an_approval_is_owed_exactly_while_the_rules_allow_it() -> None:
    seen: set[tuple[bool, bool]] = set()
    for persons in (one for seed in range(4) for one in walked(seed, 120)):
        for case in range(3):
            erasure = persons.ledger.state(persons.cases[case]).erasure
            if erasure is None or erasure.order is not None or erasure.proposal is None:
                assert persons.open_approvals(case) == []
                continue
            may = can_be_approved(persons, case, erasure.proposal)
            assert bool(persons.open_approvals(case)) is may
            seen.add((may, bool(persons.joined(persons.cases[case]))))
    assert seen >= {(True, True), (True, False), (False, True)}


def test_what_followed_is_what_is_folded_anew(server: str, migrated: str) -> None:
    """Following in small pages, the check and a rebuild give the same rows."""
    events = []
    for seed in (1, 5):
        *_, persons = walked(seed, 120)
        events += persons.ledger.events
    kinds = {event.action.kind for event in events}
    assert kinds >= {"merge_accepted", "case_merged", "merge_undone", "legal_hold_placed"}
    with new_database(server, migrated) as database:
        with Ledger(environment(database)) as ledger:
            AGENCIES.begin(ledger)
            for event in events:
                action, version = event.action, event.originator_version
                text = action.sd_jwt.encode()
                made = UnsealedEvent(event.originator_id, version, action.kind, text, action.id)
                ledger.rows.insert_events([made])
        follow_in_small_pages(database, random.Random(7))
        with ViewChecker(database) as checker:
            for part in checker.parts(30):
                found = checker.check(part)
                assert not found.differing, found.described
        tables = ("obligations", "case_views")
        followed = {table: rows_of(database, table) for table in tables}
        assert any("case_merged" in str(row) for row in followed["obligations"])
        rebuild_views(database, processes=0)
        assert {table: rows_of(database, table) for table in tables} == followed


def follow_in_small_pages(database: str, chance: random.Random) -> None:
    datastore = LedgerDatastore(database, pool_size=3, role=PROJECTOR_ROLE)
    try:
        history = EventHistory(datastore)
        views = [view(datastore) for view in VIEWS.values()]
        folder, position = Folder(history, keep=2), 0
        while position < history.head():
            if chance.random() < 0.1:
                folder = Folder(history, keep=2)  # as of a new process
            steps = folder.steps(history.page(position, chance.randint(1, 4)))
            for view in views:
                view.record(steps)
            position = views[0].position()
    finally:
        datastore.close()


def test_ids_of_obligations_are_of_the_event_that_opened_them() -> None:
    persons = Persons()
    persons.proposed(0, 1)
    acceptance = persons.accepted(0, 1)
    found = next(o for o in persons.folded(0).values() if o.action == "case_merged")
    key = " ".join(("case_merged", "XK", POLICE, str(found.concerning)))
    assert found.id == uuid5(acceptance, key)
    (case,) = cases_then(persons.joined(persons.cases[0]), persons.ledger.agreement).values()
    assert case.state.taken_in.keys() == {acceptance}
