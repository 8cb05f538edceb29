"""Picklists: HTCDS 2.0 values where the standard has the field, USOP terms elsewhere.

HTCDS value names are kept letter for letter (IOM, Human Trafficking Case Data
Standard 2.0, CC BY 4.0); ``docs/htcds.md`` maps each field.
"""

from enum import StrEnum


class Stage(StrEnum):
    """The stages of the USOP procedure, and coordination across them."""

    IDENTIFICATION = "identification"
    PROTECTION = "first_assistance_and_protection"
    INCLUSION = "long_term_assistance_and_social_inclusion"
    RETURN = "return_and_social_inclusion"
    PROCEEDINGS = "criminal_and_civil_proceedings"
    COORDINATION = "coordination"


class AgeGroup(StrEnum):
    """The age group, which the rules need: a child has further safeguards."""

    CHILD = "child"
    ADULT = "adult"
    PRESUMED_CHILD = "presumed_child"


class AgeMethod(StrEnum):
    """The method by which the age of a person was found."""

    DOCUMENT = "document"
    OWN_STATEMENT = "own_statement"
    SOCIAL_ASSESSMENT = "social_assessment"
    MEDICAL_EXAMINATION = "medical_examination"
    AUTHORITY = "authority"
    CAME_OF_AGE = "came_of_age"
    """The person was a child and is 18 now."""


class StatementSource(StrEnum):
    """The source of a statement on the person."""

    OWN_STATEMENT = "own_statement"
    DOCUMENT = "document"
    AUTHORITY = "authority"
    FAMILY = "family"


class Certainty(StrEnum):
    """The certainty of a statement."""

    CONFIRMED = "confirmed"
    PROBABLE = "probable"
    UNCERTAIN = "uncertain"


class StatementGround(StrEnum):
    """The reason for which the identity is recorded anew."""

    LEARNED = "learned"
    ENTRY_ERROR = "entry_error"
    RECTIFICATION = "rectification"
    """The person asked for it."""


class RectificationRefusal(StrEnum):
    """The reason for which a request to rectify is declined."""

    IS_CORRECT = "is_correct"
    NOT_SHOWN = "not_shown"
    NOT_HELD = "not_held"


class PersonField(StrEnum):
    """The fields that state who the person is, by their names in ``case_opened``."""

    FIRST_NAME = "first_name"
    MIDDLE_NAME = "middle_name"
    SECOND_NAME = "second_name"
    BIRTHDATE = "birthdate"
    GENDER = "gender"
    CITIZENSHIP = "citizenship"
    IDENTITY_NUMBER = "identity_number"
    PRIMARY_LANGUAGE = "primary_language"
    SECONDARY_LANGUAGE = "secondary_language"
    EDUCATION = "education"
    MARITAL_STATUS = "marital_status"
    NUMBER_OF_CHILDREN = "number_of_children"
    PHONE = "phone"
    ADDRESS = "address"


class DateDoubt(StrEnum):
    """Contradictions between dates that may be true, and count only where they are confirmed."""

    ADULT_BY_BIRTHDATE = "adult_by_birthdate"
    """The person counts as a child, and by the birth date is 18 or older."""
    CHILD_BY_BIRTHDATE = "child_by_birthdate"
    """The person counts as an adult, and by the birth date is younger than 18."""
    OLDER_THAN_100 = "older_than_100"


class CaseStatus(StrEnum):
    """HTCDS ``cas_Status``."""

    ACTIVE = "Active"
    FOLLOW_UP = "FollowUp"
    CLOSED = "Closed"
    CLOSED_REFERRED = "ClosedReferred"


CLOSED = (CaseStatus.CLOSED, CaseStatus.CLOSED_REFERRED)
"""The statuses of a case in which nothing more is done."""


class TraffickingStatus(StrEnum):
    """HTCDS ``vic_TraffickingStatus``."""

    POSSIBLE = "PossibleVictimOfTrafficking"
    ACTUAL = "ActualVictimOfTrafficking"
    NOT_A_VICTIM = "NotAVictimOfTrafficking"
    AT_RISK = "PersonAtRiskOfTrafficking"
    """The person is protected before any crime. HTCDS has no such value."""


