"""The story of two children from Montenegro who are found in Kosovo and return home.

A is a girl of about 15 who was given in marriage, B her brother of about 11 who was
made to beg. All persons are invented: "Izmišljenović" is made of the Montenegrin word
for invented, "Primjer" and "Shembulli" say "example". Nothing here reads a clock or
draws a random number, so the story is the same each time it is told.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from ledger.procedure.protocol import Protocol
from ledger.refusals import Ground
from ledger.vocabulary.action import Action
from ledger.vocabulary.coordination import (
    CasePrioritised,
    ConsentGiven,
    Correction,
    InformationAcknowledged,
    InformationProvided,
    InformationRequested,
    JointActionAgreed,
    JointActionDone,
    LeadTransferAccepted,
    LeadTransferOffered,
    MeetingHeld,
)
from ledger.vocabulary.decisions import DecisionConfirmed, DecisionProposed
from ledger.vocabulary.identification import CaseOpened, VictimIdentified
from ledger.vocabulary.inclusion import (
    ReintegrationMonitored,
    ReintegrationPlanAgreed,
    ReintegrationPlanned,
)
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.person import AgeAssessed, IdentityRecorded
from ledger.vocabulary.picklists import (
    AgeGroup,
    AgeMethod,
    BestInterestsOutcome,
    Certainty,
    ConsentForm,
    ConsentGiver,
    ConsentScope,
    CorrectionEffect,
    CorrectionReason,
    DecisionMakingOrg,
    EscortKind,
    FamilyOutcome,
    Gender,
    GuardianKind,
    HandedOver,
    HearingKind,
    Indicator,
    InformationTopic,
    InvestigationState,
    JointActionKind,
    JointActionOutcome,
    JointDecision,
    MethodOfControl,
    MethodOfRecruitment,
    MonitoringFinding,
    Offence,
    OpeningGround,
    PerpetratorRole,
    Priority,
    Purpose,
    ReferralReason,
    RelationshipToTrafficker,
    RiskLevel,
    ServiceEnd,
    ServiceKind,
    ShelterKind,
    StatementGround,
    StatementSource,
    SupportPlanType,
    TraffickingStatus,
    TravelDocumentKind,
    TypeOfExploitation,
    Vulnerability,
)
from ledger.vocabulary.proceedings import Charged, HearingHeld, Investigated
from ledger.vocabulary.protection import (
    BestInterestsAssessed,
    GuardianAppointed,
    RiskAssessed,
    ServiceEnded,
    ServiceStarted,
    Sheltered,
)
from ledger.vocabulary.return_and_inclusion import (
    Departed,
    FamilyAssessed,
    FamilyTraced,
    HandoverConfirmed,
    HandoverRecorded,
    Received,
    ReturnAccepted,
    ReturnDecided,
    ReturnRequested,
    TravelDocumentIssued,
)

Ids = Mapping[str, UUID]
"""The action ids of the earlier steps, by the steps' names."""


@dataclass(frozen=True, slots=True)
class Step:
    """One action of the story."""

    name: str
    """Unique; later steps refer to this one by it, e.g. ``A.opened``."""
    case: str
    """The case's alias: ``A`` or ``B``."""
    agency: str
    action: Callable[[Ids], Action]
    caption: str
    """One line for people."""


@dataclass(frozen=True, slots=True)
class Forbidden:
    """An attempt that must be refused, made right after the step ``after`` is recorded."""

    name: str
    after: str
    case: str
    agency: str
    action: Callable[[Ids], Action]
    caption: str
    ground: Ground
    rule: str


def has_story(protocol: Protocol) -> bool:
    """Return whether the story of the two children is one of this protocol's agencies."""
    return all(step.agency in protocol.agencies_by_id for step in STORY)


def at(year: int, month: int, day: int, hour: int, minute: int = 0) -> datetime:
    """Return a moment in UTC."""
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


def _step(name: str, agency: str, caption: str, action: Action | Callable[[Ids], Action]) -> Step:
    return Step(name, name[0], agency, _given_ids(action), caption)


def _given_ids(action: Action | Callable[[Ids], Action]) -> Callable[[Ids], Action]:
    if isinstance(action, Action):
        return lambda _: action
    return action


