"""The access matrix through HTTP: one cell of each role, and of each group and answer.

``test_access_rules.py`` tries every cell against the rules. Here every group has a field and a
consent, so that the matrix alone decides; every operation and page refuses whom it is not for.
"""

import re
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import product
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from api.client import LedgerClient, RefusedError
from api.client.assertion import make_assertion
from api.http.permissions import AUDIENCE_OF, MAY_ASK, Audience, CallerSort, check_audience
from ledger.application import Ledger, environment
from ledger.procedure.protocol import (
    NOT_IN_MATRIX,
    Operation,
    Protocol,
    shipped_protocol,
)
from ledger.procedure.readings import Reading
from ledger.refusals import Refusal
from ledger.vocabulary import Action
from ledger.vocabulary.coordination import ConsentGiven, InformationRequested
from ledger.vocabulary.documents import DOCUMENT_FIELDS
from ledger.vocabulary.identification import CaseOpened, VictimIdentified
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.person import AgeAssessed, IdentityRecorded, RectificationRequested
from ledger.vocabulary.picklists import (
    AgeGroup,
    AgeMethod,
    Certainty,
    ConsentForm,
    ConsentGiver,
    ConsentScope,
    Danger,
    DecisionMakingOrg,
    Education,
    Gender,
    Indicator,
    InformationTopic,
    InvestigationState,
    LegalBasis,
    MaritalStatus,
    OpeningGround,
    Purpose,
    ServiceKind,
    ShelterKind,
    Stage,
    StatementGround,
    StatementSource,
    TraffickingStatus,
    TypeOfExploitation,
)
from ledger.vocabulary.proceedings import Investigated
from ledger.vocabulary.protection import ServiceStarted, Sheltered
from ledger.vocabulary.sharing import BreakGlassOpened, InformationReleased, ReleasedFields
from projections.folds.caseload_indicators import Caseload, Figures, Flow, Returned, TimeToReturn
from projections.statistics.rounded_figures import rounded
from tests.api.test_access_rules import BODY, STATISTICS, widened
from tests.support.actions import START
from tests.support.agencies import Agencies
from tests.support.databases import new_database
from tests.support.serving import Server, serving
from tests.support.web import FROM_HERE, signed_in

FIELDS = {
    FieldGroup.IDENTITY: "first_name",
    FieldGroup.CONTACT: "address",
    FieldGroup.FAMILY: "family_note",
    FieldGroup.HEALTH: "health_note",
    FieldGroup.EXPLOITATION: "statement",
    FieldGroup.PROCEEDINGS: "suspects",
    FieldGroup.WHEREABOUTS: "address",
    FieldGroup.CARE: "intake_note",
}
NEWEST: tuple[Action, ...] = (
    IdentityRecorded(
        acted_at=START,
        ground=StatementGround.LEARNED,
        source=StatementSource.DOCUMENT,
        certainty=Certainty.PROBABLE,
        first_name="i",
        middle_name="j",
        second_name="k",
        birthdate=date(1990, 1, 1),
        gender=Gender.FEMININE,
        citizenship=("XK",),
        identity_number="l",
        primary_language="sqi",
        secondary_language="eng",
        education=Education.PRIMARY_EDUCATION,
        marital_status=MaritalStatus.SINGLE,
        number_of_children=0,
        phone="+38344000000",
        address="m",
    ),
    AgeAssessed(
        acted_at=START,
        age_group=AgeGroup.ADULT,
        method=AgeMethod.DOCUMENT,
        certainty=Certainty.CONFIRMED,
        birth_year=1990,
        age_from=35,
        age_to=36,
    ),
    RectificationRequested(acted_at=START, wish="n"),
)
"""Each personal field that states who the person is, or how old, and the person's request."""
_ACCESS = shipped_protocol().access
_TRIED = ("victim_advocate", "identification_team", "oversight", "node")
"""Roles without a cell that are tried; further ones differ from them in their name alone."""
ROLES = tuple(role for role in shipped_protocol().roles if role in _ACCESS or role in _TRIED)
CELLS = tuple(product(ROLES, FieldGroup))


