"""Operational indicators of trafficking, as an agency assesses them at the opening and later.

Source of the indicators: Operational indicators of trafficking in human beings: results from a
Delphi survey implemented by the ILO and the European Commission (ILO, 2009): labour exploitation of
adults and of children. The lists for sexual exploitation are not here. Strengths and dimensions
are data of the protocol.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from ledger.vocabulary.action import Action, Exploitation, OnCase, OnLedger
from ledger.vocabulary.identification import ProtectedAs
from ledger.vocabulary.picklists import Stage as S
from ledger.vocabulary.types import Text


class IndicatorList(StrEnum):
    """The list by which indicators are assessed."""

    ADULTS_LABOUR = "adults_labour"
    CHILDREN_LABOUR = "children_labour"
    NONE_FITS = "none_fits"
    """No list of this program fits, as for sexual exploitation."""


PUBLISHED_LISTS = (IndicatorList.ADULTS_LABOUR, IndicatorList.CHILDREN_LABOUR)
"""The lists whose indicators the program has."""


class IndicatorObserver(StrEnum):
    """The observer of the indicators."""

    POLICE = "police"
    BORDER_POLICE = "border_police"
    LABOUR_INSPECTOR = "labour_inspector"
    SOCIAL_WORKER = "social_worker"
    SHELTER_STAFF = "shelter_staff"
    NGO_STAFF = "ngo_staff"
    HEALTH_WORKER = "health_worker"
    OWN_ACCOUNT = "own_account"
    DOCUMENT = "document"


class TraffickingAct(StrEnum):
    """The acts of the Palermo Protocol, article 3 (a)."""

    RECRUITMENT = "recruitment"
    TRANSPORT = "transport"
    TRANSFER = "transfer"
    HARBOURING = "harbouring"
    RECEIPT = "receipt"


class OperationalIndicator(StrEnum):
    """The indicators of the publication, in its order."""

    DECEPTIVE_DECEIVED_NATURE_JOB_LOCATION = "deceptive_deceived_nature_job_location"
    DECEPTIVE_DECEIVED_WAGES_EARNINGS = "deceptive_deceived_wages_earnings"
    DECEPTIVE_DECEIVED_CONDITIONS_WORK = "deceptive_deceived_conditions_work"
    DECEPTIVE_DECEIVED_CONTENT_LEGALITY_WORK = "deceptive_deceived_content_legality_work"
    DECEPTIVE_DECEIVED_HOUSING_LIVING_CONDITIONS = "deceptive_deceived_housing_living_conditions"
    DECEPTIVE_DECEIVED_LEGAL_DOCUMENTATION_OBTAINING = (
        "deceptive_deceived_legal_documentation_obtaining"
    )
    DECEPTIVE_DECEIVED_TRAVEL_RECRUITMENT_CONDITIONS = (
        "deceptive_deceived_travel_recruitment_conditions"
    )
    DECEPTIVE_DECEIVED_FAMILY_REUNIFICATION = "deceptive_deceived_family_reunification"
    DECEPTIVE_DECEIVED_THROUGH_PROMISES_MARRIAGE = "deceptive_deceived_through_promises_marriage"
    DECEPTIVE_DECEIVED_ACCESS_EDUCATION_OPPORTUNITIES = (
        "deceptive_deceived_access_education_opportunities"
    )
    COERCIVE_VIOLENCE_VICTIMS = "coercive_violence_victims"
    COERCIVE_THREATS_VIOLENCE_AGAINST_VICTIM = "coercive_threats_violence_against_victim"
    COERCIVE_ABDUCTION_FORCED_MARRIAGE_FORCED = "coercive_abduction_forced_marriage_forced"
    COERCIVE_DEBT_BONDAGE = "coercive_debt_bondage"
    COERCIVE_CONFISCATION_DOCUMENTS = "coercive_confiscation_documents"
    COERCIVE_ISOLATION_CONFINEMENT_SURVEILLANCE = "coercive_isolation_confinement_surveillance"
    COERCIVE_THREAT_DENUNCIATION_AUTHORITIES = "coercive_threat_denunciation_authorities"
    COERCIVE_THREATS_INFORM_FAMILY_COMMUNITY = "coercive_threats_inform_family_community"
    COERCIVE_VIOLENCE_FAMILY = "coercive_violence_family"
    COERCIVE_WITHHOLDING_MONEY = "coercive_withholding_money"
    ABUSE_ABUSE_DIFFICULT_FAMILY_SITUATION = "abuse_abuse_difficult_family_situation"
    ABUSE_ABUSE_ILLEGAL_STATUS = "abuse_abuse_illegal_status"
    ABUSE_ABUSE_LACK_EDUCATION = "abuse_abuse_lack_education"
    ABUSE_ABUSE_LACK_INFORMATION = "abuse_abuse_lack_information"
    ABUSE_CONTROL_EXPLOITERS = "abuse_control_exploiters"
    ABUSE_ECONOMIC_REASONS = "abuse_economic_reasons"
    ABUSE_FALSE_INFORMATION_SUCCESSFUL_MIGRATION = "abuse_false_information_successful_migration"
    ABUSE_FALSE_INFORMATION_LAW_ATTITUDE = "abuse_false_information_law_attitude"
    ABUSE_FAMILY_SITUATION = "abuse_family_situation"
    ABUSE_PERSONAL_SITUATION = "abuse_personal_situation"
    ABUSE_PSYCHOLOGICAL_EMOTIONAL_DEPENDENCY = "abuse_psychological_emotional_dependency"
    ABUSE_RELATIONSHIP_WITH_AUTHORITIES_LEGAL = "abuse_relationship_with_authorities_legal"
    ABUSE_DIFFICULTIES_PAST = "abuse_difficulties_past"
    ABUSE_DIFFICULTY_ORGANISE_TRAVEL = "abuse_difficulty_organise_travel"
    ABUSE_ABUSE_CULTURAL_RELIGIOUS_BELIEFS = "abuse_abuse_cultural_religious_beliefs"
    ABUSE_GENERAL_CONTEXT = "abuse_general_context"
    EXPLOITATION_EXCESSIVE_WORKING_DAYS_HOURS = "exploitation_excessive_working_days_hours"
    EXPLOITATION_LOW_NO_SALARY = "exploitation_low_no_salary"
    EXPLOITATION_WAGE_MANIPULATION = "exploitation_wage_manipulation"
    EXPLOITATION_BAD_LIVING_CONDITIONS = "exploitation_bad_living_conditions"
    EXPLOITATION_VERY_BAD_WORKING_CONDITIONS = "exploitation_very_bad_working_conditions"
    EXPLOITATION_HAZARDOUS_WORK = "exploitation_hazardous_work"
    EXPLOITATION_NO_RESPECT_LABOUR_LAWS = "exploitation_no_respect_labour_laws"
    EXPLOITATION_NO_SOCIAL_PROTECTION = "exploitation_no_social_protection"
    EXPLOITATION_NO_ACCESS_EDUCATION = "exploitation_no_access_education"
    COERCION_CONFISCATION_DOCUMENTS = "coercion_confiscation_documents"
    COERCION_DEBT_BONDAGE = "coercion_debt_bondage"
    COERCION_ISOLATION_CONFINEMENT_SURVEILLANCE = "coercion_isolation_confinement_surveillance"
    COERCION_VIOLENCE_VICTIMS = "coercion_violence_victims"
    COERCION_THREATS_VIOLENCE_AGAINST_VICTIM = "coercion_threats_violence_against_victim"
    COERCION_FORCED_INTO_ILLICIT_CRIMINAL = "coercion_forced_into_illicit_criminal"
    COERCION_FORCED_TASKS_CLIENTS = "coercion_forced_tasks_clients"
    COERCION_UNDER_STRONG_INFLUENCE = "coercion_under_strong_influence"
    COERCION_FORCED_ACT_AGAINST_PEERS = "coercion_forced_act_against_peers"
    COERCION_FORCED_LIE_AUTHORITIES_FAMILY = "coercion_forced_lie_authorities_family"
    COERCION_THREAT_DENUNCIATION_AUTHORITIES = "coercion_threat_denunciation_authorities"
    COERCION_THREAT_IMPOSE_EVEN_WORSE = "coercion_threat_impose_even_worse"
    COERCION_VIOLENCE_FAMILY = "coercion_violence_family"
    COERCION_WITHHOLDING_WAGES = "coercion_withholding_wages"
    COERCION_THREATS_INFORM_FAMILY_COMMUNITY = "coercion_threats_inform_family_community"
    DEPENDENCE_DEPENDENCY_EXPLOITERS = "dependence_dependency_exploiters"
    DEPENDENCE_DIFFICULTY_LIVE_UNKNOWN_AREA = "dependence_difficulty_live_unknown_area"
    DEPENDENCE_ECONOMIC_REASONS = "dependence_economic_reasons"
    DEPENDENCE_FAMILY_SITUATION = "dependence_family_situation"
    DEPENDENCE_RELATIONSHIP_WITH_AUTHORITIES_LEGAL = (
        "dependence_relationship_with_authorities_legal"
    )
    DEPENDENCE_DIFFICULTIES_PAST = "dependence_difficulties_past"
    DEPENDENCE_PERSONAL_CHARACTERISTICS = "dependence_personal_characteristics"


class IndicatorsAssessed(Action):
    """Operational indicators were assessed by one of the lists. Their combination decides nothing.

    The agency says whether the person is protected as a potential victim or as a person at risk
    from now on, if it says so."""

    kind: ClassVar[str] = "indicators_assessed"
    stage: ClassVar[S] = S.IDENTIFICATION
    between_fields: ClassVar[Mapping[str, Any]] = {
        "if": {"properties": {"indicator_list": {"const": IndicatorList.NONE_FITS.value}}},
        "then": {"properties": {"observed": False}},
        "else": {"required": ["observed"]},
    }
    example_fields: ClassVar[tuple[str, ...]] = ("observed",)

    protected_as: OnLedger[ProtectedAs | None] = None
    """Without it, the status of the person stays as it is."""
    indicator_list: OnCase[IndicatorList]
    observed: OnCase[
        Annotated[tuple[OperationalIndicator, ...], Field(min_length=1, max_length=67)] | None
    ] = None
    """The observed indicators of the list. Where no list fits, there are none."""
    observers: OnCase[Annotated[tuple[IndicatorObserver, ...], Field(min_length=1, max_length=9)]]
    acts_of_trafficking: OnCase[
        Annotated[tuple[TraffickingAct, ...], Field(min_length=1, max_length=5)] | None
    ] = None
    indicator_notes: Exploitation[Text | None] = None

    @model_validator(mode="after")
    def _has_indicators_of_its_list(self) -> Self:
        if (self.observed is None) is not (self.indicator_list is IndicatorList.NONE_FITS):
            raise ValueError(
                "names the observed indicators of the list, or none where no list fits: "
                "choose none_fits, leave the indicators out, and write in the notes what was seen"
            )
        return self