@dataclass(frozen=True, slots=True)
class _Child:
    """In what the steps that both children go through differ."""

    case: str
    who: str
    found: datetime
    later: timedelta
    """How long after A's the child's turn comes where both are dealt with on one day."""
    lead: str
    social_work: str
    home_social_work: str
    risk_level: RiskLevel
    risk_factors: str
    threats: str
    guardian: str
    scopes: tuple[ConsentScope, ...]
    return_to: str
    why_there: str
    document_number: str

    def after(self, *, days: int = 0, hours: int = 0, minutes: int = 0) -> datetime:
        return self.found + timedelta(days=days, hours=hours, minutes=minutes)


_A = _Child(
    case="A",
    who="the girl",
    found=at(2025, 12, 3, 9, 30),
    later=timedelta(0),
    lead="xk-dhtqnj",
    social_work="xk-csw-prishtina",
    home_social_work="me-csw-podgorica",
    risk_level=RiskLevel.HIGH,
    risk_factors="The household she was taken from looks for her.",
    threats="She was told that her brother would suffer if she left the house.",
    guardian="Drita Shembulli",
    scopes=(
        ConsentScope.ASSISTANCE,
        ConsentScope.INFORMATION_EXCHANGE,
        ConsentScope.PROCEEDINGS,
    ),
    return_to="Safe accommodation in Podgorica, address known to the shelter alone",
    why_there="Not to the parents: the shelter first, then her aunt if that proves safe.",
    document_number="EXAMPLE-0001",
)

_B = _Child(
    case="B",
    who="the boy",
    found=at(2025, 12, 4, 12, 40),
    later=timedelta(minutes=10),
    lead="xk-csw-peja",
    social_work="xk-csw-peja",
    home_social_work="me-csw-niksic",
    risk_level=RiskLevel.MEDIUM,
    risk_factors="The adults who sent him out to beg know the streets where he was found.",
    threats="He had to bring home a fixed sum each day and was left outside when he did not.",
    guardian="Agron Shembulli",
    scopes=(
        ConsentScope.ASSISTANCE,
        ConsentScope.INFORMATION_EXCHANGE,
        ConsentScope.RETURN,
        ConsentScope.PROCEEDINGS,
    ),
    return_to="His mother's home near Nikšić, Izmišljena ulica 0",
    why_there="He wishes it, and the mother accepts the conditions of the assessment.",
    document_number="EXAMPLE-0002",
)