class DecisionMakingOrg(StrEnum):
    """HTCDS ``vic_TraffickingStatusDecisionMakingOrg``."""

    POLICE = "Police"
    NGO = "NGO"
    COURT_OR_PROSECUTION = "CourtOrProsecution"
    NON_POLICE_GOVERNMENTAL = "NonPoliceGovernmentalOrganization"
    OTHER = "Other"


class Gender(StrEnum):
    """HTCDS ``prs_Gender``."""

    FEMININE = "Feminine"
    MASCULINE = "Masculine"
    TRANSGENDER_FEMININE = "TransgenderFeminine"
    TRANSGENDER_MASCULINE = "TransgenderMasculine"
    NON_CONFORMING = "NonConforming"
    NON_SPECIFIED_UNKNOWN = "NonSpecifiedUnknown"


class RelationshipToTrafficker(StrEnum):
    """HTCDS ``vic_RelationshipToTrafficker`` (the spelling is the standard's)."""

    FAMILIAL = "Familial"
    ACQUAINTED = "Acquainted"
    UNACQUAINTED = "Unaquainted"


class TypeOfExploitation(StrEnum):
    """HTCDS ``vic_TypeOfExploitation``."""

    FORCED_LABOUR = "ForcedLabour"
    SEXUAL_EXPLOITATION = "SexualExploitation"
    CHILD_LABOUR = "ChildLabour"
    FORCED_MARRIAGE = "ForcedMarriage"
    SERVITUDE = "Servitude"
    FORCED_MILITARY = "ForcedMilitaryByNonStateActors"
    ORGAN_REMOVAL = "OrganRemoval"
    FORCED_BEGGING = "ForcedBegging"
    FORCED_ADOPTION = "ForcedAdoption"
    SURROGACY = "Surrogacy"
    OTHER = "Other"


class MethodOfRecruitment(StrEnum):
    """HTCDS ``vic_MethodOfRecruitment``."""

    AT_A_PLACE_OF_BUSINESS = "AtAPlaceOfBusiness"
    AT_AN_EDUCATIONAL_INSTITUTION = "AtAnEducationalInstitution"
    AT_WORK = "AtWork"
    ONLINE_SOCIAL_NETWORKS = "ThroughOnlineSocialNetworks"
    ONLINE_ADVERTISEMENT = "ThroughAnOnlineAdvertisement"
    TELEVISION_ADVERT = "ThroughATelevisionAdvert"
    NEWSPAPER_ADVERT = "ThroughANewspaperAdvert"
    FAMILY = "ThroughFamilyOrFamilyEvents"
    FRIENDS = "ThroughFriendsOrSocialEvents"
    OTHER = "Other"


class MethodOfControl(StrEnum):
    """HTCDS ``vic_MethodsOfControl``."""

    PHYSICAL_THREATS = "PhysicalThreats"
    THREATS_LAW_ENFORCEMENT = "ThreatsLawEnforcement"
    THREATENS_CHILDREN_FAMILY = "ThreatensChildrenFamily"
    DEBT_BONDAGE = "DebtBondage"
    FALSE_PROMISES = "FalsePromises"
    PHYSICAL_ABUSE = "PhysicalAbuse"
    SEXUAL_ABUSE = "SexualAbuse"
    TAKES_EARNINGS = "TakesEarnings"
    RESTRICTS_FINANCIAL_ACCESS = "RestrictsFinancialAccess"
    RESTRICTS_MEDICAL_CARE = "RestrictsMedicalCare"
    WITHHOLDS_NECESSITIES = "WithholdsNecessities"
    PSYCHOLOGICAL_ABUSE = "PsychologicalAbuse"
    PSYCHOACTIVE_SUBSTANCE = "PsychoactiveSubstance"
    EXCESSIVE_WORKING_HOURS = "ExcessiveWorkingHours"
    WITHHOLDS_DOCUMENTS = "WithholdsDocuments"
    OTHER = "Other"


class MaritalStatus(StrEnum):
    """HTCDS ``prs_MaritalStatus``."""

    SINGLE = "Single"
    MARRIED = "Married"
    WIDOWED = "Widowed"
    DIVORCED = "Divorced"
    SEPARATED = "Separated"
    REGISTERED_PARTNERSHIP = "RegisteredPartnership"