def some_cells(operation: Operation) -> Sequence[tuple[str, FieldGroup]]:
    """Return cells that have each role, and each group with yes and with no where there is one."""
    protocol, chosen, covered = shipped_protocol(), [], set[object]()
    turned = [(role, [*FieldGroup][(at + turn) % len(FieldGroup)])
              for turn in range(len(FieldGroup)) for at, role in enumerate(ROLES)]  # fmt: skip
    for role, group in turned:
        allowed = protocol.allows(role, operation, group)
        covers = {(group, allowed), role if allowed else (role, "no")}
        if not covers <= covered:
            covered |= covers
            chosen.append((role, group))
    return chosen


class World:
    """One adult's case of two countries, with a field in each group and a consent to each."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.protocol: Protocol = server.agencies.protocol
        self.case = uuid4()
        self.version = 0
        self.agency = {
            role: next(a.id for a in self.protocol.agencies if a.role == role and a.party == "XK")
            for role in ROLES
        }
        self.clients = {role: server.client(agency) for role, agency in self.agency.items()}
        self.digests: dict[FieldGroup, ReleasedFields] = {}
        self.consents: dict[FieldGroup, UUID] = {}
        self._tell()

    def _tell(self) -> None:
        told = {
            "police": CaseOpened(
                acted_at=START,
                age_group=AgeGroup.ADULT,
                countries=("XK", "ME"),
                ground=OpeningGround.POLICE_ACTION,
                indicators=(Indicator.UNACCOMPANIED_CHILD,),
                first_name="a",
                address="b",
                family_note="c",
            ),
            "prosecutor": VictimIdentified(
                acted_at=START,
                status=TraffickingStatus.POSSIBLE,
                decided_by=DecisionMakingOrg.POLICE,
                types_of_exploitation=(TypeOfExploitation.FORCED_MARRIAGE,),
                statement="d",
            ),
            "shelter": Sheltered(
                acted_at=START,
                shelter_kind=ShelterKind.EMERGENCY,
                provider="xk-isf",
                address="e",
                intake_note="f",
            ),
            "social_services": ServiceStarted(
                acted_at=START, service=ServiceKind.MEDICAL, provider="xk-isf", health_note="g"
            ),
        }
        for role, action in told.items():
            self._record(role, action)
        self._record(
            "police",
            Investigated(acted_at=START, state=InvestigationState.OPENED, suspects="h"),
        )
        for group in FieldGroup:
            consent = ConsentGiven(
                acted_at=START,
                scopes=(ConsentScope.INFORMATION_EXCHANGE,),
                given_by=ConsentGiver.PERSON,
                form=ConsentForm.WRITTEN,
                groups=(group,),
                recipients=("ME",),
            )
            self.consents[group] = self._record("ngo", consent)

        for action in NEWEST:
            self._record("social_services", action)

    def _record(self, role: str, action: Action) -> UUID:
        client = self.clients[role]
        signed = client.sign(action, self.case)
        receipt = client.send(signed, self.case, self.version)
        self.version = receipt.case_version
        for disclosure in signed.disclosures:
            group = action.level(disclosure.name).group
            if group is not None and FIELDS[group] == disclosure.name:
                self.digests[group] = ReleasedFields(
                    action=receipt.action_id, digests=(disclosure.digest,)
                )
        return receipt.action_id

    def record(self, role: str, action: Action) -> str:
        """``yes``, or the rule that refused."""
        try:
            self._record(role, action)
        except RefusedError as error:
            return rule_of(error)
        return "yes"

    def read(self, role: str, group: FieldGroup, basis: LegalBasis | None = None) -> str:
        try:
            opened = self.clients[role].read(self.case, [group], Purpose.PROTECTION, basis)
        except RefusedError as error:
            if error.problem.status == 503:
                raise
            return rule_of(error)
        assert {(f.field, f.group) for f in opened.fields} >= {(FIELDS[group], group)}
        assert {f.group for f in opened.fields} == {group}
        stated = {(type(a), name) for a in NEWEST for name in a.disclosable_claims()}
        of_group = {(m.kind, name) for m, name in stated if m.level(name).group is group}
        assert {(f.kind, f.field) for f in opened.fields} >= of_group
        return "yes"

    def written_down(self) -> list[Reading]:
        """Return what agencies asked for; the node itself compares cases at any time."""
        with self.server.client("xk-ombudsperson") as oversight:
            found = oversight.readings(self.case).readings
        return [one for one in found if one.asked.operation is not Operation.MATCH]

    def allows(self, role: str, operation: Operation, group: FieldGroup) -> bool:
        return group in self.protocol.access.get(role, {}).get(operation, ())


@pytest.fixture(scope="module")
def world(server: str, migrated: str) -> Iterator[World]:
    shipped = shipped_protocol()
    # Kosovo has no agency of some roles; the matrix is tried with agencies of one country.
    agencies = Agencies(widened(shipped))
    with new_database(server, migrated) as conninfo:
        with Ledger(environment(conninfo)) as ledger:
            agencies.begin(ledger)
        with serving(conninfo, agencies) as running:
            made = World(running)
            yield made
            for client in made.clients.values():
                client.close()


def rule_of(error: RefusedError) -> str:
    """The rule of a refusal that must be of what the caller may."""
    return error.problem.rule if error.problem.status == 403 else f"not 403: {error}"


def check(world: World, operation: Operation, role: str, group: FieldGroup, answer: str) -> None:
    """The cell's answer, and that it was written down."""
    if world.allows(role, operation, group):
        assert answer == "yes"
    else:
        assert answer in ("access-matrix", "role", "whereabouts-apart")
        last = world.written_down()[-1]
        assert (last.asked.role, last.asked.operation) == (role, operation)
        assert (last.asked.groups, last.granted, last.refused_by) == ((group,), False, answer)


