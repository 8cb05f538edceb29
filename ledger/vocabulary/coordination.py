"""Coordination across the stages: consent, information, meetings, handovers, corrections."""

from datetime import date
from typing import Annotated, ClassVar

from pydantic import Field

from ledger.vocabulary.action import Action, Care, Identity, OnCase, OnLedger
from ledger.vocabulary.documents import CaseDocument
from ledger.vocabulary.picklists import (
    ClosureReason,
    ConsentForm,
    ConsentGiver,
    ConsentScope,
    CorrectionEffect,
    CorrectionReason,
    DeclineReason,
    InformationTopic,
    JointActionKind,
    JointActionOutcome,
    LeadRefusal,
    LegalBasis,
    Priority,
    Purpose,
    ReferralReason,
    ReopeningReason,
)
from ledger.vocabulary.picklists import Stage as S
from ledger.vocabulary.sharing import Groups
from ledger.vocabulary.types import (
    ActionId,
    AgencyId,
    Countries,
    Country,
    EmailAddress,
    Language,
    Languages,
    Name,
    TelephoneNumber,
    Text,
)


class ConsentGiven(Action):
    """The person or the guardian consented."""

    kind: ClassVar[str] = "consent_given"
    stage: ClassVar[S] = S.COORDINATION

    scopes: OnLedger[Annotated[tuple[ConsentScope, ...], Field(min_length=1, max_length=4)]]
    given_by: OnLedger[ConsentGiver]
    form: OnLedger[ConsentForm]
    expires: OnLedger[date | None] = None
    groups: OnLedger[Groups | None] = None
    """The personal fields that may be read on this consent; without any, it covers none."""
    recipients: OnLedger[Countries | None] = None
    """The other countries that they may be released to."""
    language: OnCase[Language | None] = None
    signed_by: Identity[Name | None] = None
    identity_document: Identity[CaseDocument | None] = None
    """The signed form of the consent."""


class ConsentWithdrawn(Action):
    """Consent was withdrawn, in part or whole."""

    kind: ClassVar[str] = "consent_withdrawn"
    stage: ClassVar[S] = S.COORDINATION

    scopes: OnLedger[Annotated[tuple[ConsentScope, ...], Field(min_length=1, max_length=4)]]
    withdrawn_by: OnLedger[ConsentGiver]
    circumstances: Care[Text | None] = None


class InformationRequested(Action):
    """One agency asks another for information; the addressee's country joins the case."""

    kind: ClassVar[str] = "information_requested"
    stage: ClassVar[S] = S.COORDINATION

    addressee: OnLedger[AgencyId]
    topics: OnLedger[Annotated[tuple[InformationTopic, ...], Field(min_length=1, max_length=7)]]
    purpose: OnLedger[Purpose]
    groups: OnLedger[Groups | None] = None
    """The personal fields asked for, by group."""
    basis: OnLedger[LegalBasis | None] = None
    """On what basis they could be released, as the asking agency sees it."""
    answer_by: OnLedger[date | None] = None
    question: OnCase[Text | None] = None


class InformationAcknowledged(Action):
    """The addressee confirms that the request arrived."""

    kind: ClassVar[str] = "information_acknowledged"
    stage: ClassVar[S] = S.COORDINATION

    request: OnLedger[ActionId]


class InformationProvided(Action):
    """The addressee answers."""

    kind: ClassVar[str] = "information_provided"
    stage: ClassVar[S] = S.COORDINATION

    request: OnLedger[ActionId]
    complete: OnLedger[bool]
    """Whether this answers the whole request; a partial answer leaves it open."""
    answer: OnCase[Text | None] = None


class InformationDeclined(Action):
    """The addressee declines, with a reason."""

    kind: ClassVar[str] = "information_declined"
    stage: ClassVar[S] = S.COORDINATION

    request: OnLedger[ActionId]
    reason: OnLedger[DeclineReason]
    explanation: OnCase[Text | None] = None


class MeetingHeld(Action):
    """A meeting of the multidisciplinary teams, of one country or both."""

    kind: ClassVar[str] = "meeting_held"
    stage: ClassVar[S] = S.COORDINATION

    host: OnLedger[Country]
    countries: OnLedger[Annotated[tuple[Country, ...], Field(min_length=1, max_length=8)]]
    agencies: OnCase[Annotated[tuple[AgencyId, ...], Field(min_length=1, max_length=40)]]
    minutes: OnCase[Text | None] = None
    participants: Identity[Text | None] = None
    case_document: OnCase[CaseDocument | None] = None
    """The minutes, which a coordinator of each country signs by their digest."""


class JointActionAgreed(Action):
    """The countries agreed to act together."""

    kind: ClassVar[str] = "joint_action_agreed"
    stage: ClassVar[S] = S.COORDINATION

    joint_action: OnLedger[JointActionKind]
    responsible: OnLedger[Annotated[tuple[AgencyId, ...], Field(min_length=1, max_length=10)]]
    due: OnLedger[date | None] = None
    description: OnCase[Text | None] = None