class Education(StrEnum):
    """HTCDS ``prs_HighestLevelOfEducation`` (ISCED 2011)."""

    EARLY_CHILDHOOD_EDUCATION = "EarlyChildhoodEducation"
    PRIMARY_EDUCATION = "PrimaryEducation"
    LOWER_SECONDARY_EDUCATION = "LowerSecondaryEducation"
    UPPER_SECONDARY_EDUCATION = "UpperSecondaryEducation"
    POST_SECONDARY_NON_TERTIARY_EDUCATION = "PostSecondaryNonTertiaryEducation"
    SHORT_CYCLE_TERTIARY_EDUCATION = "ShortCycleTertiaryEducation"
    BACHELORS_OR_EQUIVALENT_LEVEL = "BachelorsOrEquivalentLevel"
    MASTERS_OR_EQUIVALENT_LEVEL = "MastersOrEquivalentLevel"
    DOCTORAL_OR_EQUIVALENT_LEVEL = "DoctoralOrEquivalentLevel"


class Platform(StrEnum):
    """HTCDS ``vic_RecruitmentWebsitesAndApps`` and ``vic_ExploitationWebsitesAndApps``."""

    FACEBOOK = "Facebook"
    INSTAGRAM = "Instagram"
    WHATSAPP = "WhatsApp"
    TELEGRAM = "Telegram"
    FACEBOOK_MESSENGER = "FacebookMessenger"
    VIBER = "Viber"
    SNAPCHAT = "SnapChat"
    LINE = "Line"
    FOR_SALE = "4Sale"
    WECHAT = "WeChat"
    QQ = "QQ"
    QZONE = "QZone"
    TIKTOK = "TikTok"
    TWITTER = "Twitter"
    OTHER = "Other"


class LabourIndustry(StrEnum):
    """HTCDS ``vic_ForcedLabourIndustry`` (ISIC sections)."""

    AGRICULTURE_FORESTRY_AND_FISHING = "A_AgricultureForestryAndFishing"
    MINING_AND_QUARRYING = "B_MiningAndQuarrying"
    MANUFACTURING = "C_Manufacturing"
    ELECTRICITY_AND_GAS = "D_ElectricityGasSteamAndAirConditioningSupply"
    WATER_AND_WASTE = "E_WaterSupplySewerageWasteManagement"
    CONSTRUCTION = "F_Construction"
    TRADE_AND_VEHICLE_REPAIR = "G_WholesaleAndRetailTradeRepairOfMotorVehicles"
    TRANSPORTATION_AND_STORAGE = "H_TransportationAndStorage"
    ACCOMMODATION_AND_FOOD_SERVICE_ACTIVITIES = "I_AccommodationAndFoodServiceActivities"
    INFORMATION_AND_COMMUNICATION = "J_InformationAndCommunication"
    FINANCIAL_AND_INSURANCE_ACTIVITIES = "K_FinancialAndInsuranceActivities"
    REAL_ESTATE_ACTIVITIES = "L_RealEstateActivities"
    PROFESSIONAL_ACTIVITIES = "M_ProfessionalScientificAndTechnicalActivities"
    ADMINISTRATIVE_AND_SUPPORT_SERVICE_ACTIVITIES = "N_AdministrativeAndSupportServiceActivities"
    PUBLIC_ADMINISTRATION_AND_DEFENCE = "O_PublicAdministrationAndDefence"
    EDUCATION = "P_Education"
    HUMAN_HEALTH_AND_SOCIAL_WORK_ACTIVITIES = "Q_HumanHealthAndSocialWorkActivities"
    ARTS_ENTERTAINMENT_AND_RECREATION = "R_ArtsEntertainmentAndRecreation"
    OTHER_SERVICE_ACTIVITIES = "S_OtherServiceActivities"
    ACTIVITIES_OF_HOUSEHOLDS_AS_EMPLOYERS = "T_ActivitiesOfHouseholdsAsEmployers"
    ACTIVITIES_OF_EXTRATERRITORIAL_ORGANIZATIONS = "U_ActivitiesOfExtraterritorialOrganizations"


class TypeOfSexExploitation(StrEnum):
    """HTCDS ``vic_TypeOfSexExploitation``."""

    PROSTITUTION = "Prostitution"
    PORNOGRAPHY = "Pornography"
    REMOTE_INTERACTIVE_SERVICES = "RemoteInteractiveServices"
    PRIVATE_SEXUAL_SERVICES = "PrivateSexualServices"


