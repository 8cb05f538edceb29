"""The documents that the API answers with or takes: frozen models, by subject.

The OpenAPI document is made from these. They hold data alone: the server makes them from its rows
(``api/http/documents.py``).
"""

from api.client.schemas.absence import (
    AbsenceReport,
    AnnouncedAbsence,
    DecisionWithout,
    MissedPublications,
)
from api.client.schemas.accountability import ObligationPage, Reciprocity, ResponseTimesOf
from api.client.schemas.actions import (
    OutboxPage,
    Outcome,
    Receipt,
    StatedSubmissions,
    SubmissionDocument,
    SubmissionPage,
)
from api.client.schemas.cases import Case, CasePage, DisclosedFields, TrailPage
from api.client.schemas.document import Document
from api.client.schemas.duplicates import DuplicateAssessment, DuplicateDocument, DuplicatePage
from api.client.schemas.events import Event, EventPage
from api.client.schemas.health import (
    Effect,
    Following,
    Health,
    ParcelsWaiting,
    Readiness,
    ReadinessTrouble,
    Side,
)
from api.client.schemas.mailbox import (
    Acknowledgements,
    MissingParcels,
    OutcomePage,
    ParcelDocument,
    ParcelLeft,
    ParcelPage,
    ParcelsTakenOut,
    ParcelStanding,
    SentDigest,
    SentDigests,
    SettledOutcomes,
    TakenBack,
    WaitingParcel,
)
from api.client.schemas.personal import (
    Language,
    PersonalField,
    ReadingPage,
    ReadingRequest,
    ReadingResult,
    SubjectAccessRequest,
)
from api.client.schemas.problem import FieldError, ProblemDetails
from api.client.schemas.protocol import (
    AgencyChangeDocument,
    AgencyKey,
    AgencyProposalDocument,
    AgencyWithKeys,
    AmendmentDocument,
    ContactCardDocument,
    ContactPointDocument,
    KeyProposalDocument,
    PartyDocument,
    ProtocolDocument,
    ProtocolVersionDocument,
)
from api.client.schemas.retention import (
    ErasedCase,
    ErasedPage,
    RetainedCase,
    RetentionPage,
    RetentionStatus,
)

__all__ = [
    "AbsenceReport",
    "Acknowledgements",
    "AgencyChangeDocument",
    "AgencyKey",
    "AgencyProposalDocument",
    "AgencyWithKeys",
    "AmendmentDocument",
    "AnnouncedAbsence",
    "Case",
    "CasePage",
    "ContactCardDocument",
    "ContactPointDocument",
    "DecisionWithout",
    "DisclosedFields",
    "Document",
    "DuplicateAssessment",
    "DuplicateDocument",
    "DuplicatePage",
    "Effect",
    "ErasedCase",
    "ErasedPage",
    "Event",
    "EventPage",
    "FieldError",
    "Following",
    "Health",
    "KeyProposalDocument",
    "Language",
    "MissedPublications",
    "MissingParcels",
    "ObligationPage",
    "OutboxPage",
    "Outcome",
    "OutcomePage",
    "ParcelDocument",
    "ParcelLeft",
    "ParcelPage",
    "ParcelStanding",
    "ParcelsTakenOut",
    "ParcelsWaiting",
    "PartyDocument",
    "PersonalField",
    "ProblemDetails",
    "ProtocolDocument",
    "ProtocolVersionDocument",
    "Readiness",
    "ReadinessTrouble",
    "ReadingPage",
    "ReadingRequest",
    "ReadingResult",
    "Receipt",
    "Reciprocity",
    "ResponseTimesOf",
    "RetainedCase",
    "RetentionPage",
    "RetentionStatus",
    "SentDigest",
    "SentDigests",
    "SettledOutcomes",
    "Side",
    "StatedSubmissions",
    "SubjectAccessRequest",
    "SubmissionDocument",
    "SubmissionPage",
    "TakenBack",
    "TrailPage",
    "WaitingParcel",
]