def _steps_of(child: _Child) -> tuple[Step, ...]:
    """Return the steps that both children go through."""
    case, who, later = child.case, child.who, child.later
    return (
        _step(
            f"{case}.sheltered",
            "xk-shelter-children",
            f"The children's shelter takes {who} in",
            Sheltered(
                acted_at=child.after(hours=4, minutes=30),
                shelter_kind=ShelterKind.SPECIALISED,
                provider="xk-shelter-children",
                address="Rruga e Shembullit 0, Prishtina",
                intake_note="Arrived tired, ate well, asked about the other child at once.",
            ),
        ),
        _step(
            f"{case}.risk_assessed",
            child.lead,
            f"The risk to {who} is assessed",
            RiskAssessed(
                acted_at=child.after(hours=6),
                risk_level=child.risk_level,
                review_by=date(2026, 1, 15),
                risk_factors=child.risk_factors,
                threats=child.threats,
            ),
        ),
        _step(
            f"{case}.guardian_appointed",
            child.social_work,
            f"Social work appoints a guardian for {who}",
            GuardianAppointed(
                acted_at=child.after(hours=22, minutes=45),
                guardian_kind=GuardianKind.SOCIAL_WORK_CENTRE,
                decision_reference=f"EXAMPLE-G-{case}/2025",
                guardian_name=child.guardian,
                guardian_contact="guardian@example.org",
            ),
        ),
        _step(
            f"{case}.identification_proposed",
            "xk-dhtqnj",
            f"Police propose to identify {who} as a victim",
            DecisionProposed(
                acted_at=child.after(days=4, hours=20),
                decision=JointDecision.VICTIM_IDENTIFIED,
                status=TraffickingStatus.ACTUAL,
                reasoning="The indicators of the first day are confirmed by what was found since.",
            ),
        ),
        _step(
            f"{case}.identification_confirmed_by_advocate",
            "xk-victim-advocate",
            f"The Victim's Advocate confirms the identification of {who}",
            lambda ids: DecisionConfirmed(
                acted_at=child.after(days=4, hours=22),
                proposal=ids[f"{case}.identification_proposed"],
            ),
        ),
        _step(
            f"{case}.identification_confirmed_by_social_work",
            child.social_work,
            f"Social work confirms the identification of {who}",
            lambda ids: DecisionConfirmed(
                acted_at=child.after(days=4, hours=23),
                proposal=ids[f"{case}.identification_proposed"],
            ),
        ),
        _step(
            f"{case}.investigated",
            "xk-dhtqnj",
            f"Police open an investigation in the case of {who}",
            Investigated(
                acted_at=child.after(days=5, hours=5),
                state=InvestigationState.OPENED,
                reference=f"EXAMPLE-I-{case}/2025",
                perpetrator_roles=(PerpetratorRole.RECEIVED, PerpetratorRole.EXPLOITER),
                suspects="Two adults of the household, named Primjer in the file.",
            ),
        ),
        _step(
            f"{case}.consent_given",
            child.social_work,
            f"The guardian of {who} consents in writing",
            ConsentGiven(
                acted_at=child.after(days=6),
                scopes=child.scopes,
                given_by=ConsentGiver.GUARDIAN,
                form=ConsentForm.WRITTEN,
                groups=(FieldGroup.IDENTITY, FieldGroup.FAMILY, FieldGroup.CARE),
                recipients=("ME",),
                language="sqi",
                signed_by=child.guardian,
            ),
        ),
        _step(
            f"{case}.prioritised_by_prosecutor",
            "xk-prosecution-prishtina",
            f"The prosecutor gives the case of {who} priority",
            CasePrioritised(
                acted_at=at(2025, 12, 12, 10) + later,
                priority=Priority.HIGH,
                reasoning="A child's case; the suspects could leave the country.",
            ),
        ),
        _step(
            f"{case}.meeting_held",
            "me-nac",
            f"Both countries' teams meet in Podgorica on {who}",
            MeetingHeld(
                acted_at=at(2026, 2, 5, 10) + later,
                host="ME",
                countries=("XK", "ME"),
                agencies=(
                    "xk-nac",
                    "xk-dhtqnj",
                    "xk-prosecution-prishtina",
                    child.social_work,
                    "me-nac",
                    "me-police-thb",
                    child.home_social_work,
                ),
                minutes="Agreed: the family is assessed first, and a return not before March.",
                participants=f"{child.guardian}; Vera Primjer; Mirko Primjer; Teuta Shembulli",
            ),
        ),
        _step(
            f"{case}.return_requested",
            child.social_work,
            f"Kosovo asks Montenegro to accept the return of {who}",
            ReturnRequested(
                acted_at=at(2026, 3, 2, 13) + later,
                destination="ME",
                planned_for=date(2026, 3, 18),
                needs="A place at school, and someone to talk to in the first weeks.",
            ),
        ),
        _step(
            f"{case}.return_accepted",
            "me-nac",
            f"Montenegro accepts the return of {who}",
            ReturnAccepted(
                acted_at=at(2026, 3, 2, 16) + later,
                receiving_agency=child.home_social_work,
                planned_for=date(2026, 3, 18),
            ),
        ),
        _step(
            f"{case}.plan_agreed",
            child.social_work,
            f"Kosovo agrees with the plan of reintegration for {who}",
            lambda ids: ReintegrationPlanAgreed(
                acted_at=at(2026, 3, 13, 9) + later, plan=ids[f"{case}.reintegration_planned"]
            ),
        ),
        _step(
            f"{case}.return_decided",
            child.social_work,
            f"The return of {who} to Montenegro is decided",
            ReturnDecided(
                acted_at=at(2026, 3, 3, 9) + later,
                destination="ME",
                planned_for=date(2026, 3, 18),
                receiving_agency=child.home_social_work,
                reasoning=child.why_there,
            ),
        ),
        _step(
            f"{case}.travel_document_issued",
            "me-nac",
            f"Montenegro issues a travel document for {who}",
            TravelDocumentIssued(
                acted_at=at(2026, 3, 10, 11) + later,
                document=TravelDocumentKind.EMERGENCY_TRAVEL_DOCUMENT,
                valid_until=date(2026, 4, 10),
                document_number=child.document_number,
            ),
        ),
        _step(
            f"{case}.departed",
            "xk-border",
            f"Escorted, {who} departs from Kosovo",
            Departed(
                acted_at=at(2026, 3, 18, 8) + later,
                escort=EscortKind.POLICE_AND_SOCIAL_WORKER,
                border_crossing="Kulla",
                route="From the shelter through Peja, in an unmarked car.",
                escort_names=f"Luan Shembulli; {child.guardian}",
            ),
        ),
        _step(
            f"{case}.handover_recorded",
            "xk-border",
            f"Kosovo signs the record of handing {who} over",
            HandoverRecorded(
                acted_at=at(2026, 3, 18, 10) + later,
                receiving_agency="me-border",
                handed_over=(HandedOver.DOCUMENTS, HandedOver.BELONGINGS, HandedOver.MEDICAL_NOTE),
                handover_list=f"Travel document {child.document_number}, one bag, the note.",
                handover_place="Kulla",
                persons=f"Luan Shembulli; Mirko Primjer; {child.guardian}",
                state_of_person="Calm after the journey.",
            ),
        ),
        _step(
            f"{case}.handover_confirmed",
            "me-border",
            f"Montenegro signs the record of handing {who} over",
            lambda ids: HandoverConfirmed(
                acted_at=at(2026, 3, 18, 10, 20) + later,
                handover=ids[f"{case}.handover_recorded"],
                is_complete=True,
            ),
        ),
        _step(
            f"{case}.received",
            "me-border",
            f"Montenegro confirms that it received {who}",
            Received(
                acted_at=at(2026, 3, 18, 10, 30) + later,
                in_person=True,
                condition="Well; met by the social worker who stays in charge.",
                accommodation=child.return_to,
            ),
        ),
        _step(
            f"{case}.lead_offered",
            child.lead,
            f"Kosovo offers Montenegro the lead of the case of {who}",
            LeadTransferOffered(
                acted_at=at(2026, 3, 20, 9) + later,
                to_agency=child.home_social_work,
                reason=ReferralReason.CHANGE_OF_LOCATION,
                handover_note="The proceedings stay in Prishtina; the care moves with the child.",
            ),
        ),
        _step(
            f"{case}.lead_accepted",
            child.home_social_work,
            f"Montenegro's social work accepts the lead for {who}",
            lambda ids: LeadTransferAccepted(
                acted_at=at(2026, 3, 23, 8, 30) + later, offer=ids[f"{case}.lead_offered"]
            ),
        ),
    )