class Vulnerability(StrEnum):
    """HTCDS ``vic_Vulnerabilities``."""

    ADDICTION = "Addiction"
    SOCIAL_GROUP = "SocialGroup"
    DISCRIMINATION = "Discrimination"
    POVERTY = "Poverty"
    DISABILITY = "DisabilityAndPhysicalHealth"
    MENTAL_HEALTH = "MentalHealth"
    MIGRATION = "Migration"
    HOMELESSNESS = "Homelessness"
    ABUSE_SOCIAL_MEDIA = "AbuseSocialMedia"
    ABUSE_PHYSICAL = "AbusePhysical"
    EDUCATION = "Education"
    WORK_ENVIRONMENT = "WorkEnvironment"


class PerpetratorRole(StrEnum):
    """HTCDS ``per_RoleInProcess``."""

    TRAVELLING_PARTNER = "TravellingPartner"
    TRANSPORTER = "Transporter"
    RECRUITER = "RecruiterOrIntermediary"
    BROKER = "BrokerTravelAgent"
    TRANSFERRED = "TransferredIndividual"
    HARBOURED = "HarbouredIndividual"
    SOLD = "SoldIndividual"
    BOUGHT = "BoughtIndividual"
    RECEIVED = "ReceivedIndividual"
    CONTROLLED = "ControlledIndividual"
    SMUGGLER = "Smuggler"
    ABUSER = "Abuser"
    KIDNAPPER = "Kidnapper"
    EXPLOITER = "Exploiter"
    OTHER = "Other"


class SupportPlanType(StrEnum):
    """HTCDS ``spl_Type``."""

    EDUCATION = "Education"
    FINANCIAL = "Financial"
    HEALTH = "Health"
    LABOUR_REHABILITATION = "LabourExploitationRehabilitation"
    LEGAL = "Legal"
    LIVELIHOOD = "Livelihood"
    RIGHTS_BASED_TRAINING = "RightsBasedTraining"
    SEXUAL_REHABILITATION = "SexualExploitationRehabilitation"
    SOCIAL_CARE = "SocialCare"


class ReferralReason(StrEnum):
    """HTCDS ``cas_ReasonForIncomingReferral`` and ``cas_ReasonForOutgoingReferral``."""

    ADDITIONAL_SERVICES = "AdditionalServicesRequired"
    CHANGE_OF_LOCATION = "MigrationOrChangeOfLocation"
    OTHER = "Other"


class Indicator(StrEnum):
    """Indicators of trafficking assessed on first contact (USOP, identification)."""

    UNACCOMPANIED_CHILD = "unaccompanied_child"
    CONTROLLED_BY_OTHERS = "controlled_by_others"
    NO_DOCUMENTS = "no_documents"
    BEGGING_IN_THE_STREET = "begging_in_the_street"
    EARLY_OR_ARRANGED_MARRIAGE = "early_or_arranged_marriage"
    SIGNS_OF_VIOLENCE = "signs_of_violence"
    OUT_OF_SCHOOL = "out_of_school"
    FOUND_AT_EXPLOITATION_SITE = "found_at_exploitation_site"
    MOVED_ACROSS_BORDER = "moved_across_border"
    DEBT_OR_UNPAID_WORK = "debt_or_unpaid_work"


class OpeningGround(StrEnum):
    """The ground for opening the case."""

    POLICE_ACTION = "police_action"
    BORDER_CONTROL = "border_control"
    REPORT_BY_SOCIAL_SERVICES = "report_by_social_services"
    REPORT_BY_NGO = "report_by_ngo"
    HELPLINE = "helpline"
    SELF_REPORT = "self_report"
    REFERRAL_FROM_ABROAD = "referral_from_abroad"


class StatusGround(StrEnum):
    """The reason for which a victim's status changed."""

    NEW_EVIDENCE = "new_evidence"
    STATEMENT = "statement"
    COURT_DECISION = "court_decision"
    EXPERT_ASSESSMENT = "expert_assessment"
    INDICATORS_NOT_CONFIRMED = "indicators_not_confirmed"


class GuardianKind(StrEnum):
    PARENT = "parent"
    RELATIVE = "relative"
    SOCIAL_WORK_CENTRE = "social_work_centre"
    COURT_APPOINTED = "court_appointed"


