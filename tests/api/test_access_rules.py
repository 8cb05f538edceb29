"""Every cell of ``docs/access.md`` against the rules, without a server: who may do what.

The tables are the expectation. A wrong cell, in the code or on the page, is named by the test.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import product
from uuid import UUID

import pytest
from pydantic import ValidationError

from api.cli.steps.access_matrix import access_page
from api.http.member_rights import CaseWork, MemberState, assigns, manages, names_seen
from api.http.permissions import AUDIENCE_OF, Audience, CallerSort, check_audience, sort_of
from api.services.personal_data_access import check_matrix
from ledger.events.act import Act
from ledger.procedure import case_rules
from ledger.procedure.agreement import Agreement
from ledger.procedure.amendments import text_of
from ledger.procedure.case_access import CaseAccess
from ledger.procedure.case_fold import fold
from ledger.procedure.case_state import CaseState
from ledger.procedure.checks.taking_part import has_part
from ledger.procedure.protocol import (
    NOT_IN_MATRIX,
    Agency,
    Operation,
    Protocol,
    shipped_protocol,
)
from ledger.refusals import Refusal
from ledger.vocabulary.levels import FieldGroup
from tests.test_docs import ROOT

SHIPPED = shipped_protocol()
PAGE = (ROOT / "docs" / "access.md").read_text(encoding="utf-8")
NOW = datetime(2027, 1, 4, 8, tzinfo=UTC)
STATISTICS, BODY = "xk-statistics", "xk-iom"
LETTERS = {
    Operation.READ: "r",
    Operation.REQUEST: "q",
    Operation.RELEASE: "x",
    Operation.BREAK_GLASS: "b",
    Operation.SUBJECT_ACCESS: "s",
    Operation.MATCH: "m",
    Operation.STATISTICS: "t",
}
SORTS = {
    "coordinator": CallerSort.COORDINATOR,
    "oversight body": CallerSort.OVERSIGHT,
    "other agency": CallerSort.OFFICE,
    "international body": CallerSort.BODY,
    "analyst": CallerSort.ANALYST,
    "node": CallerSort.NODE,
}


def widened(protocol: Protocol = SHIPPED) -> Protocol:
    """Return a protocol with analysts, an international body, and an agency of each role."""
    lacking = set(protocol.roles) - {one.role for one in protocol.agencies if one.party == "XK"}
    further = [
        Agency(id=f"xk-{role.replace('_', '-')}-invented", name=role, party="XK", role=role)
        for role in sorted(lacking)
    ]
    further.append(Agency(id=STATISTICS, name="Statistics", party="XK", role="analyst"))
    further.append(Agency(id=BODY, name="Body", party="XK", role="ngo", international=True))
    return protocol.model_copy(
        update={
            "roles": {**protocol.roles, "analyst": "Analyst"},
            "analysts": ("analyst",),
            "agencies": (*protocol.agencies, *further),
        }
    )


WIDE = widened()


@cache
def table(first: str, number: int = 1) -> Mapping[str, Mapping[str, str]]:
    """Return a table of the page by its rows and columns; ``first`` is the head of its rows."""
    found = [block for block in PAGE.split("\n\n") if block.startswith(f"| {first} |")]
    head, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in found[number - 1].splitlines()
    ]
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}


def wrong(cells: Iterable[tuple[str, bool, bool]]) -> list[str]:
    """Return the cells in which the rules (the last value) differ from the page."""
    tried = list(cells)
    assert {told for _, told, _ in tried} == {True, False}
    return [f"{name}: the page says {told}" for name, told, found in tried if told is not found]


def agency_of(role: str, party: str = "XK") -> Agency:
    return next(
        a for a in WIDE.agencies if (a.role, a.party) == (role, party) and not a.international
    )


def is_allowed(decided: Callable[[], object], *rules: str) -> bool:
    """Return whether a decision is taken. Another refusal than those of the matrix fails."""
    try:
        decided()
    except Refusal as refusal:
        if refusal.rule not in rules:
            raise
        return False
    return True


def act(agency: str, kind: str, number: int, /, **fields: object) -> Act:
    at = NOW + timedelta(minutes=number)
    digest = f"digest-{number}"
    return Act(
        UUID(int=number), kind, UUID(int=999), number, number, agency, at, at, fields, agency,
        frozenset({digest}),
    )  # fmt: skip


class Case:
    """An adult's case of two countries, with a consent to each group."""

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        opened = {"age_group": "adult", "countries": ["XK", "ME"]}
        self.acts = [act("xk-dhtqnj", "case_opened", 1, **opened)]
        self.consents: dict[FieldGroup, UUID] = {}
        for number, group in enumerate(FieldGroup, 2):
            given = {"given_by": "person", "form": "written", "scopes": ["information_exchange"],
                     "groups": [group.value], "recipients": ["ME"]}  # fmt: skip
            self.acts.append(act("xk-ngo-support", "consent_given", number, **given))
            self.consents[group] = self.acts[-1].id

    @property
    def state(self) -> CaseState:
        found = fold(self.acts, Agreement.of(self.protocol))
        assert found is not None
        return found

    def records(self, state: CaseState, agency: str, kind: str, /, **fields: object) -> None:
        """Decide one more action, and leave nothing. Raises ``Refusal``."""
        one = act(agency, kind, len(self.acts) + 1, **fields)
        history = {known.id: known for known in self.acts}
        case_rules.decide(state, history, one, self.protocol, one.recorded_at)


