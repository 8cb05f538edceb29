"""The events that every store is given: cases of ten actions by agencies of three countries."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from itertools import cycle
from uuid import UUID

from benchmarks.peers.peer import Given
from ledger.signing import signed_action
from ledger.system.identifiers import new_id
from ledger.vocabulary import Action
from ledger.vocabulary.coordination import (
    CasePrioritised,
    ConsentGiven,
    InformationAcknowledged,
    InformationProvided,
    InformationRequested,
    MeetingHeld,
)
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import (
    ConsentForm,
    ConsentGiver,
    ConsentScope,
    Gender,
    GuardianKind,
    InformationTopic,
    Priority,
    Purpose,
    RiskLevel,
    ShelterKind,
)
from ledger.vocabulary.protection import GuardianAppointed, RiskAssessed, Sheltered
from tests.support.actions import START, opening
from tests.support.agencies import Agencies

Case = Sequence[Given]
CASE_LENGTH = 10


def signed_case(agencies: Agencies) -> Case:
    """One case, of which the protocol allows every step. Whom it tells of is invented."""
    case_id = new_id()
    ids = [new_id() for _ in range(CASE_LENGTH)]
    return [
        _given(agencies, agency, action, case_id, version, ids[version - 1])
        for version, (agency, action) in enumerate(_steps(ids), 1)
    ]


def unsigned_cases(signed: Sequence[Case]) -> Iterator[Case]:
    """Yield the same bytes again and again, as those of new cases.

    For stores that do not look into them: signing takes longer than storing.
    """
    for case in cycle(signed):
        case_id = new_id()
        yield [replace(given, case_id=case_id, action_id=new_id()) for given in case]


def _steps(ids: Sequence[UUID]) -> Iterator[tuple[str, Action]]:
    hours = iter(range(1, CASE_LENGTH + 1))

    def at() -> dict[str, object]:
        return {"acted_at": START + timedelta(hours=next(hours))}

    yield (
        "xk-dhtqnj",
        opening(
            ("XK", "ME", "AL"),
            first_name="Primjer",
            second_name="Izmišljenović",
            birthdate=date(2010, 5, 17),
            gender=Gender.FEMININE,
            citizenship=("ME",),
        ),
    )
    yield (
        "xk-dhtqnj",
        RiskAssessed(
            **at(),
            risk_level=RiskLevel.HIGH,
            risk_factors="The household she was taken from looks for her.",
            threats="She was told not to leave the house.",
        ),
    )
    yield (
        "xk-shelter-children",
        Sheltered(
            **at(),
            shelter_kind=ShelterKind.SPECIALISED,
            provider="xk-shelter-children",
            address="Rruga e Shembullit 0, Prishtina",
            intake_note="Arrived tired and ate well.",
        ),
    )
    yield (
        "xk-csw-prishtina",
        GuardianAppointed(
            **at(),
            guardian_kind=GuardianKind.SOCIAL_WORK_CENTRE,
            decision_reference="EXAMPLE-G/2026",
            guardian_name="Drita Shembulli",
        ),
    )
    yield (
        "xk-csw-prishtina",
        ConsentGiven(
            **at(),
            scopes=(ConsentScope.ASSISTANCE, ConsentScope.INFORMATION_EXCHANGE),
            given_by=ConsentGiver.GUARDIAN,
            form=ConsentForm.WRITTEN,
            groups=(FieldGroup.IDENTITY, FieldGroup.FAMILY),
            recipients=("ME", "AL"),
            signed_by="Drita Shembulli",
        ),
    )
    yield (
        "xk-nac",
        InformationRequested(
            **at(),
            addressee="me-csw-podgorica",
            topics=(InformationTopic.FAMILY, InformationTopic.RISK),
            purpose=Purpose.PROTECTION,
            question="Is the family known to you?",
        ),
    )
    yield "me-csw-podgorica", InformationAcknowledged(**at(), request=ids[5])
    yield (
        "me-csw-podgorica",
        InformationProvided(
            **at(), request=ids[5], complete=True, answer="Known since last year; two siblings."
        ),
    )
    yield (
        "al-nac",
        MeetingHeld(
            **at(),
            host="AL",
            countries=("XK", "ME", "AL"),
            agencies=("xk-nac", "me-nac", "al-nac", "al-social-tirana"),
            minutes="Agreed: the family is assessed first.",
        ),
    )
    yield (
        "xk-prosecution-prishtina",
        CasePrioritised(**at(), priority=Priority.HIGH, reasoning="A child's case."),
    )


def _given(
    agencies: Agencies, agency: str, action: Action, case_id: UUID, version: int, action_id: UUID
) -> Given:
    sent = agencies.sign(agency, action, case_id, action_id)
    signed = signed_action.read(sent)
    return Given(
        case_id, version, signed.kind, signed.sd_jwt.encode("ascii"), action_id, agency, str(sent)
    )