def test_reading(world: World) -> None:
    for role, group in some_cells(Operation.READ):
        _try_reading(world, role, group)


def _try_reading(world: World, role: str, group: FieldGroup) -> None:
    check(world, Operation.READ, role, group, world.read(role, group))
    if world.allows(role, Operation.READ, group):
        last = world.written_down()[-1]
        assert (last.asked.role, last.asked.groups, last.granted) == (role, (group,), True)


def test_a_reading_waits_for_the_database_and_is_not_granted_before(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new version's matrix reaches the vault's tables a moment after it comes into force."""
    cell = ("police", "read", "identity")
    before = len(world.written_down())
    with psycopg.connect(world.server.node.conninfo, autocommit=True) as owner:
        owner.execute(
            "DELETE FROM vault_xk.access_matrix"
            " WHERE (role, operation, field_group) = (%s, %s, %s)",
            cell,
        )
        with monkeypatch.context() as short:
            short.setattr("api.services.personal_data_access._MATRIX_SECONDS", 0.1)
            short.setattr(world.clients["police"], "_patience", 0.0)  # the answer is a 503
            with pytest.raises(RefusedError) as refused:
                world.read("police", FieldGroup.IDENTITY)
        assert refused.value.problem.rule == "access-matrix-behind"
        assert len(world.written_down()) == before
        written = threading.Timer(
            0.3, owner.execute, ("INSERT INTO vault_xk.access_matrix VALUES (%s, %s, %s)", cell)
        )
        written.start()
        assert world.read("police", FieldGroup.IDENTITY) == "yes"
        written.join()


def test_requesting(world: World) -> None:
    for role, group in some_cells(Operation.REQUEST):
        _try_requesting(world, role, group)


def _try_requesting(world: World, role: str, group: FieldGroup) -> None:
    request = InformationRequested(
        acted_at=START,
        addressee="me-nac",
        topics=(InformationTopic.RISK,),
        purpose=Purpose.PROTECTION,
        groups=(group,),
        basis=LegalBasis.CONSENT,
    )
    check(world, Operation.REQUEST, role, group, world.record(role, request))


def test_releasing(world: World) -> None:
    for role, group in some_cells(Operation.RELEASE):
        _try_releasing(world, role, group)


def _try_releasing(world: World, role: str, group: FieldGroup) -> None:
    release = InformationReleased(
        acted_at=START + timedelta(hours=1),
        recipient="ME",
        groups=(group,),
        purpose=Purpose.PROTECTION,
        basis=LegalBasis.CONSENT,
        basis_action=world.consents[group],
        released=(world.digests[group],),
    )
    check(world, Operation.RELEASE, role, group, world.record(role, release))


def test_breaking_glass(world: World) -> None:
    for role, group in some_cells(Operation.BREAK_GLASS):
        _try_breaking_glass(world, role, group)


def _try_breaking_glass(world: World, role: str, group: FieldGroup) -> None:
    now = datetime.now(UTC)
    access = BreakGlassOpened(
        acted_at=now,
        danger=Danger.THREAT_TO_LIFE,
        groups=(group,),
        until=now + timedelta(hours=1),
    )
    check(world, Operation.BREAK_GLASS, role, group, world.record(role, access))
    answer = world.read(role, group, LegalBasis.DANGER_TO_LIFE)
    check(world, Operation.BREAK_GLASS, role, group, answer)


def test_handing_all_to_the_person(world: World) -> None:
    for role in ("social_services", "coordinator", "police", "oversight", "node"):
        _hand_all(world, role)


def _hand_all(world: World, role: str) -> None:
    client: LedgerClient = world.clients[role]
    if all(world.allows(role, Operation.SUBJECT_ACCESS, group) for group in FieldGroup):
        assert client.subject_access(world.case, "en")
    else:
        with pytest.raises(RefusedError) as refused:
            client.subject_access(world.case, "en")
        assert refused.value.problem.rule == "access-matrix"
    last = world.written_down()[-1]
    assert (last.asked.role, last.asked.operation) == (role, Operation.SUBJECT_ACCESS)


def test_every_personal_field_of_the_newest_kinds_is_read_here() -> None:
    for action in NEWEST:
        personal = {n for n in action.disclosable_fields() if action.level(n).group is not None}
        personal -= {*DOCUMENT_FIELDS}  # test_case_documents.py reads them
        assert personal <= action.disclosable_claims().keys(), action.kind


def test_the_matrix_has_every_kind_of_cell() -> None:
    """Otherwise the tests above could hold because nothing, or everything, is allowed."""
    protocol = shipped_protocol()
    for operation in set(Operation) - NOT_IN_MATRIX - {Operation.STATISTICS}:
        allowed = [protocol.allows(role, operation, group) for role, group in CELLS]
        assert 0 < sum(allowed) < len(CELLS)


def test_a_body_that_only_records_reads_nothing() -> None:
    protocol = shipped_protocol()
    for role in set(protocol.roles) - set(ROLES):
        asked = product(Operation, FieldGroup)
        assert not any(protocol.allows(role, one, group) for one, group in asked)
        assert not any(role in duty.roles for duty in protocol.duties)
        assert any(role in rule.roles for rule in protocol.actions.values()), "it records something"


def test_the_vaults_tables_have_every_cell_of_the_matrix(world: World) -> None:
    """Row-level security of the vault reads these tables."""
    with psycopg.connect(world.server.node.conninfo) as connection:
        rows = connection.execute(
            "SELECT role, operation, field_group FROM vault_xk.access_matrix"
        ).fetchall()
    protocol = world.protocol
    every = product(protocol.roles, set(Operation) - NOT_IN_MATRIX, FieldGroup)
    assert set(rows) == {cell for cell in every if protocol.allows(*cell)}


AGENCY = {
    CallerSort.COORDINATOR: "xk-nac",
    CallerSort.OVERSIGHT: "xk-ombudsperson",
    CallerSort.OFFICE: "xk-dhtqnj",
    CallerSort.BODY: BODY,
    CallerSort.ANALYST: STATISTICS,
    CallerSort.NODE: "xk-node",
}
_OF_AUDIENCE = frozenset(
    {"figures-only", "nodes-copy-only", "named-cases-only", "coordinators-only", "whole-ledger",
     "coordinators-and-oversight", "nodes-only", "no-documents", "no-uploads", "no-file-numbers",
     "analysts-only"}
)  # fmt: skip


class Asking:
    """Requests of each sort of caller, by assertions of its agency's key."""

    def __init__(self, world: World, client: httpx.Client) -> None:
        self._agencies, self._client = world.server.agencies, client
        self._case = str(world.case)

    def rule(self, operation: str, sort: CallerSort) -> str | None:
        """Return the rule by which a request was refused to such a caller, or ``None``."""
        method, path = operation.split(" ")
        filled = {"case_id": self._case, "party": "XK", "country": "ME", "name": "caseload"}
        path = re.sub(r"{(\w+)(:path)?}", lambda part: filled.get(part[1], str(uuid4())), path)
        key = self._agencies.keys[AGENCY[sort]]
        token = make_assertion(AGENCY[sort], key, "case-ledger")
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/problem+json"}
        answer = self._client.request(method, path, headers=headers | FROM_HERE)
        assert answer.status_code != 401, (operation, sort, answer.text)
        if operation == "GET /today" and answer.headers.get("location") == "/charts":
            return "figures-only"
        named = re.search(r'"rule":"([\w-]+)"|<code>([\w-]+)</code>', answer.text)
        if answer.status_code != 403 or named is None:
            return None
        return found if (found := named[1] or named[2]) in _OF_AUDIENCE else None


@pytest.fixture(scope="module")
def asking(world: World) -> Iterator[Asking]:
    with httpx.Client(base_url=world.server.url, timeout=20) as client:
        yield Asking(world, client)


def expected(operation: str, sort: CallerSort) -> str | None:
    try:
        check_audience(operation, sort)
    except Refusal as refusal:
        return refusal.rule
    return None


def test_every_operation_and_page_refuses_whom_it_is_not_for(asking: Asking) -> None:
    """One sort of caller for each operation; the rules of all sorts are in one pure function."""
    differ = []
    for operation, audience in AUDIENCE_OF.items():
        refused = [sort for sort in CallerSort if sort not in MAY_ASK[audience]]
        if refused:
            sort = refused[len(operation) % len(refused)]
            found, told = asking.rule(operation, sort), expected(operation, sort)
            if found != told:
                differ.append((operation, sort, found, told))
    assert not differ, differ


def test_one_operation_of_each_audience_answers_each_sort_as_the_page_says(
    asking: Asking,
) -> None:
    chosen = {audience: operation for operation, audience in AUDIENCE_OF.items()
              if operation.startswith("GET") and audience is not Audience.EVERYONE}  # fmt: skip
    differ = [
        (operation, sort, found, told)
        for operation, sort in product(chosen.values(), CallerSort)
        if (found := asking.rule(operation, sort)) != (told := expected(operation, sort))
    ]
    assert not differ, differ


def test_an_analyst_sees_rounded_figures_and_no_case(world: World) -> None:
    with signed_in(world.server, STATISTICS) as browser:
        arrived = browser.get("/today", follow_redirects=False)
        assert (arrived.status_code, arrived.headers["location"]) == (303, "/charts")
        shown = browser.get("/charts")
        assert shown.status_code == 200
        assert "rounded down to a multiple of 5" in shown.text
        assert str(world.case) not in shown.text
        assert "No count here reaches 5." in shown.text
        for path in ("/cases", "/find", "/today"):
            assert f'"{path}"' not in shown.text, path
        assert browser.get("/charts/flow.csv").status_code == 200
        assert browser.get("/v1/members").json() == []
    with signed_in(world.server, "xk-nac") as browser:
        assert "rounded down" not in browser.get("/charts").text


def test_rounded_figures_tell_no_small_count() -> None:
    counts = (0, 1, 4, 5, 9, 10, 23)
    times = [TimeToReturn("ME", n, 3, Decimal(4), Decimal(12), Decimal(40), 90) for n in (19, 20)]
    found = rounded(
        Figures(
            tuple(Caseload(Stage.RETURN, "XK", n) for n in counts),
            tuple(Flow("XK", "ME", Stage.RETURN, n) for n in counts),
            (Returned("ME", 12, 30),),
            tuple(times),
        )
    )
    assert [one.cases for one in found.caseload] == [one.cases for one in found.flows]
    assert [one.cases for one in found.flows] == [5, 5, 10, 20]
    assert (found.returned, [one.cases for one in found.times]) == ((), [20])
    assert {(one.shortest, one.longest) for one in found.times} == {(None, None)}
    assert [(one.lower, one.median, one.upper) for one in found.times] == [(7, 14, 42)]