def test_every_cell_of_the_matrix_of_personal_fields() -> None:
    case, cells = Case(WIDE), table("role")
    state = case.state
    first = case.acts[0]

    def decided(operation: Operation, role: str, group: FieldGroup) -> Callable[[], object]:
        agency, groups = agency_of(role), [group.value]
        asked = {"groups": groups, "purpose": "protection", "basis": "consent"}
        if operation is Operation.REQUEST:
            asked |= {"addressee": "me-nac", "topics": ["risk"]}
            return lambda: case.records(state, agency.id, "information_requested", **asked)
        if operation is Operation.RELEASE:
            asked |= {
                "recipient": "ME",
                "basis_action": str(case.consents[group]),
                "released": [{"action": str(first.id), "digests": [*first.digests]}],
            }
            return lambda: case.records(state, agency.id, "information_released", **asked)
        if operation is Operation.BREAK_GLASS:
            until = (NOW + timedelta(hours=1)).isoformat()
            danger = {"danger": "threat_to_life", "groups": groups, "until": until}
            return lambda: case.records(state, agency.id, "break_glass_opened", **danger)
        return lambda: check_matrix(WIDE, agency, operation, [group])

    assert LETTERS.keys() == set(Operation) - NOT_IN_MATRIX
    differ = wrong(
        (
            f"{role}, {operation}, {group}",
            letter in cells[role][group].split(),
            is_allowed(
                decided(operation, role, group), "access-matrix", "role", "whereabouts-apart"
            ),
        )
        for (operation, letter), role, group in product(LETTERS.items(), cells, FieldGroup)
    )
    assert cells.keys() == SHIPPED.roles.keys()
    assert differ == []


Step = tuple[str, str, dict[str, object]]


def steps(agency: str) -> Mapping[str, list[Step]]:
    """Return what is recorded of an agency in a case, by the rows of the page."""
    asked = {"addressee": agency, "topics": ["risk"], "purpose": "protection"}
    named: Step = ("me-nac", "information_requested", asked)
    admitted: Step = ("xk-nac", "agency_admitted", {"agency": agency})
    ended: Step = ("xk-nac", "agency_admission_ended", {"agency": agency})
    return {
        "acted in the case": [(agency, "risk_assessed", {"risk_level": "medium"})],
        "was named in it": [named],
        "was admitted to it": [admitted],
        "had its admission ended": [admitted, ended],
        "was named after its admission ended": [admitted, ended, named],
        "has nothing to do with it, and its country has": [],
        "is of a country without part in it": [],
    }