class ConsentScope(StrEnum):
    ASSISTANCE = "assistance"
    INFORMATION_EXCHANGE = "information_exchange"
    RETURN = "return"
    PROCEEDINGS = "participation_in_proceedings"


class ConsentGiver(StrEnum):
    PERSON = "person"
    GUARDIAN = "guardian"


class ConsentForm(StrEnum):
    WRITTEN = "written"
    ORAL_RECORDED = "oral_recorded"


class LegalBasis(StrEnum):
    """The legal basis on which personal fields may be read or released."""

    CONSENT = "consent"
    BEST_INTERESTS = "best_interests"
    DUTY = "duty_of_the_protocol"
    DANGER_TO_LIFE = "danger_to_life"


class Danger(StrEnum):
    """The danger for which access cannot wait for another basis."""

    THREAT_TO_LIFE = "threat_to_life"
    MEDICAL_EMERGENCY = "medical_emergency"
    MISSING_CHILD = "missing_child"
    IMMINENT_TRAFFICKING = "imminent_trafficking"


class ReviewFinding(StrEnum):
    JUSTIFIED = "justified"
    NOT_JUSTIFIED = "not_justified"


class HoldGround(StrEnum):
    """The ground on which nothing may be erased."""

    PROCEEDINGS = "proceedings"
    COMPENSATION_CLAIM = "compensation_claim"
    COMPLAINT = "complaint"
    OVERSIGHT_INQUIRY = "oversight_inquiry"


class ErasureGround(StrEnum):
    """The ground on which a person's data is erased before its time is over."""

    PERSONS_REQUEST = "persons_request"
    COURT_ORDER = "court_order"
    UNLAWFULLY_HELD = "unlawfully_held"
    NO_LONGER_NEEDED = "no_longer_needed"


class BestInterestsOutcome(StrEnum):
    RETURN_TO_FAMILY = "return_to_family"
    RETURN_TO_CARE = "return_to_care_in_country_of_origin"
    STAY = "stay_in_country_of_identification"
    THIRD_COUNTRY = "placement_in_third_country"
    FURTHER_ASSESSMENT = "further_assessment"


