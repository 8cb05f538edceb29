"""Personal data through the API: read for a purpose, released by field, erased everywhere."""

from datetime import UTC, date, datetime, timedelta
from io import BytesIO, StringIO
from uuid import UUID, uuid4

import psycopg
import pytest
from pypdf import PdfReader
from rich.console import Console

from api.background_jobs.eraser import Eraser
from api.cli.steps.case_tables import case_panel
from api.client import LedgerClient, RefusedError
from api.client.schemas import PersonalField, ReadingResult
from api.exchange.access_log_anchor import AccessLogAnchor, anchored_readings
from api.keys.country_keys import country_keys, person_keys
from api.paper.subject_access.document import LabelledFile
from api.services.append_service import AppendService, DirectAppend
from ledger.application import Ledger
from ledger.procedure.case_state import AnnouncedErasure
from ledger.procedure.protocol import Agency, Operation
from ledger.signing import keys
from ledger.signing.signed_action import SignedAction
from ledger.store.database import Database
from ledger.vault.vault import Vaults
from ledger.vocabulary import Action
from ledger.vocabulary.coordination import (
    CaseClosed,
    CaseReopened,
    ConsentGiven,
    ConsentWithdrawn,
    Correction,
    InformationRequested,
)
from ledger.vocabulary.erasure import (
    ErasureApproved,
    ErasureConfirmed,
    ErasureProposed,
    LegalHoldLifted,
    LegalHoldPlaced,
)
from ledger.vocabulary.identification import VictimIdentified
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import (
    BestInterestsOutcome,
    ClosureReason,
    ConsentForm,
    ConsentGiver,
    ConsentScope,
    CorrectionEffect,
    CorrectionReason,
    Danger,
    DecisionMakingOrg,
    ErasureGround,
    GuardianKind,
    HoldGround,
    InformationTopic,
    LegalBasis,
    Purpose,
    ReopeningReason,
    ReviewFinding,
    ShelterKind,
    TraffickingStatus,
    TypeOfExploitation,
)
from ledger.vocabulary.protection import BestInterestsAssessed, GuardianAppointed, Sheltered
from ledger.vocabulary.registration import KeyRegistered, ReadingsAnchored
from ledger.vocabulary.sharing import (
    BreakGlassOpened,
    BreakGlassReviewed,
    InformationReleased,
    ReleasedFields,
    SharingDecided,
)
from projections.folds.case_view import CaseView
from projections.tables.view_queries import ViewReader
from tests.support.actions import START, opening
from tests.support.agencies import PAST
from tests.support.cosigned import cosigned
from tests.support.serving import Server
from tests.support.sharing import register_country_keys
from tests.support.vaults import everything
from tests.support.waiting import until

NAME, NOTE, PHONE, WHERE = "zqFirstName", "zqIndicatorsNote", "+999123456789", "zqShelterAddress"
BOTH = ("XK", "ME")