def test_every_cell_of_the_cases_that_an_agency_sees() -> None:
    cells, bound = table("the agency"), WIDE.model_copy(update={"case_access": CaseAccess.NAMED})
    columns = {
        "coordinator": (bound, "xk-nac"),
        "agency, each case": (WIDE, "xk-csw-prishtina"),
        "agency, named cases": (bound, "xk-csw-prishtina"),
        "international body": (bound, BODY),
        "analyst": (bound, STATISTICS),
    }

    def sees(row: str, column: str) -> bool:
        protocol, agency = columns[column]
        case = Case(protocol)
        for number, (by, kind, told) in enumerate(steps(agency)[row], 20):
            case.acts.append(act(by, kind, number, **told))
        if "country without" in row:
            case.acts = [act("me-nac", "case_opened", 1, age_group="adult", countries=["ME"])]
        history = {one.id: one for one in case.acts}
        return has_part(protocol.agencies_by_id[agency], case.state, history, protocol)

    assert cells.keys() == steps(BODY).keys()
    assert set(cells["acted in the case"]) == columns.keys()
    assert wrong(
        (f"{row}: {column}", cells[row][column] == "yes", sees(row, column))
        for row, column in product(cells, columns)
    ) == []  # fmt: skip


POLICE, COORDINATOR, THEIRS = (WIDE.agencies_by_id[i] for i in ("xk-dhtqnj", "xk-nac", "me-nac"))
OTHERS = WIDE.agencies_by_id["xk-csw-peja"]
STATES = {
    "system": MemberState.SYSTEM,
    "head": MemberState.HEAD,
    "member": MemberState.MEMBER,
    "unknown member": MemberState.STRANGER,
    "disabled member": MemberState.DISABLED,
}


def test_every_cell_of_members_names() -> None:
    callers = {
        "a coordinator": COORDINATOR,
        "any other agency": POLICE,
        "a node": WIDE.agencies_by_id["xk-node"],
    }
    cells = table("the caller is of")
    assert cells.keys() == callers.keys()

    def asked(column: str, own: Agency) -> Agency:
        return {"own agency": own, "other agency of the country": OTHERS, "other country": THEIRS}[
            column
        ]

    assert wrong(
        (f"{row}: {column}", told == "yes", names_seen(callers[row], asked(column, callers[row])))
        for row in cells
        for column, told in cells[row].items()
    ) == []  # fmt: skip


def test_every_cell_of_managing_members() -> None:
    callers = {"a coordinator's": COORDINATOR, "another agency's": POLICE}
    rows = {
        f"{whose} {name}": (own, state)
        for (whose, own), (name, state) in product(callers.items(), STATES.items())
    }
    cells = table("the caller is")
    assert cells.keys() == rows.keys()
    assert set(STATES.values()) == set(MemberState)

    def found(row: str, column: str) -> bool:
        own, state = rows[row]
        agency = {
            "of the own agency": own,
            "of another agency of the country": OTHERS,
            "of another country": THEIRS,
        }[column]
        return manages(own, agency, state)

    assert wrong(
        (f"{row}: {column}", told == "yes", found(row, column))
        for row in cells
        for column, told in cells[row].items()
    ) == []  # fmt: skip
    assert not any(
        manages(WIDE.agencies_by_id["xk-node"], agency, state)
        for agency, state in product((POLICE, COORDINATOR, THEIRS), MemberState)
    )


def test_every_cell_of_assigning_a_case() -> None:
    work = {
        "assigned the case": (CaseWork.ASSIGNED, False),
        "its deputy": (CaseWork.DEPUTY, False),
        "neither": (CaseWork.NONE, False),
        "taking a case that nobody has": (CaseWork.NONE, True),
    }
    cells = table("the caller is", 2)
    rows = {("an " if name[0] == "u" else "a ") + name: state for name, state in STATES.items()}
    assert cells.keys() == rows.keys()
    assert wrong(
        (
            f"{row}: {column}",
            told == "yes",
            assigns(rows[row], work[column][0], takes_free=work[column][1]),
        )
        for row in cells
        for column, told in cells[row].items()
    ) == []  # fmt: skip


