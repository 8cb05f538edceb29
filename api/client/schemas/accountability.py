"""Obligations, and how fast countries discharge them."""

from uuid import UUID

from api.client.schemas.document import Document
from ledger.vocabulary.types import UtcDatetime
from projections.folds.obligations import Obligation
from projections.reports.accountability import Balance, ResponseTimes


class ObligationPage(Document):
    """Obligations: the last opened first, or the longest overdue."""

    obligations: tuple[Obligation, ...]
    next: UUID | None
    """Give this as ``after`` for the next page; ``None`` at the end."""


class ResponseTimesOf(Document):
    """The response times of obligations as of a moment."""

    as_of: UtcDatetime
    response_times: tuple[ResponseTimes, ...]


class Reciprocity(Document):
    """The obligations of countries towards each other as of a moment."""

    as_of: UtcDatetime
    balances: tuple[Balance, ...]
