"""The names that a column may have: a field of HTCDS, or of an action as ``kind.field``.

``docs/htcds.md`` says what each field of the standard is here; a test holds this file against it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from pydantic import AwareDatetime

from ledger.vocabulary import CASE_ACTIONS, Action
from ledger.vocabulary.documents import DOCUMENT_FIELDS

KINDS = (
    "case_opened",
    "victim_identified",
    "victim_status_changed",
    "not_a_victim",
    "age_assessed",
    "guardian_appointed",
    "best_interests_assessed",
    "risk_assessed",
    "consent_given",
    "consent_withdrawn",
    "sheltered",
    "shelter_left",
    "protection_measure_taken",
    "protection_measure_ended",
    "service_started",
    "service_ended",
    "reintegration_planned",
    "reintegration_monitored",
    "meeting_held",
    "case_prioritised",
    "family_traced",
    "family_assessed",
    "return_decided",
    "travel_document_issued",
    "departed",
    "investigated",
    "charged",
    "hearing_held",
    "judgment_given",
    "compensation_recorded",
    "lead_transfer_offered",
    "case_closed",
)
"""The kinds that one agency can record of a case that it brings, in the order of one moment.

The rest answers what others did: they record it themselves.
"""

ENDS = {
    "protection_measure_ended": ("measure_action", "protection_measure_taken"),
    "service_ended": ("service_action", "service_started"),
}
"""The field by which a kind names another action of the same row, and that action's kind."""


class FieldPlace(NamedTuple):
    """A field of an action; a row may have several of one kind, counted from 1."""

    kind: str
    field: str
    number: int = 1

    def __str__(self) -> str:
        number = f"{self.number}." if self.number > 1 else ""
        return f"{self.kind}.{number}{self.field}"


_CARRIED = {
    "case_opened": {
        "prs_FirstName": "first_name",
        "prs_MiddleName": "middle_name",
        "prs_SecondName": "second_name",
        "prs_Birthdate": "birthdate",
        "prs_Gender": "gender",
        "prs_MaritalStatus": "marital_status",
        "prs_NumberOfChildren": "number_of_children",
        "prs_PrimaryLanguage": "primary_language",
        "prs_SecondaryLanguage": "secondary_language",
        "prs_HighestLevelOfEducation": "education",
        "prs_Citizenship": "citizenship",
        "prs_IdentityNumber": "identity_number",
        "prs_MobilePhone": "phone",
    },
    "victim_identified": {
        "vic_TraffickingStatus": "status",
        "vic_TraffickingStatusDecisionMakingOrg": "decided_by",
        "vic_RelationshipToTrafficker": "relationship_to_trafficker",
        "vic_AgeWhenTrafficked": "age_when_trafficked",
        "vic_RecruitmentWebsitesAndApps": "recruitment_platforms",
        "vic_MethodOfRecruitment": "methods_of_recruitment",
        "vic_MethodsOfControl": "methods_of_control",
        "vic_TypeOfExploitation": "types_of_exploitation",
        "vic_ForcedLabourIndustry": "forced_labour_industry",
        "vic_TypeOfSexExploitation": "types_of_sex_exploitation",
        "vic_ExploitationWebsitesAndApps": "exploitation_platforms",
        "vic_Vulnerabilities": "vulnerabilities",
    },
    "investigated": {
        "per_RoleInProcess": "perpetrator_roles",
        "per_RoleDetails": "suspects",
    },
    "case_closed": {"cas_ReasonForCaseClosure": "summary"},
    "lead_transfer_offered": {
        "cas_ReferredOrganisation": "to_agency",
        "cas_ReasonForOutgoingReferral": "reason",
        "cas_OutgoingReferralDate": "acted_at",
        "cas_OutgoingReferralDetails": "handover_note",
    },
    "reintegration_planned": {
        "spl_Objectives": "objectives",
        "spl_ActionPlan": "action_plan",
        "spl_PlannedEndDate": "planned_end_date",
        "spl_Type": "plan_types",
    },
}
CARRIED: Mapping[str, FieldPlace] = {
    name: FieldPlace(kind, field)
    for kind, fields in _CARRIED.items()
    for name, field in fields.items()
}
"""Fields of the standard that are one field of an action here."""

ADDRESS = (
    "prs_MailingStreet",
    "prs_MailingPostalCode",
    "prs_MailingCity",
    "prs_MailingState",
    "prs_MailingCountry",
)
"""Together ``case_opened.address``."""