class JointActionDone(Action):
    """A responsible agency reports a joint action done."""

    kind: ClassVar[str] = "joint_action_done"
    stage: ClassVar[S] = S.COORDINATION

    agreed_action: OnLedger[ActionId]
    outcome: OnLedger[JointActionOutcome]
    report: OnCase[Text | None] = None


class CasePrioritised(Action):
    """Prosecutor, court or coordinator gave the case a priority."""

    kind: ClassVar[str] = "case_prioritised"
    stage: ClassVar[S] = S.COORDINATION

    priority: OnLedger[Priority]
    reasoning: OnCase[Text | None] = None


class CaseManagerNamed(Action):
    """A country names the person who manages the case for it. The country's newest one counts.

    Names and numbers of officials are personal data. The ledger has their digests alone. The
    vaults destroy what they hold on a manager once the country names another.
    """

    kind: ClassVar[str] = "case_manager_named"
    stage: ClassVar[S] = S.COORDINATION

    full_name: OnCase[Name]
    function: OnCase[Name]
    institution: OnCase[Name]
    telephone_24h: OnCase[TelephoneNumber]
    """Answered at all hours."""
    email: OnCase[EmailAddress | None] = None
    languages: OnCase[Languages]
    deputy_name: OnCase[Name | None] = None
    deputy_telephone: OnCase[TelephoneNumber | None] = None


class AgencyAdmitted(Action):
    """An agency of the country is admitted to the case, because it has to know of it.

    It counts where the protocol does not let every agency of a country see the country's cases.
    """

    kind: ClassVar[str] = "agency_admitted"
    stage: ClassVar[S] = S.COORDINATION

    agency: OnLedger[AgencyId]
    """An agency of the country of who admits it."""
    reason: OnCase[Text | None] = None


class AgencyAdmissionEnded(Action):
    """An agency of the country does not see the case any more."""

    kind: ClassVar[str] = "agency_admission_ended"
    stage: ClassVar[S] = S.COORDINATION

    agency: OnLedger[AgencyId]
    reason: OnCase[Text | None] = None


class LeadTransferOffered(Action):
    """The lead agency offers the lead to another agency, at home or abroad."""

    kind: ClassVar[str] = "lead_transfer_offered"
    stage: ClassVar[S] = S.COORDINATION

    to_agency: OnLedger[AgencyId]
    reason: OnLedger[ReferralReason]
    handover_note: OnCase[Text | None] = None


class LeadTransferAccepted(Action):
    """The agency to which the lead was offered accepts it."""

    kind: ClassVar[str] = "lead_transfer_accepted"
    stage: ClassVar[S] = S.COORDINATION

    offer: OnLedger[ActionId]


class LeadTransferDeclined(Action):
    """The agency to which the lead was offered declines it."""

    kind: ClassVar[str] = "lead_transfer_declined"
    stage: ClassVar[S] = S.COORDINATION

    offer: OnLedger[ActionId]
    reason: OnLedger[LeadRefusal]
    explanation: OnCase[Text | None] = None


class StateNotified(Action):
    """A country tells another of a person who may be a victim. That country joins the case."""

    kind: ClassVar[str] = "state_notified"
    stage: ClassVar[S] = S.COORDINATION

    country: OnLedger[Country]
    message: OnCase[Text | None] = None


class PersonReferred(Action):
    """The person is referred to an agency for assistance. The agency's country joins the case."""

    kind: ClassVar[str] = "person_referred"
    stage: ClassVar[S] = S.COORDINATION

    country: OnLedger[Country]
    reason: OnLedger[ReferralReason]
    referred_to: OnCase[AgencyId]
    """An agency of that country. It may be a shelter, so the other parties do not see it."""
    message: OnCase[Text | None] = None


class Correction(Action):
    """Answers a mistaken action by naming it; the mistaken one stays on the trail."""

    kind: ClassVar[str] = "correction"
    stage: ClassVar[S] = S.COORDINATION

    corrects: OnLedger[ActionId]
    effect: OnLedger[CorrectionEffect]
    reason: OnLedger[CorrectionReason]
    explanation: OnCase[Text | None] = None


class ErrorClosingProposed(Action):
    """The country that leads the case proposes to close it, since it was opened in error."""

    kind: ClassVar[str] = "error_closing_proposed"
    stage: ClassVar[S] = S.COORDINATION

    reasoning: OnCase[Text | None] = None


class ErrorClosingAccepted(Action):
    """Another country of the case agrees that it was opened in error."""

    kind: ClassVar[str] = "error_closing_accepted"
    stage: ClassVar[S] = S.COORDINATION

    proposal: OnLedger[ActionId]


class CaseClosed(Action):
    """The case was closed."""

    kind: ClassVar[str] = "case_closed"
    stage: ClassVar[S] = S.COORDINATION

    reason: OnLedger[ClosureReason]
    summary: OnCase[Text | None] = None


class CaseReopened(Action):
    """A closed case was reopened."""

    kind: ClassVar[str] = "case_reopened"
    stage: ClassVar[S] = S.COORDINATION

    reason: OnLedger[ReopeningReason]
    circumstances: OnCase[Text | None] = None