def test_every_cell_of_operations_and_pages() -> None:
    cells = {row.rsplit("`", 2)[1]: told for row, told in table("operation").items()}
    everyone = {name for name, one in AUDIENCE_OF.items() if one is Audience.EVERYONE}
    assert cells.keys() == AUDIENCE_OF.keys() - everyone
    assert all(f"`{one}`" in PAGE.rpartition("Everybody, ")[2] for one in everyone)

    def asks(operation: str, sort: CallerSort) -> bool:
        try:
            check_audience(operation, sort)
        except Refusal:
            return False
        return True

    assert wrong(
        (f"{operation}: {column}", cells[operation][column] != "no", asks(operation, sort))
        for operation, (column, sort) in product(cells, SORTS.items())
    ) == []  # fmt: skip
    with pytest.raises(RuntimeError):
        check_audience("GET /v1/forgotten", CallerSort.COORDINATOR)
    for operation, told in cells.items():
        if "{case_id}" in operation:
            assert told["analyst"] == "no", operation


def test_each_sort_of_agency() -> None:
    of = {one.id: sort_of(one, WIDE) for one in WIDE.agencies}
    assert set(of.values()) == set(CallerSort)
    assert (of[STATISTICS], of[BODY]) == (CallerSort.ANALYST, CallerSort.BODY)
    assert of["xk-ombudsperson"] is CallerSort.OVERSIGHT
    assert of["xk-node"] is CallerSort.NODE
    assert of["xk-dhtqnj"] is CallerSort.OFFICE


def test_the_page_is_made_from_the_protocol() -> None:
    assert access_page(SHIPPED) == PAGE


def test_the_shipped_text_has_no_analysts() -> None:
    assert "analysts" not in text_of(SHIPPED)


def test_a_text_gives_analysts_nothing_of_a_case() -> None:
    text = text_of(WIDE.model_copy(update={"agencies": SHIPPED.agencies}))
    assert Protocol.model_validate(text).analysts == ("analyst",)
    rule = text["actions"]["risk_assessed"]
    acts = {**text["actions"], "risk_assessed": {**rule, "roles": [*rule["roles"], "analyst"]}}
    for part, other in (
        ("actions.risk_assessed", {"actions": acts}),
        ("access", {"access": {**text["access"], "analyst": {"read": ["identity"]}}}),
        ("coordinator", {"analysts": ["coordinator"]}),
        ("undeclared", {"analysts": ["undeclared"]}),
        ("edition", {"edition": 1}),
    ):
        with pytest.raises(ValidationError, match=part):
            Protocol.model_validate({**text, **other})


def test_an_analyst_takes_no_action_and_is_named_in_none() -> None:
    case = Case(WIDE.model_copy(update={"case_access": CaseAccess.NAMED}))
    asked = {"topics": ["risk"], "purpose": "protection", "addressee": STATISTICS}
    for rule, by, kind, fields in (
        ("analyst-named", "xk-nac", "information_requested", asked),
        ("own-agencies", "xk-nac", "agency_admitted", {"agency": STATISTICS}),
        ("role", STATISTICS, "risk_assessed", {"risk_level": "medium"}),
    ):
        with pytest.raises(Refusal) as refused:
            case.records(case.state, by, kind, **fields)
        assert refused.value.rule == rule
    opened = act(STATISTICS, "case_opened", 1, age_group="adult", countries=["XK"])
    with pytest.raises(Refusal) as refused:
        case_rules.decide(None, {}, opened, WIDE, NOW + timedelta(hours=1))
    assert refused.value.rule == "role"