class Child:
    """One case, on which agencies act one after the other."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.id = uuid4()
        self.version = self.position = 0
        self.ids: dict[str, UUID] = {}

    def act(self, agency: str, action: Action) -> UUID:
        with self.server.client(agency) as client:
            receipt = client.append(action, self.id, self.version)
        self.version, self.position = receipt.case_version, receipt.position
        self.ids[action.kind] = receipt.action_id
        return receipt.action_id

    def refuse(self, agency: str, action: Action) -> str:
        with self.server.client(agency) as client, pytest.raises(RefusedError) as refused:
            client.append(action, self.id, self.version)
        return refused.value.problem.rule

    def read(
        self, agency: str, *groups: FieldGroup, basis: LegalBasis | None = None
    ) -> ReadingResult:
        with self.server.client(agency) as client:
            return client.read(self.id, groups, Purpose.PROTECTION, basis)

    def cannot_read(self, agency: str, *groups: FieldGroup, basis: LegalBasis | None = None) -> str:
        with pytest.raises(RefusedError) as refused:
            self.read(agency, *groups, basis=basis)
        return refused.value.problem.rule

    def case_values(self, agency: str) -> dict[str, object]:
        with self.server.client(agency) as client:
            case = client.case(self.id, at_least=self.position)
        return {name: value for one in case.disclosed for name, value in one.fields.items()}

    def opened(self) -> None:
        action = opening(BOTH, first_name=NAME, phone=PHONE, indicators_note=NOTE)
        self.act("xk-dhtqnj", action)

    def consent(self, *groups: FieldGroup, recipients: tuple[str, ...] = ("ME",)) -> UUID:
        if "guardian_appointed" not in self.ids:
            guardian = GuardianAppointed(acted_at=later(1), guardian_kind=GuardianKind.RELATIVE)
            self.act("xk-csw-prishtina", guardian)
        return self.act(
            "xk-csw-prishtina",
            ConsentGiven(
                acted_at=later(2),
                scopes=(ConsentScope.INFORMATION_EXCHANGE,),
                given_by=ConsentGiver.GUARDIAN,
                form=ConsentForm.WRITTEN,
                expires=date(2099, 1, 1),
                groups=groups,
                recipients=recipients or None,
                language="sqi",
            ),
        )

    def release(self, *fields: PersonalField, basis_action: UUID, **more: object) -> Action:
        released: dict[UUID, list[str]] = {}
        for field in fields:
            released.setdefault(field.action_id, []).append(field.digest)
        content = {
            "acted_at": later(4),
            "recipient": "ME",
            "groups": tuple({field.group for field in fields}),
            "purpose": Purpose.PROTECTION,
            "basis": LegalBasis.CONSENT,
            "basis_action": basis_action,
            "released": tuple(
                ReleasedFields(action=action, digests=tuple(digests))
                for action, digests in released.items()
            ),
            **more,
        }
        return InformationReleased.model_validate(content)


def later(hours: float) -> datetime:
    return START + timedelta(hours=hours)


@pytest.fixture
def apart(alone: Server) -> Server:
    """A server of one test, whose countries can seal to each other."""
    register_country_keys(alone)
    return alone


@pytest.fixture(scope="module")
def shared(served_once: Server) -> Server:
    """A server of all tests that look at nothing but their own case, of the same kind."""
    register_country_keys(served_once)
    return served_once


@pytest.fixture
def child(shared: Server) -> Child:
    made = Child(shared)
    made.opened()
    return made


def test_case_fields_reach_every_country_party_to_the_case(child: Child) -> None:
    until(lambda: child.case_values("me-nac").get("indicators_note") == NOTE)
    assert child.case_values("xk-nac")["indicators_note"] == NOTE
    with child.server.client("al-nac") as albania, pytest.raises(RefusedError) as refused:
        albania.case(child.id)
    assert refused.value.problem.rule == "unknown-case"


def test_a_country_that_joins_later_gets_what_was_before(shared: Server) -> None:
    child = Child(shared)
    child.act("xk-dhtqnj", opening(("XK",), first_name=NAME, indicators_note=NOTE))
    request = InformationRequested(
        acted_at=later(1),
        addressee="me-nac",
        topics=(InformationTopic.IDENTITY,),
        purpose=Purpose.IDENTIFICATION,
        question="zqQuestion",
    )
    child.act("xk-nac", request)
    until(lambda: {NOTE, "zqQuestion"} <= set(map(str, child.case_values("me-nac").values())))
    assert child.cannot_read("me-police-thb", FieldGroup.CONTACT) == "no-legal-basis"
    assert child.read("me-police-thb", FieldGroup.IDENTITY).fields == ()


def test_a_field_is_read_by_matrix_and_basis_and_each_asking_is_written_down(child: Child) -> None:
    opened = child.read("xk-dhtqnj", FieldGroup.IDENTITY)
    assert [(f.field, f.value, f.agency) for f in opened.fields] == [
        ("first_name", NAME, "xk-dhtqnj")
    ]
    (basis,) = opened.reading.bases.values()
    assert (basis.kind, basis.action) == (LegalBasis.DUTY, child.ids["case_opened"])
    assert child.cannot_read("xk-dhtqnj", FieldGroup.HEALTH) == "access-matrix"
    assert child.cannot_read("xk-dhtqnj", FieldGroup.CONTACT) == "no-legal-basis"
    assert child.cannot_read("xk-ombudsperson", FieldGroup.IDENTITY) == "access-matrix"
    assert child.cannot_read("xk-node", FieldGroup.IDENTITY) == "access-matrix"
    assert child.cannot_read("al-police-thb", FieldGroup.IDENTITY) == "unknown-case"
    with child.server.client("xk-ombudsperson") as oversight:
        listed = oversight.readings(child.id).readings
    listed = tuple(r for r in listed if r.asked.operation is not Operation.MATCH)
    assert [(r.asked.agency, r.granted, r.refused_by) for r in listed] == [
        ("xk-dhtqnj", True, None),
        ("xk-dhtqnj", False, "access-matrix"),
        ("xk-dhtqnj", False, "no-legal-basis"),
        ("xk-ombudsperson", False, "access-matrix"),
        ("xk-node", False, "access-matrix"),
    ]
    with child.server.client("xk-isf") as shelter:
        assert shelter.readings(child.id).readings == ()


def test_consent_opens_what_it_names_until_it_is_withdrawn_or_expires(child: Child) -> None:
    assert child.cannot_read("xk-ngo-support", FieldGroup.CONTACT) == "no-legal-basis"
    consent = child.consent(FieldGroup.CONTACT, recipients=())
    opened = child.read("xk-ngo-support", FieldGroup.CONTACT)
    assert [f.value for f in opened.fields] == [PHONE]
    assert opened.reading.bases[FieldGroup.CONTACT].action == consent
    assert child.cannot_read("xk-ngo-support", FieldGroup.IDENTITY) == "no-legal-basis"
    assert child.cannot_read("me-ngo-support", FieldGroup.CONTACT) == "no-legal-basis"
    withdrawn = ConsentWithdrawn(
        acted_at=later(3),
        scopes=(ConsentScope.INFORMATION_EXCHANGE,),
        withdrawn_by=ConsentGiver.PERSON,
    )
    child.act("xk-csw-prishtina", withdrawn)
    assert child.cannot_read("xk-ngo-support", FieldGroup.CONTACT) == "no-legal-basis"
    expired = ConsentGiven(
        acted_at=later(4),
        scopes=(ConsentScope.ASSISTANCE,),
        given_by=ConsentGiver.PERSON,
        form=ConsentForm.WRITTEN,
        groups=(FieldGroup.CONTACT,),
        expires=date(2026, 2, 1),
    )
    child.act("xk-csw-prishtina", expired)
    assert child.cannot_read("xk-ngo-support", FieldGroup.CONTACT) == "no-legal-basis"


def test_a_release_gives_the_fields_it_names_to_the_country_it_names(child: Child) -> None:
    identified = VictimIdentified(
        acted_at=later(1),
        status=TraffickingStatus.POSSIBLE,
        decided_by=DecisionMakingOrg.POLICE,
        types_of_exploitation=(TypeOfExploitation.FORCED_MARRIAGE,),
        statement="zqStatement",
    )
    child.act("xk-dhtqnj", identified)
    (name,) = child.read("xk-dhtqnj", FieldGroup.IDENTITY).fields
    (statement,) = child.read("xk-dhtqnj", FieldGroup.EXPLOITATION).fields
    consent = child.consent(FieldGroup.IDENTITY)
    good = child.release(name, basis_action=consent)
    refused = {
        "no-legal-basis": child.release(statement, basis_action=consent),
        "group-not-named": child.release(
            name, statement, basis_action=consent, groups=(FieldGroup.IDENTITY,)
        ),
        "recipient": good.model_copy(update={"recipient": "AL"}),
        "not-held": good.model_copy(
            update={"released": (ReleasedFields(action=name.action_id, digests=("A" * 43,)),)}
        ),
    }
    for rule, action in refused.items():
        assert child.refuse("xk-dhtqnj", action) == rule
    assert child.refuse("xk-border", good) == "role"
    assert child.refuse("xk-shelter-children", good) == "access-matrix"
    assert child.refuse("me-police-thb", good) == "not-held"
    child.act("xk-dhtqnj", good)
    (received,) = until(lambda: child.read("me-police-thb", FieldGroup.IDENTITY).fields)
    assert (received.value, received.received_from) == (NAME, "XK")
    assert child.read("me-police-thb", FieldGroup.EXPLOITATION).fields == ()
    with child.server.client("xk-nac") as coordinator:
        taken_out = [r for r in coordinator.readings(child.id).readings if r.concerning]
        trail = [entry.kind for entry in coordinator.trail(child.id)]
    assert [(r.asked.operation, r.concerning) for r in taken_out] == [
        ("release", child.ids["information_released"])
    ]
    assert trail[-1] == "information_released"
    # Withdrawal stops what comes after; what was released stays on the trail.
    withdrawn = ConsentWithdrawn(
        acted_at=later(5),
        scopes=(ConsentScope.INFORMATION_EXCHANGE,),
        withdrawn_by=ConsentGiver.GUARDIAN,
    )
    child.act("xk-csw-prishtina", withdrawn)
    assert child.refuse("xk-dhtqnj", good) == "no-legal-basis"


def test_whereabouts_leave_the_country_on_a_basis_of_their_own(child: Child) -> None:
    sheltered = Sheltered(
        acted_at=later(1),
        shelter_kind=ShelterKind.EMERGENCY,
        provider="xk-shelter-children",
        address=WHERE,
    )
    child.act("xk-shelter-children", sheltered)
    (where,) = child.read("xk-shelter-children", FieldGroup.WHEREABOUTS).fields
    consent = child.consent(FieldGroup.IDENTITY)
    assert (
        child.refuse("xk-csw-prishtina", child.release(where, basis_action=consent))
        == "no-legal-basis"
    )
    together = ConsentGiven(
        acted_at=later(3),
        scopes=(ConsentScope.INFORMATION_EXCHANGE,),
        given_by=ConsentGiver.PERSON,
        form=ConsentForm.WRITTEN,
        groups=(FieldGroup.WHEREABOUTS, FieldGroup.IDENTITY),
        recipients=("ME",),
    )
    assert child.refuse("xk-csw-prishtina", together) == "whereabouts-apart"
    apart = child.consent(FieldGroup.WHEREABOUTS)
    child.act("xk-csw-prishtina", child.release(where, basis_action=apart))
    until(lambda: child.read("me-csw-podgorica", FieldGroup.WHEREABOUTS).fields)


def test_a_release_dated_back_stands_on_nothing_that_is_over(child: Child) -> None:
    """The agency states the time of an act, and a legal basis that ended stays ended."""
    (name,) = child.read("xk-dhtqnj", FieldGroup.IDENTITY).fields
    child.consent(FieldGroup.IDENTITY)
    expired = ConsentGiven(
        acted_at=later(2),
        scopes=(ConsentScope.INFORMATION_EXCHANGE,),
        given_by=ConsentGiver.GUARDIAN,
        form=ConsentForm.WRITTEN,
        groups=(FieldGroup.IDENTITY,),
        recipients=("ME",),
        expires=later(48).date(),
    )
    assessed = BestInterestsAssessed(
        acted_at=later(2), outcome=BestInterestsOutcome.STAY, child_heard=True
    )
    child.act("xk-csw-prishtina", assessed)
    decided = SharingDecided(
        acted_at=later(2),
        groups=(FieldGroup.IDENTITY,),
        recipients=("ME",),
        child_heard=True,
        until=later(48).date(),
    )
    opened = BreakGlassOpened(
        acted_at=later(2),
        danger=Danger.MISSING_CHILD,
        groups=(FieldGroup.IDENTITY,),
        until=later(10),
    )
    for agency, action, basis in (
        ("xk-csw-prishtina", expired, LegalBasis.CONSENT),
        ("xk-csw-prishtina", decided, LegalBasis.BEST_INTERESTS),
        ("xk-dhtqnj", opened, LegalBasis.DANGER_TO_LIFE),
    ):
        stands_on = child.act(agency, action)
        release = child.release(name, basis_action=stands_on, basis=basis)
        assert child.refuse("xk-dhtqnj", release) == "no-legal-basis", basis


def test_access_in_danger_to_life_is_at_once_short_and_seen_by_both(child: Child) -> None:
    now = datetime.now(UTC)
    assert child.cannot_read("xk-border", FieldGroup.CONTACT) == "access-matrix"
    in_danger = LegalBasis.DANGER_TO_LIFE
    assert child.cannot_read("xk-border", FieldGroup.CONTACT, basis=in_danger) == "no-legal-basis"
    access = BreakGlassOpened(
        acted_at=now,
        danger=Danger.MISSING_CHILD,
        groups=(FieldGroup.CONTACT,),
        until=now + timedelta(hours=2),
    )
    too_long = access.model_copy(update={"until": now + timedelta(hours=25)})
    too_much = access.model_copy(update={"groups": (FieldGroup.HEALTH,)})
    assert child.refuse("xk-border", too_long) == "break-glass-time"
    assert child.refuse("xk-border", too_much) == "access-matrix"
    opened = child.act("xk-border", access)
    (phone,) = child.read("xk-border", FieldGroup.CONTACT, basis=in_danger).fields
    assert phone.value == PHONE
    assert child.cannot_read("xk-dhtqnj", FieldGroup.CONTACT, basis=in_danger) == "no-legal-basis"
    for coordinator in ("xk-nac", "me-nac"):
        with child.server.client(coordinator) as client:
            view = client.case(child.id, at_least=child.position).view
        assert [b.danger for b in view.break_glass] == ["missing_child"]
        owed = [s.party for s in view.expected if s.action == "break_glass_reviewed"]
        assert ("ME" in owed, "XK" in owed) == (True, False), "the one who opened it owes none"
        shown = shown_by_command(view)
        assert "Access in danger to life" in shown
        assert "! xk-border, missing child: contact, until" in shown
    reviewed = BreakGlassReviewed(acted_at=now, access=opened, finding=ReviewFinding.NOT_JUSTIFIED)
    assert child.refuse("xk-border", reviewed) == "role"
    assert child.refuse("xk-nac", reviewed) == "second-party"
    child.act("xk-ombudsperson", reviewed)
    assert child.refuse("xk-ombudsperson", reviewed) == "already-reviewed"
    child.act("me-nac", reviewed)
    assert child.refuse("me-nac", reviewed) == "no-such-access"
    assert child.cannot_read("xk-border", FieldGroup.CONTACT, basis=in_danger) == "no-legal-basis"


def shown_by_command(view: CaseView) -> str:
    """A case as `case-ledger case` shows it."""
    console = Console(width=160, file=StringIO())
    console.print(case_panel(view, datetime.now(UTC)))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_an_erasure_takes_two_persons_and_reaches_every_country(
    apart: Server, database: str
) -> None:
    child, server = Child(apart), apart
    child.opened()
    for node in ("xk-node", "me-node"):
        keys.save(server.agencies.keys[node], server.settings.key_directory / f"{node}.jwk")
    until(lambda: child.case_values("me-nac"))
    propose = ErasureProposed(acted_at=later(9), ground=ErasureGround.PERSONS_REQUEST)
    assert child.refuse("xk-nac", propose) == "open-case"
    child.act("xk-nac", CaseClosed(acted_at=later(8), reason=ClosureReason.REINTEGRATED))
    placed = LegalHoldPlaced(acted_at=later(8), ground=HoldGround.COMPENSATION_CLAIM)
    hold = child.act("xk-court-prishtina", placed)
    assert child.refuse("xk-nac", propose) == "legal-hold"
    lifted = LegalHoldLifted(acted_at=later(9), hold=hold)
    assert child.refuse("me-court-podgorica", lifted) == "own-hold"
    child.act("xk-court-prishtina", lifted)
    assert child.refuse("xk-csw-prishtina", propose) == "lead"
    proposal = child.act("xk-nac", propose)
    approve = ErasureApproved(acted_at=later(10), proposal=proposal)
    assert child.refuse("xk-nac", approve) == "second-party"
    assert child.refuse("xk-dhtqnj", approve) == "role"
    assert child.case_values("xk-nac")
    with register_second_key(server, "xk-nac") as second, pytest.raises(RefusedError) as refused:
        second.append(approve, child.id, child.version)
    assert refused.value.problem.rule == "second-party", "a second key is no second party"
    child.act("me-nac", approve)
    with server.client("me-nac") as coordinator:

        def confirmed() -> bool:
            erasure = coordinator.case(child.id, at_least=child.position).view.erasure
            return erasure is not None and set(erasure.confirmed) == {"XK", "ME"}

        until(confirmed)
        trail = list(coordinator.trail(child.id))
    assert [e.agency for e in trail if e.kind == "erasure_confirmed"] != []
    assert {e.agency for e in trail if e.kind == "erasure_confirmed"} == {"xk-node", "me-node"}
    assert (child.case_values("xk-nac"), child.case_values("me-nac")) == ({}, {})
    assert child.read("xk-dhtqnj", FieldGroup.IDENTITY).fields == ()
    with psycopg.connect(database) as connection:
        for party in ("xk", "me"):
            rows = connection.execute(
                f"SELECT count(*) FROM vault_{party}.disclosures WHERE case_id = %s".encode(),
                (child.id,),
            ).fetchone()
            assert rows == (0,)
    for path in (server.settings.key_directory / "persons").rglob("*"):
        assert path.is_dir() or str(child.id).encode() not in path.read_bytes()
    child.version = len(trail)
    assert child.refuse("xk-dhtqnj", opening(BOTH)) == "erased-case"
    reopened = CaseReopened(acted_at=later(11), reason=ReopeningReason.NEW_INFORMATION)
    assert child.refuse("xk-nac", reopened) == "erased-case"
    corrected = Correction(
        acted_at=later(11),
        corrects=child.ids["case_opened"],
        effect=CorrectionEffect.CLARIFIED,
        reason=CorrectionReason.ENTRY_ERROR,
        explanation="zqLate",
    )
    assert child.refuse("xk-dhtqnj", corrected) == "erased-case"


def test_what_is_kept_too_long_is_erased_without_being_asked(
    apart: Server, ledger: Ledger, database: str
) -> None:
    kept, held, open_one, over = (Child(apart) for _ in range(4))
    for child in (kept, held, open_one, over):
        child.opened()
    reason = {kept: ClosureReason.REINTEGRATED, held: ClosureReason.NOT_A_VICTIM,
              over: ClosureReason.NOT_A_VICTIM}  # fmt: skip
    for child, closure in reason.items():
        child.act("xk-nac", CaseClosed(acted_at=later(1), reason=closure))
    held.act(
        "xk-prosecution-prishtina",
        LegalHoldPlaced(acted_at=later(2), ground=HoldGround.PROCEEDINGS),
    )
    with Database(database) as pool:
        countries = country_keys(apart.settings, ["XK"])
        vaults = Vaults(pool, person_keys(apart.settings, countries))
        views, at_first = ViewReader(pool), datetime.now(UTC)

        def erased(*days: int) -> int:
            """Return how many are erased if witnesses cosigned after so many days each."""
            return erasing.retire(cosigned(at_first, days))

        erasing = Eraser(
            ledger,
            vaults,
            views,
            DirectAppend(ledger, vaults),
            lambda node: apart.agencies.keys[node.id],
            lambda: cosigned(at_first, ()),
        )
        until(lambda: views.case("XK", held.id).holds)  # type: ignore[union-attr]
        assert erased(*range(330)) == 0
        assert announced(ledger, over) is None
        # A clock that is a year ahead announces too early, and erases nothing.
        assert erased(0, 366) == 0
        assert erased(0, 366, 367, 368) == 0
        announcement = announced(ledger, over)
        assert announcement is not None
        assert announcement.by == "xk-node"
        assert (announced(ledger, kept), announced(ledger, held)) == (None, None)
        assert everything(vaults.of("XK"), over.id)
        assert erased(*range(366)) == 0  # not before the time that it said
        assert erased(*range(366, 396)) == 0
        assert erased(*range(366, 400)) == 1
        left = {
            child: len(everything(vaults.of("XK"), child.id)) for child in (kept, held, open_one)
        }
        assert all(left.values())
        assert everything(vaults.of("XK"), over.id) == ()
        # A column that somebody changed in the database orders nothing: the signed events do.
        with psycopg.connect(database) as superuser:
            superuser.execute("SET session_replication_role = replica")
            superuser.execute(
                "UPDATE ledger.events SET topic = 'erasure_approved' WHERE originator_id = %s",
                (kept.id,),
            )
        assert erasing.obey() == 0
        assert everything(vaults.of("XK"), kept.id)
    confirm = ErasureConfirmed(acted_at=later(3))
    assert over.refuse("xk-nac", confirm) == "retention"


def announced(ledger: Ledger, child: Child) -> AnnouncedErasure | None:
    case = ledger.case(child.id)
    assert case is not None
    return case.state.retention


def register_second_key(server: Server, agency: str) -> LedgerClient:
    """A second person of ``agency``, with a key of their own."""
    key = keys.generate()
    grant = server.agencies.grant(agency, key)
    with server.client("xk-nac") as coordinator:
        coordinator.append_to_registry(KeyRegistered(acted_at=PAST, grant=grant))
    return LedgerClient(
        server.url, agency=agency, key=key, protocol=server.agencies.protocol.id, patience=5
    )


def test_the_person_gets_all_that_is_held_in_a_language_of_theirs(child: Child) -> None:
    child.read("xk-dhtqnj", FieldGroup.IDENTITY)
    with child.server.client("xk-csw-prishtina") as social_work:
        file = LabelledFile.model_validate_json(social_work.subject_access(child.id, "sq"))
        pdf = social_work.subject_access(child.id, "cnr", pdf=True)
    held = {one.field: one.value for one in file.file.held}
    assert (held["first_name"], held["phone"], held["indicators_note"]) == (NAME, PHONE, NOTE)
    # The country's node compares at a time of its own.
    asked = [a.agency for a in file.file.accesses if a.agency != "xk-node"]
    assert asked == ["xk-dhtqnj", "xk-csw-prishtina"]
    assert [e.kind for e in file.file.trail] == ["case_opened"]
    assert file.labels.groups["identity"] == "Identiteti"
    text = "".join(page.extract_text() for page in PdfReader(BytesIO(pdf)).pages)
    assert NAME in text.replace("\n", "")
    for agency, rule in (
        ("xk-dhtqnj", "access-matrix"),
        ("xk-ombudsperson", "access-matrix"),
        ("xk-node", "access-matrix"),
        ("al-nac", "unknown-case"),
    ):
        with child.server.client(agency) as client, pytest.raises(RefusedError) as refused:
            client.subject_access(child.id, "en")
        assert refused.value.problem.rule == rule


def test_an_access_log_that_was_fixed_cannot_be_written_anew(
    served: Server, ledger: Ledger, database: str
) -> None:
    """Not even by who owns the database and makes every hash fit again."""
    child, server = Child(served), served
    child.opened()
    for agency in ("xk-dhtqnj", "xk-csw-prishtina"):
        child.read(agency, FieldGroup.IDENTITY)
    child.cannot_read("xk-border", FieldGroup.HEALTH)
    # The country's node compares the name at a time of its own, and that is the fourth entry.
    until(lambda: logged(database) == 4)
    with Database(database) as pool:
        countries = country_keys(server.settings, ["XK", "ME"])
        vaults = Vaults(pool, person_keys(server.settings, countries))
        log = vaults.of("XK").readings
        assert anchor(ledger, vaults, server) == 1  # Montenegro's has nothing to fix
        assert anchor(ledger, vaults, server) == 0
        anchored = anchored_readings(ledger, "XK")
        assert list(anchored) == [4]
        assert list(log.findings(anchored)) == []
        everything(vaults.of("XK"), child.id)
        assert list(log.findings(anchored)) == []
        with psycopg.connect(database) as connection:
            connection.execute("DELETE FROM vault_xk.readings WHERE seq >= 4")
            connection.execute("UPDATE vault_xk.progress SET position = 3 WHERE work = 'readings'")
        everything(vaults.of("XK"), child.id)  # as if it had been the fourth
        assert list(log.findings()) == []
        assert list(log.findings(anchored)) == [
            "the first 4 entries are not those that the ledger recorded"
        ]
        with psycopg.connect(database) as connection:
            connection.execute("DELETE FROM vault_xk.readings")
        assert list(log.findings(anchored)) == [
            "entries 1 to 4 are missing",
            "the ledger recorded 4 entries, and 0 are here",
        ]
    forged = ReadingsAnchored(acted_at=START, entries=5, head="0" * 64)
    for agency, rule in (("xk-nac", "nodes-only"), ("xk-ombudsperson", "nodes-only")):
        with server.client(agency) as client, pytest.raises(RefusedError) as refused:
            client.append_to_registry(forged)
        assert refused.value.problem.rule == rule
    with server.client("xk-node") as node, pytest.raises(RefusedError) as refused:
        node.append_to_registry(forged.model_copy(update={"entries": 4}))
    assert refused.value.problem.rule == "already-anchored"


def logged(database: str) -> int:
    """Count the entries of Kosovo's access log."""
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT count(*) FROM vault_xk.readings").fetchone()
    assert row is not None
    return int(row[0])


def anchor(ledger: Ledger, vaults: Vaults, server: Server) -> int:
    """Anchor the access log, as the node does once an hour."""

    class Direct(AppendService):
        def of_node(
            self, node: Agency, action: SignedAction, case_id: UUID | None, case_version: int
        ) -> None:
            assert (node.role, case_id, case_version) == ("node", None, 0)
            ledger.append_to_registry(action)

    keys_of = server.agencies.keys
    return AccessLogAnchor(ledger, vaults, Direct(), lambda node: keys_of[node.id]).anchor()