def _started(
    name: str,
    when: datetime,
    service: ServiceKind,
    provider: str,
    caption: str,
    *,
    description: str,
    health_note: str | None = None,
    worker: str,
) -> Step:
    action = ServiceStarted(
        acted_at=when,
        service=service,
        provider=provider,
        description=description,
        health_note=health_note,
        worker_name=worker,
    )
    return _step(name, provider, caption, action)


def _ended(
    name: str, when: datetime, agency: str, reason: ServiceEnd, caption: str, *, result: str
) -> Step:
    return _step(
        f"{name}_ended",
        agency,
        caption,
        lambda ids: ServiceEnded(
            acted_at=when, service_action=ids[name], reason=reason, result=result
        ),
    )


_FOUND = (
    _step(
        "A.opened",
        _A.lead,
        "Police in Prishtina open a case for a girl of about 15",
        CaseOpened(
            acted_at=_A.found,
            age_group=AgeGroup.CHILD,
            countries=("XK",),
            ground=OpeningGround.HELPLINE,
            indicators=(
                Indicator.EARLY_OR_ARRANGED_MARRIAGE,
                Indicator.MOVED_ACROSS_BORDER,
                Indicator.NO_DOCUMENTS,
                Indicator.OUT_OF_SCHOOL,
            ),
            indicators_note="A neighbour called: a child lives there as a wife.",
            first_name="Anna",
            second_name="Izmišljenović",
            birthdate=date(2010, 10, 14),
            gender=Gender.FEMININE,
            primary_language="cnr",
            phone="+38200000001",
            address="Rruga e Shembullit 99, Prishtina",
            family_note="Says that a younger brother was brought along with her.",
        ),
    ),
    _step(
        "B.opened",
        _B.lead,
        "Social work in Peja opens a case for her brother, about 11",
        CaseOpened(
            acted_at=_B.found,
            age_group=AgeGroup.CHILD,
            countries=("XK", "ME"),
            ground=OpeningGround.REPORT_BY_SOCIAL_SERVICES,
            indicators=(
                Indicator.BEGGING_IN_THE_STREET,
                Indicator.UNACCOMPANIED_CHILD,
                Indicator.CONTROLLED_BY_OTHERS,
            ),
            indicators_note="Looked for after his sister spoke of him; begging at a crossing.",
            first_name="Bojan",
            second_name="Izmišljenović",
            birthdate=date(2014, 6, 2),
            gender=Gender.MASCULINE,
            primary_language="cnr",
            address="No fixed address in Peja",
            family_note="Asks for his mother and for his sister Ana.",
        ),
    ),
    _step(
        "B.age_assessed",
        _B.lead,
        "Social work estimates the boy's age: a child of 10 to 12 years",
        AgeAssessed(
            acted_at=_B.after(hours=2),
            age_group=AgeGroup.CHILD,
            method=AgeMethod.SOCIAL_ASSESSMENT,
            certainty=Certainty.PROBABLE,
            reasoning="By his schooling and by what he tells; he has no document with him.",
            age_from=10,
            age_to=12,
        ),
    ),
    _step(
        "A.name_put_right",
        "xk-dhtqnj",
        "The police put the girl's name right, by her birth certificate",
        IdentityRecorded(
            acted_at=_A.after(days=9, hours=2),
            ground=StatementGround.ENTRY_ERROR,
            source=StatementSource.DOCUMENT,
            certainty=Certainty.CONFIRMED,
            first_name="Ana",
        ),
    ),
    _started(
        "A.medical",
        at(2025, 12, 5, 9),
        ServiceKind.MEDICAL,
        "xk-shelter-children",
        "The shelter arranges medical care for the girl",
        description="General examination and vaccinations.",
        health_note="Underweight and short of sleep; no acute illness.",
        worker="Arta Shembulli",
    ),
    _started(
        "A.psychosocial",
        at(2025, 12, 5, 13),
        ServiceKind.PSYCHOSOCIAL,
        "xk-ngo-support",
        "A supporting NGO begins psychosocial care for the girl",
        description="Two talks a week with a psychologist, in her language.",
        health_note="Anxious about her brother; calmer since both are in one house.",
        worker="Blerta Shembulli",
    ),
    _step(
        "A.identified",
        "xk-dhtqnj",
        "Police formally identify the girl as a victim",
        VictimIdentified(
            acted_at=_A.after(days=5, hours=1),
            status=TraffickingStatus.ACTUAL,
            decided_by=DecisionMakingOrg.POLICE,
            types_of_exploitation=(TypeOfExploitation.FORCED_MARRIAGE,),
            citizenship="ME",
            methods_of_recruitment=(MethodOfRecruitment.FAMILY,),
            methods_of_control=(
                MethodOfControl.THREATENS_CHILDREN_FAMILY,
                MethodOfControl.WITHHOLDS_DOCUMENTS,
            ),
            relationship_to_trafficker=RelationshipToTrafficker.FAMILIAL,
            vulnerabilities=(Vulnerability.POVERTY, Vulnerability.EDUCATION),
            age_when_trafficked=14,
            statement="Her father agreed on the marriage; nobody asked her.",
        ),
    ),
    _started(
        "B.interpretation",
        at(2025, 12, 8, 12),
        ServiceKind.INTERPRETATION,
        "xk-ngo-support",
        "An interpreter is provided for the boy",
        description="Montenegrin and Albanian, for talks and for the school.",
        worker="Nora Shembulli",
    ),
    _step(
        "A.requested",
        "xk-nac",
        "Kosovo's coordinator asks Montenegro about the girl's family",
        InformationRequested(
            acted_at=at(2025, 12, 9, 13),
            addressee="me-nac",
            topics=(InformationTopic.IDENTITY, InformationTopic.FAMILY, InformationTopic.RISK),
            purpose=Purpose.PROTECTION,
            answer_by=date(2026, 1, 20),
            question="Who are the parents, and would the children be safe with them?",
        ),
    ),
    _step(
        "B.identified",
        "xk-dhtqnj",
        "Police formally identify the boy as a victim",
        VictimIdentified(
            acted_at=_B.after(days=5, hours=1),
            status=TraffickingStatus.ACTUAL,
            decided_by=DecisionMakingOrg.POLICE,
            types_of_exploitation=(TypeOfExploitation.FORCED_BEGGING,),
            citizenship="ME",
            methods_of_recruitment=(MethodOfRecruitment.FAMILY,),
            methods_of_control=(
                MethodOfControl.TAKES_EARNINGS,
                MethodOfControl.WITHHOLDS_NECESSITIES,
            ),
            relationship_to_trafficker=RelationshipToTrafficker.ACQUAINTED,
            vulnerabilities=(Vulnerability.POVERTY, Vulnerability.MIGRATION),
            age_when_trafficked=10,
            statement="He begged from morning to evening and gave everything away.",
        ),
    ),
    _step(
        "A.acknowledged",
        "me-nac",
        "Montenegro acknowledges the request",
        lambda ids: InformationAcknowledged(
            acted_at=at(2025, 12, 10, 11), request=ids["A.requested"]
        ),
    ),
    _started(
        "A.legal",
        at(2025, 12, 11, 10),
        ServiceKind.LEGAL,
        "xk-ngo-support",
        "A lawyer begins to represent the girl",
        description="Represents her as the injured party, also after her return.",
        worker="Ilir Shembulli",
    ),
    _started(
        "B.education",
        at(2025, 12, 15, 8),
        ServiceKind.EDUCATION,
        "xk-shelter-children",
        "The boy begins lessons at the shelter",
        description="Reading and arithmetic, as in the fourth grade.",
        worker="Mimoza Shembulli",
    ),
    _step(
        "A.best_interests_assessed",
        _A.social_work,
        "The girl's best interests: a return, into care",
        BestInterestsAssessed(
            acted_at=_A.after(days=26),
            outcome=BestInterestsOutcome.RETURN_TO_CARE,
            child_heard=True,
            reasoning="Her language and school are in Montenegro; her father's house is not safe.",
            childs_view="She wants to go to school and to be near her brother, not to marry.",
        ),
    ),
    _step(
        "B.best_interests_assessed",
        _B.social_work,
        "The boy's best interests: a return to family, if it is safe",
        BestInterestsAssessed(
            acted_at=_B.after(days=26),
            outcome=BestInterestsOutcome.RETURN_TO_FAMILY,
            child_heard=True,
            reasoning="To the mother, provided that she is found and assessed as suitable.",
            childs_view="He wants to live with his mother and to visit Ana.",
        ),
    ),
)
"""The finding and the protection of each child, until the end of 2025."""