STATEMENT = (
    "vic_DetailsOfVulnerabilities",
    "hte_Description",
    "vic_LocationOfRecruitment",
    "vic_LocationOfExploitation",
    "hte_Type",
    "hte_Date",
    "hte_Street",
    "hte_PostalCode",
    "hte_City",
    "hte_State",
    "hte_Country",
    "hte_Latitude",
    "hte_Longitude",
)
"""Together ``victim_identified.statement``: the first two as they are, the others named."""

SECOND_PHONE = "prs_HomePhone"
CONSENT = ("con_Consent", "vic_AgreementToManagePersonalData")
"""Checked: a consent was given. For what, by whom and when, other columns say."""
STATUS = "cas_Status"
DECEASED = "prs_Deceased"

NOT_IMPORTED = (
    "org_Name",
    "org_ShippingCity",
    "org_ShippingCountry",
    "org_ShippingState",
    "org_ShippingStreet",
    "org_ShippingPostalCode",
    "org_ShippingLongitude",
    "org_ShippingLatitude",
    "org_Phone",
    "org_Type",
    "prs_Salutation",
    "prs_Title",
    "prs_Email",
    "prs_MailingLongitude",
    "prs_MailingLatitude",
    "cas_CaseOwner",
    "cas_ReferringOrganisation",
    "cas_IncomingReferralDate",
    "cas_ReferringPrimaryCaseWorker",
    "cas_ReasonForIncomingReferral",
    "cas_IncomingReferralDetails",
    "cas_ReferredPrimaryCaseWorker",
    "cco_CaseComment",
    "spl_ActualEndDate",
)
"""Fields of the standard that no action of a new case has; an import counts them."""

_OTHERS = (*ADDRESS, *STATEMENT, SECOND_PHONE, *CONSENT, STATUS, DECEASED)
STANDARD = frozenset((*CARRIED, *_OTHERS, *NOT_IMPORTED))
"""Every field of the standard."""


class ValueFormat(StrEnum):
    """The format of a value in a file."""

    DATE = "date"
    MOMENT = "moment"
    PHONE = "phone"
    TEXT = "text"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class FieldShape:
    """The format of a field's values, and whether a field takes several."""

    several: bool
    form: ValueFormat


def place(name: str) -> FieldPlace | None:
    """Return the place that ``kind.field`` or ``kind.2.field`` names; ``None`` if there is none."""
    parts = name.split(".")
    if len(parts) == 3 and parts[1].isdecimal() and 1 <= int(parts[1]) <= 99:
        kind, number, field = parts[0], int(parts[1]), parts[2]
    elif len(parts) == 2:
        (kind, field), number = parts, 1
    else:
        return None
    if kind not in KINDS or (number > 1 and kind == "case_opened"):
        return None
    if field not in CASE_ACTIONS[kind].model_fields or field == ENDS.get(kind, ("",))[0]:
        return None
    if field in DOCUMENT_FIELDS:  # a table has no contents of documents
        return None
    return FieldPlace(kind, field, number)


def is_known(name: str) -> bool:
    """Return whether the import reads a column of this name."""
    return name in STANDARD or place(name) is not None


@cache
def shape(model: type[Action], field: str) -> FieldShape:
    """Return the form in which the values of ``field`` are written."""
    core = _core(get_type_hints(model, include_extras=True)[field])
    several = get_origin(core) is tuple
    if several:
        core = _core(get_args(core)[0])
    if field == "phone":
        form = ValueFormat.PHONE
    elif core in (datetime, AwareDatetime):
        form = ValueFormat.MOMENT
    elif core is date:
        form = ValueFormat.DATE
    else:
        form = ValueFormat.TEXT if core in (str, UUID) else ValueFormat.OTHER
    return FieldShape(several, form)


def choices(model: type[Action], field: str) -> type[StrEnum] | None:
    """Return the picklist of a field; ``None`` for a field of free values."""
    core = _core(get_type_hints(model, include_extras=True)[field])
    if get_origin(core) is tuple:
        core = _core(get_args(core)[0])
    return core if isinstance(core, type) and issubclass(core, StrEnum) else None


def _core(annotation: Any) -> Any:
    """Return the type in an annotation, without ``Annotated`` and without ``None``."""
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation = get_args(annotation)[0]
        elif origin in (Union, UnionType):
            annotation = next(arg for arg in get_args(annotation) if arg is not NoneType)
        else:
            return annotation