class RiskLevel(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    IMMEDIATE = "immediate"


class ShelterKind(StrEnum):
    EMERGENCY = "emergency"
    SPECIALISED = "specialised"
    HIGH_SECURITY = "high_security"
    SEMI_INDEPENDENT = "semi_independent"
    FOSTER_CARE = "foster_care"


class ProtectionMeasureKind(StrEnum):
    RECOVERY_AND_REFLECTION = "recovery_and_reflection_period"
    TEMPORARY_RESIDENCE = "temporary_residence_permit"
    POLICE_PROTECTION = "police_protection"
    WITNESS_PROTECTION = "witness_protection"
    RESTRAINING_ORDER = "restraining_order"
    IDENTITY_CONFIDENTIALITY = "identity_confidentiality"
    ASYLUM_PROCEDURE = "asylum_procedure"
    INTERNATIONAL_PROTECTION = "international_protection"
    PERMANENT_RESIDENCE = "permanent_residence_permit"


class ServiceKind(StrEnum):
    MEDICAL = "medical"
    PSYCHOSOCIAL = "psychosocial"
    LEGAL = "legal"
    INTERPRETATION = "interpretation"
    EDUCATION = "education"
    VOCATIONAL_TRAINING = "vocational_training"
    MATERIAL_AID = "material_aid"
    CASE_MANAGEMENT = "case_management"
    FAMILY_SUPPORT = "family_support"
    ACCOMMODATION = "accommodation"
    EMPLOYMENT = "employment"
    CHILDCARE = "childcare"


class ServiceEnd(StrEnum):
    COMPLETED = "completed"
    HANDED_OVER = "handed_over"
    DECLINED_BY_PERSON = "declined_by_person"
    NO_LONGER_NEEDED = "no_longer_needed"


class InformationTopic(StrEnum):
    IDENTITY = "identity"
    FAMILY = "family"
    PROCEEDINGS = "proceedings"
    CARE_AND_PROTECTION = "care_and_protection"
    RISK = "risk"
    WHEREABOUTS = "whereabouts"
    TRAVEL_DOCUMENTS = "travel_documents"


class Purpose(StrEnum):
    IDENTIFICATION = "identification"
    PROTECTION = "protection"
    PROCEEDINGS = "proceedings"
    RETURN = "return"
    REINTEGRATION = "reintegration"
    DANGER_TO_LIFE = "danger_to_life"
    SUBJECT_ACCESS = "subject_access"


class DeclineReason(StrEnum):
    NO_CONSENT = "no_consent"
    NOT_IN_BEST_INTERESTS = "not_in_best_interests"
    PENDING_INVESTIGATION = "pending_investigation"
    NOT_HELD = "not_held"
    NO_LEGAL_BASIS = "no_legal_basis"


class JointActionKind(StrEnum):
    JOINT_INVESTIGATION = "joint_investigation"
    FAMILY_TRACING = "family_tracing"
    JOINT_RISK_ASSESSMENT = "joint_risk_assessment"
    RETURN_PREPARATION = "return_preparation"
    EVIDENCE_EXCHANGE = "evidence_exchange"
    REINTEGRATION_FOLLOW_UP = "reintegration_follow_up"


class JointActionOutcome(StrEnum):
    ACHIEVED = "achieved"
    PARTLY_ACHIEVED = "partly_achieved"
    NOT_ACHIEVED = "not_achieved"


class Priority(StrEnum):
    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"


class Offence(StrEnum):
    TRAFFICKING_IN_PERSONS = "trafficking_in_persons"
    FORCED_MARRIAGE = "forced_marriage"
    CHILD_ABUSE = "abuse_of_children"
    FACILITATING_EXPLOITATION = "facilitating_exploitation"
    SMUGGLING = "smuggling_of_migrants"
    OTHER = "other"


class InvestigationState(StrEnum):
    OPENED = "opened"
    EXTENDED = "extended"
    SUSPENDED = "suspended"
    COMPLETED = "completed"


class HearingKind(StrEnum):
    INITIAL = "initial"
    PROTECTED_CHILD_STATEMENT = "protected_child_statement"
    MAIN = "main"
    SENTENCING = "sentencing"
    APPEAL = "appeal"


class Verdict(StrEnum):
    CONVICTION = "conviction"
    ACQUITTAL = "acquittal"
    PARTIAL_CONVICTION = "partial_conviction"
    DISMISSED = "dismissed"


class CompensationState(StrEnum):
    CLAIMED = "claimed"
    AWARDED = "awarded"
    PAID = "paid"
    REFUSED = "refused"


class FamilyOutcome(StrEnum):
    NOT_FOUND = "not_found"
    FOUND = "found"
    FOUND_SAFE = "found_and_safe"
    FOUND_UNSAFE = "found_and_unsafe"
    INVOLVED = "involved_in_trafficking"


class TravelDocumentKind(StrEnum):
    PASSPORT = "passport"
    EMERGENCY_TRAVEL_DOCUMENT = "emergency_travel_document"
    LAISSEZ_PASSER = "laissez_passer"
    IDENTITY_CARD = "identity_card"
    REFUGEE_CONVENTION_1951 = "travel_document_1951"
    """By the Convention relating to the Status of Refugees of 1951, article 28."""
    STATELESS_CONVENTION_1954 = "travel_document_1954"
    """By the Convention relating to the Status of Stateless Persons of 1954, article 28."""


class DocumentKind(StrEnum):
    """The kind of a document that belongs to a case."""

    CONSENT_FORM = "consent_form"
    ASSESSMENT = "assessment"
    """A best-interests, risk, family or age assessment."""
    REPORT = "report"
    IDENTITY_DOCUMENT = "identity_document"
    TRAVEL_DOCUMENT = "travel_document"
    CIVIL_STATUS_CERTIFICATE = "civil_status_certificate"
    """Of birth, marriage or death."""
    COURT_DECISION = "court_decision"
    ADMINISTRATIVE_DECISION = "administrative_decision"
    MEDICAL_REPORT = "medical_report"
    MINUTES = "minutes"
    PHOTOGRAPH = "photograph"
    LETTER = "letter"
    OTHER = "other"


class EscortKind(StrEnum):
    POLICE = "police"
    SOCIAL_WORKER = "social_worker"
    POLICE_AND_SOCIAL_WORKER = "police_and_social_worker"
    NGO = "ngo"
    GUARDIAN = "guardian"
    IOM = "iom"
    NONE = "none"


class ReturnRefusal(StrEnum):
    """The reason for which the country of destination does not accept a return."""

    IDENTITY_NOT_CONFIRMED = "identity_not_confirmed"
    NOT_SAFE = "not_safe"
    NO_RECEPTION = "no_suitable_reception"
    NOT_IN_BEST_INTERESTS = "not_in_best_interests"
    PERSON_UNWILLING = "person_unwilling"


class ReturnDelay(StrEnum):
    """The reason for which a return takes place later."""

    HEALTH = "health"
    PROCEEDINGS = "proceedings"
    DOCUMENTS = "documents"
    SAFETY = "safety"
    RECEPTION_NOT_READY = "reception_not_ready"
    PERSONS_WISH = "persons_wish"


class ReturnCancellation(StrEnum):
    """The reason for which a return does not take place."""

    PERSONS_WISH = "persons_wish"
    NOT_SAFE = "not_safe"
    NOT_IN_BEST_INTERESTS = "not_in_best_interests"
    OTHER_SOLUTION = "other_solution"
    NOT_ACCEPTED = "not_accepted"


class HandedOver(StrEnum):
    """The things that are handed over with the person."""

    DOCUMENTS = "documents"
    MEDICINES = "medicines"
    BELONGINGS = "belongings"
    MONEY = "money"
    MEDICAL_NOTE = "medical_note"
    CASE_FILE = "case_file"


class OverrideReason(StrEnum):
    """The reason for which a body decides against the outcome of an assessment."""

    NEW_INFORMATION = "new_information"
    ASSESSMENT_FLAWED = "assessment_flawed"
    PERSONS_OWN_WISH = "persons_own_wish"
    SAFER_ELSEWHERE = "safer_elsewhere"
    TOO_YOUNG_TO_BE_HEARD = "too_young_to_be_heard"


class RefusalSubject(StrEnum):
    """The subject that the person refuses."""

    ASSISTANCE = "assistance"
    CONTACT = "contact"
    INFORMATION_EXCHANGE = "information_exchange"
    RETURN = "return"


class LeadRefusal(StrEnum):
    """The reason for which an agency declines the lead of a case."""

    NO_CAPACITY = "no_capacity"
    NOT_COMPETENT = "not_competent"
    PERSON_ELSEWHERE = "person_elsewhere"


class JointDecision(StrEnum):
    """The decisions that several bodies can take together, by the kinds of their actions."""

    VICTIM_IDENTIFIED = "victim_identified"
    VICTIM_STATUS_CHANGED = "victim_status_changed"
    NOT_A_VICTIM = "not_a_victim"
    INDICATORS_ASSESSED = "indicators_assessed"
    RISK_ASSESSED = "risk_assessed"
    BEST_INTERESTS_ASSESSED = "best_interests_assessed"
    SHELTER_LEFT = "shelter_left"
    RETURN_DECIDED = "return_decided"
    OUTCOME_OVERRIDDEN = "outcome_overridden"


class MonitoringFinding(StrEnum):
    PROGRESSING = "progressing"
    NEEDS_SUPPORT = "needs_support"
    AT_RISK = "at_risk"
    SUCCESSFUL = "successfully_reintegrated"


class CorrectionEffect(StrEnum):
    """``annulled``: the action is as though never taken; ``clarified``: it stands, explained."""

    ANNULLED = "annulled"
    CLARIFIED = "clarified"


class CorrectionReason(StrEnum):
    WRONG_CASE = "wrong_case"
    ENTRY_ERROR = "entry_error"
    DUPLICATE = "duplicate"
    SUPERSEDED_BY_FACTS = "superseded_by_facts"


class ClosureReason(StrEnum):
    REINTEGRATED = "reintegrated"
    NO_LONGER_AT_RISK = "no_longer_at_risk"
    """A person at risk was helped, and no crime was found."""
    NOT_A_VICTIM = "not_a_victim"
    ASSISTANCE_DECLINED = "assistance_declined"
    REFERRED = "referred"
    LOST_CONTACT = "lost_contact"
    DECEASED = "deceased"
    OPENED_IN_ERROR = "opened_in_error"
    """The countries agreed that the case was opened in error, or its opening was annulled."""


class ReopeningReason(StrEnum):
    NEW_INFORMATION = "new_information"
    RENEWED_RISK = "renewed_risk"
    COURT_REQUEST = "court_request"
    CLOSED_IN_ERROR = "closed_in_error"
    NEW_EXPLOITATION = "new_exploitation"
    FOUND_IN_ANOTHER_COUNTRY = "found_in_another_country"


class VoteSubject(StrEnum):
    """The part of a log policy that a vote changes."""

    LOG_KEY = "LogKey"
    """The key that signs the checkpoints: its rotation, and a takeover by another node."""
    WITNESSES = "Witnesses"
    """The witnesses, their keys and addresses, and their quorum."""


class CaseRelation(StrEnum):
    """The relation of a linked case to the case that it is linked with."""

    SIBLING = "sibling"
    PARENT = "parent"
    """The linked case is of a parent."""
    CHILD = "child"
    """The linked case is of a child."""
    SAME_EVENT = "same_event"
    SAME_EXPLOITER = "same_exploiter"
    EARLIER_CASE = "earlier_case"
    """The linked case is an earlier one of the same person."""
    LATER_CASE = "later_case"
    WITNESS = "witness"


class MergeDeclineReason(StrEnum):
    """The reason for which two cases are not merged."""

    ANOTHER_PERSON = "another_person"
    NOT_CERTAIN = "not_certain"
    OTHER_CASE_ENDS = "other_case_ends"
    """The same person, but the other case is the one that shall end."""
    WITHDRAWN = "withdrawn"
    """The side that proposed the merge takes the proposal back."""


class MergeUndoGround(StrEnum):
    """The ground on which a merge is undone."""

    ANOTHER_PERSON = "another_person"
    WRONG_CASE = "wrong_case"
    """The right person, but another case was meant."""


class FoundCondition(StrEnum):
    """The condition of a missing person who was found."""

    SAFE = "safe"
    HARMED = "harmed"
    EXPLOITED_AGAIN = "exploited_again"


class DeathNotice(StrEnum):
    """The persons and authorities that were told of the death."""

    FAMILY_OR_GUARDIAN = "family_or_guardian"
    PROSECUTOR = "prosecutor"
    CONSULAR_SERVICE = "consular_service"
    OTHER_COUNTRIES = "countries_of_the_case"
    CIVIL_REGISTRY = "civil_registry"


class ReferralChannel(StrEnum):
    """The channel to an authority of a country outside the protocol."""

    CONSULAR = "consular"
    POLICE_COOPERATION = "police_cooperation"
    CENTRAL_AUTHORITY = "central_authority"
    INTERNATIONAL_ORGANISATION = "international_organisation"
    DIRECT = "direct"


class CitizenshipStatus(StrEnum):
    """The status of the person's citizenship."""

    CONFIRMED = "confirmed"
    STATED = "stated"
    UNKNOWN = "unknown"
    STATELESS = "stateless"
    AT_RISK_OF_STATELESSNESS = "at_risk_of_statelessness"


class StatementSetting(StrEnum):
    """The place and the manner in which a statement before charges was taken."""

    CHILD_FRIENDLY_ROOM = "child_friendly_room"
    VIDEO_LINK = "video_link"
    PROSECUTION_OFFICE = "prosecution_office"
    POLICE_STATION = "police_station"
    SHELTER = "shelter"


class Appellant(StrEnum):
    PERSON = "person"
    GUARDIAN = "guardian"
    REPRESENTATIVE = "legal_representative"


class AppealOutcome(StrEnum):
    UPHELD = "upheld"
    """The finding is lifted; the person is assessed anew."""
    REJECTED = "rejected"


class NonPunishment(StrEnum):
    """The state of the principle of non-punishment in the person's case."""

    REQUESTED = "requested"
    APPLIED = "applied"
    REFUSED = "refused"


class CompensationBody(StrEnum):
    """The body that decides a claim for compensation."""

    CRIMINAL_COURT = "criminal_court"
    CIVIL_COURT = "civil_court"
    COMPENSATION_COMMISSION = "compensation_commission"


class FurtherForm(StrEnum):
    """Forms of exploitation that the procedure names and HTCDS does not."""

    FORCED_CRIMINALITY = "forced_criminality"
    UNLAWFUL_MARRIAGE = "unlawful_marriage"