_AGREED = (
    _ended(
        "A.medical",
        at(2026, 1, 12, 14),
        "xk-shelter-children",
        ServiceEnd.COMPLETED,
        "The girl's medical care in Kosovo is completed",
        result="In good health.",
    ),
    _step(
        "A.family_traced",
        _A.home_social_work,
        "Montenegro's social work traces the girl's parents",
        FamilyTraced(
            acted_at=at(2026, 1, 14, 10),
            outcome=FamilyOutcome.INVOLVED,
            family_details="The father, Petar Izmišljenović, took money for the marriage.",
        ),
    ),
    _step(
        "B.family_traced",
        _B.home_social_work,
        "Montenegro's social work traces the boy's mother",
        FamilyTraced(
            acted_at=at(2026, 1, 15, 10),
            outcome=FamilyOutcome.FOUND,
            family_details="The mother, Milica Izmišljenović, lives with her own parents.",
        ),
    ),
    _step(
        "A.provided",
        "me-nac",
        "Montenegro answers what Kosovo asked",
        lambda ids: InformationProvided(
            acted_at=at(2026, 1, 16, 9),
            request=ids["A.requested"],
            complete=True,
            answer="Identity confirmed; the parents live apart, the father is a suspect.",
        ),
    ),
    _step(
        "A.charged",
        "xk-prosecution-prishtina",
        "The prosecutor brings charges",
        Charged(
            acted_at=at(2026, 1, 20, 10),
            offences=(Offence.TRAFFICKING_IN_PERSONS, Offence.FORCED_MARRIAGE),
            reference="EXAMPLE-C-A/2026",
            accused="Two adults, named Primjer in the file.",
        ),
    ),
    _step(
        "A.prioritised_by_court",
        "xk-court-prishtina",
        "The court treats the girl's case as urgent",
        CasePrioritised(
            acted_at=at(2026, 1, 22, 9),
            priority=Priority.URGENT,
            reasoning="She is to be heard once, and before her return.",
        ),
    ),
    _step(
        "A.hearing_held",
        "xk-court-prishtina",
        "The court hears the girl with protective measures",
        HearingHeld(
            acted_at=at(2026, 1, 29, 9),
            hearing=HearingKind.PROTECTED_CHILD_STATEMENT,
            victim_protected=True,
            minutes="Heard by video with a psychologist; the accused neither seen nor heard.",
        ),
    ),
    _step(
        "A.joint_investigation_agreed",
        "me-nac",
        "The teams agree on a joint investigation",
        JointActionAgreed(
            acted_at=at(2026, 2, 5, 12),
            joint_action=JointActionKind.JOINT_INVESTIGATION,
            responsible=("xk-dhtqnj", "me-police-thb"),
            due=date(2026, 4, 30),
            description="How the marriage was paid for, on both sides of the border.",
        ),
    ),
    _step(
        "B.return_preparation_agreed",
        "me-nac",
        "The teams agree to prepare the boy's return together",
        JointActionAgreed(
            acted_at=at(2026, 2, 5, 12, 20),
            joint_action=JointActionKind.RETURN_PREPARATION,
            responsible=(_B.social_work, _B.home_social_work),
            due=date(2026, 3, 13),
            description="Calls with the mother, a place at school, the journey.",
        ),
    ),
    _step(
        "A.family_assessed",
        _A.home_social_work,
        "The parental family is found not suitable for the girl",
        FamilyAssessed(
            acted_at=at(2026, 2, 11, 10),
            suitable=False,
            conditions="Another safe place is needed; an aunt is to be assessed later.",
            assessment="The father stands by the marriage; his relatives also live by the mother.",
        ),
    ),
    _step(
        "B.family_assessed",
        _B.home_social_work,
        "The mother's home is found suitable for the boy, on conditions",
        FamilyAssessed(
            acted_at=at(2026, 2, 12, 10),
            suitable=True,
            conditions="The father stays away, the boy goes to school, and visits are weekly.",
            assessment="The mother and the grandparents are ready, and poor.",
        ),
    ),
)
"""Family, proceedings, and what the countries agree on, until February."""

