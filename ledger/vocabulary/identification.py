"""Stage 1: identification (USOP, preliminary and formal identification)."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ledger.vocabulary.action import (
    Action,
    Exploitation,
    Family,
    OnCase,
    OnLedger,
)
from ledger.vocabulary.person import Doubts, PersonFields, Quarter
from ledger.vocabulary.picklists import (
    AgeGroup,
    DecisionMakingOrg,
    FurtherForm,
    Indicator,
    LabourIndustry,
    MethodOfControl,
    MethodOfRecruitment,
    OpeningGround,
    Platform,
    RelationshipToTrafficker,
    StatusGround,
    TraffickingStatus,
    TypeOfExploitation,
    TypeOfSexExploitation,
    Vulnerability,
)
from ledger.vocabulary.picklists import Stage as S
from ledger.vocabulary.types import Country, Text

FurtherForms = Annotated[tuple[FurtherForm, ...], Field(min_length=1, max_length=2)]

VictimStatus = Literal[TraffickingStatus.POSSIBLE, TraffickingStatus.ACTUAL]
"""The two victim statuses; its absence is an action of its own (``not_a_victim``)."""


ProtectedAs = Literal[TraffickingStatus.POSSIBLE, TraffickingStatus.AT_RISK]
"""The statuses that need no formal identification: potential victim, and person at risk."""


class CaseOpened(PersonFields, Action):
    """A case is opened after the indicators were assessed: on suspicion, or on a risk."""

    kind: ClassVar[str] = "case_opened"
    stage: ClassVar[S] = S.IDENTIFICATION

    age_group: OnLedger[AgeGroup]
    countries: OnLedger[Annotated[tuple[Country, ...], Field(min_length=1, max_length=8)]]
    """The parties to the case from its start; others join when they are addressed."""
    of_age_from: OnLedger[Quarter | None] = None
    """The quarter in which the person comes of age."""
    confirmed: OnLedger[Doubts | None] = None
    protected_as: OnLedger[ProtectedAs | None] = None
    """Without it, the person is suspected to be a victim: a potential victim."""
    ground: OnCase[OpeningGround]
    indicators: OnCase[Annotated[tuple[Indicator, ...], Field(min_length=1, max_length=10)]]
    indicators_note: OnCase[Text | None] = None
    family_note: Family[Text | None] = None


class VictimIdentified(Action):
    """Formal identification as a presumed or actual victim of trafficking."""

    kind: ClassVar[str] = "victim_identified"
    stage: ClassVar[S] = S.IDENTIFICATION

    status: OnLedger[VictimStatus]
    decided_by: OnLedger[DecisionMakingOrg]
    types_of_exploitation: OnCase[
        Annotated[tuple[TypeOfExploitation, ...], Field(min_length=1, max_length=11)]
    ]
    citizenship: OnCase[Country | None] = None
    further_forms: OnCase[FurtherForms | None] = None
    """Forms of exploitation that HTCDS counts as ``Other``."""
    methods_of_recruitment: Exploitation[tuple[MethodOfRecruitment, ...] | None] = None
    recruitment_platforms: Exploitation[tuple[Platform, ...] | None] = None
    methods_of_control: Exploitation[tuple[MethodOfControl, ...] | None] = None
    forced_labour_industry: Exploitation[LabourIndustry | None] = None
    types_of_sex_exploitation: Exploitation[tuple[TypeOfSexExploitation, ...] | None] = None
    exploitation_platforms: Exploitation[tuple[Platform, ...] | None] = None
    relationship_to_trafficker: Exploitation[RelationshipToTrafficker | None] = None
    vulnerabilities: Exploitation[tuple[Vulnerability, ...] | None] = None
    age_when_trafficked: Exploitation[Annotated[int, Field(ge=0, le=120)] | None] = None
    statement: Exploitation[Text | None] = None


class VictimStatusChanged(Action):
    """The formal status of the person changed."""

    kind: ClassVar[str] = "victim_status_changed"
    stage: ClassVar[S] = S.IDENTIFICATION

    status: OnLedger[VictimStatus]
    decided_by: OnLedger[DecisionMakingOrg]
    ground: OnLedger[StatusGround]
    reasoning: OnCase[Text | None] = None


class NotAVictim(Action):
    """The person was found not to be a victim of trafficking."""

    kind: ClassVar[str] = "not_a_victim"
    stage: ClassVar[S] = S.IDENTIFICATION

    decided_by: OnLedger[DecisionMakingOrg]
    ground: OnLedger[StatusGround]
    reasoning: OnCase[Text | None] = None