_RETURNED = (
    _step(
        "A.consent_to_return",
        _A.social_work,
        "The girl's guardian consents to the return",
        ConsentGiven(
            acted_at=at(2026, 3, 2, 10),
            scopes=(ConsentScope.RETURN,),
            given_by=ConsentGiver.GUARDIAN,
            form=ConsentForm.WRITTEN,
            language="sqi",
            signed_by=_A.guardian,
        ),
    ),
    _step(
        "B.return_preparation_done",
        _B.home_social_work,
        "Montenegro reports the boy's return prepared",
        lambda ids: JointActionDone(
            acted_at=at(2026, 3, 6, 12),
            agreed_action=ids["B.return_preparation_agreed"],
            outcome=JointActionOutcome.ACHIEVED,
            report="Four calls with the mother; the school in Nikšić expects him.",
        ),
    ),
    _ended(
        "A.psychosocial",
        at(2026, 3, 17, 10),
        "xk-ngo-support",
        ServiceEnd.HANDED_OVER,
        "The girl's psychosocial care is handed over to Montenegro",
        result="Passed on to the psychologist of the shelter that takes her in.",
    ),
    _ended(
        "B.interpretation",
        at(2026, 3, 17, 11),
        "xk-ngo-support",
        ServiceEnd.NO_LONGER_NEEDED,
        "The boy needs no interpreter any more",
        result="He returns to where his language is spoken.",
    ),
    _ended(
        "B.education",
        at(2026, 3, 17, 12),
        "xk-shelter-children",
        ServiceEnd.HANDED_OVER,
        "The boy's lessons are handed over to his new school",
        result="Reads well now; a report goes to the school.",
    ),
    _step(
        "A.sheltered_at_home",
        "me-shelter",
        "The shelter in Montenegro takes the girl in",
        Sheltered(
            acted_at=at(2026, 3, 18, 15),
            shelter_kind=ShelterKind.SPECIALISED,
            provider="me-shelter",
            address=_A.return_to,
            intake_note="Has a room of her own; speaks with her brother by telephone.",
        ),
    ),
    _step(
        "A.reintegration_planned",
        _A.home_social_work,
        "A reintegration plan is agreed for the girl",
        ReintegrationPlanned(
            acted_at=at(2026, 3, 11, 10),
            plan_types=(
                SupportPlanType.EDUCATION,
                SupportPlanType.HEALTH,
                SupportPlanType.SOCIAL_CARE,
            ),
            planned_end_date=date(2027, 3, 31),
            objectives="Back at school, and a decision on living with her aunt.",
            action_plan="Weekly talks; lessons to catch up on two lost years.",
        ),
    ),
    _step(
        "B.reintegration_planned",
        _B.home_social_work,
        "A reintegration plan is agreed for the boy",
        ReintegrationPlanned(
            acted_at=at(2026, 3, 12, 10),
            plan_types=(SupportPlanType.EDUCATION, SupportPlanType.FINANCIAL),
            planned_end_date=date(2027, 3, 31),
            objectives="At school every day; the household lives without his earnings.",
            action_plan="A school assistant, and support in cash for the mother.",
        ),
    ),
    _step(
        "A.joint_investigation_done",
        "me-police-thb",
        "Montenegro's police report the joint investigation done",
        lambda ids: JointActionDone(
            acted_at=at(2026, 4, 15, 9),
            agreed_action=ids["A.joint_investigation_agreed"],
            outcome=JointActionOutcome.ACHIEVED,
            report="The payment is proven; the evidence is with both prosecutions.",
        ),
    ),
    _step(
        "B.monitored_by_mistake",
        "me-ngo-support",
        "An NGO enters its visit to the girl in the boy's case",
        ReintegrationMonitored(
            acted_at=at(2026, 4, 28, 10),
            finding=MonitoringFinding.PROGRESSING,
            report="Visited at the shelter; goes to school.",
        ),
    ),
    _step(
        "A.monitored",
        "me-ngo-support",
        "The visit is entered where it belongs: the girl progresses",
        ReintegrationMonitored(
            acted_at=at(2026, 4, 28, 10),
            finding=MonitoringFinding.PROGRESSING,
            next_visit=date(2026, 5, 29),
            report="Visited at the shelter; goes to school.",
            care_note="Laughs again; still afraid of cars that stop near her.",
            home_address=_A.return_to,
        ),
    ),
    _step(
        "B.corrected",
        "me-ngo-support",
        "The NGO annuls the mistaken entry in the boy's case",
        lambda ids: Correction(
            acted_at=at(2026, 5, 4, 8, 20),
            corrects=ids["B.monitored_by_mistake"],
            effect=CorrectionEffect.ANNULLED,
            reason=CorrectionReason.WRONG_CASE,
            explanation="The visit was to his sister; he has still to be visited.",
        ),
    ),
    _step(
        "A.asked_of_prosecution",
        _A.home_social_work,
        "Montenegro asks how the trial goes; the answer is still open",
        InformationRequested(
            acted_at=at(2026, 5, 13, 9),
            addressee="xk-prosecution-prishtina",
            topics=(InformationTopic.PROCEEDINGS, InformationTopic.RISK),
            purpose=Purpose.REINTEGRATION,
            answer_by=date(2026, 6, 12),
            question="Does the court need her again, and are the accused still detained?",
        ),
    ),
)
"""The return and what follows it, from March."""


def _acted_at(step: Step) -> datetime:
    anything: Ids = defaultdict(lambda: UUID(int=0))  # no time of an act depends on an id
    return step.action(anything).acted_at


STORY: tuple[Step, ...] = tuple(
    sorted((*_steps_of(_A), *_steps_of(_B), *_FOUND, *_AGREED, *_RETURNED), key=_acted_at)
)
"""Both cases from the opening to the follow-up, by the time of each act."""


def _forbidden(
    name: str,
    agency: str,
    caption: str,
    action: Action,
    *,
    after: str,
    ground: Ground,
    rule: str,
) -> Forbidden:
    return Forbidden(name, after, name[0], agency, _given_ids(action), caption, ground, rule)


FORBIDDEN: tuple[Forbidden, ...] = (
    _forbidden(
        "A.charged_by_shelter",
        "xk-shelter-children",
        "A shelter tries to bring charges",
        Charged(acted_at=_A.after(days=5, hours=6), offences=(Offence.FORCED_MARRIAGE,)),
        after="A.investigated",
        ground=Ground.NOT_ALLOWED,
        rule="role",
    ),
    _forbidden(
        "B.return_requested_too_early",
        _B.social_work,
        "A return is requested before the boy's best interests are assessed",
        ReturnRequested(
            acted_at=_B.after(days=6, hours=1),
            destination="ME",
            planned_for=date(2025, 12, 19),
        ),
        after="B.consent_given",
        ground=Ground.OUT_OF_PROCEDURE,
        rule="requires-best_interests_assessed",
    ),
    _forbidden(
        "A.investigated_by_albania",
        "al-police-thb",
        "Albania's police, not party to the case, act on it",
        Investigated(acted_at=at(2026, 1, 20, 15), state=InvestigationState.OPENED),
        after="A.charged",
        ground=Ground.UNKNOWN,
        rule="unknown-case",
    ),
    _forbidden(
        "A.received_before_departure",
        "me-border",
        "Montenegro confirms the reception before the girl departed",
        Received(acted_at=at(2026, 3, 10, 16), in_person=True),
        after="A.travel_document_issued",
        ground=Ground.OUT_OF_PROCEDURE,
        rule="requires-departed",
    ),
    _forbidden(
        "B.received_by_kosovo",
        "xk-border",
        "Kosovo, which hands the boy over, confirms the reception itself",
        Received(acted_at=at(2026, 3, 18, 10, 30), in_person=True),
        after="B.handover_confirmed",
        ground=Ground.NOT_ALLOWED,
        rule="handover-by-the-receiver",
    ),
)
"""The actions that the ledger must refuse, each by another rule."""
