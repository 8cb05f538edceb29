"""Cases as a country sees them, and their audit trails."""

from collections.abc import Mapping
from uuid import UUID

from pydantic import JsonValue

from api.client.schemas.document import Document
from projections.folds.audit_trail import TrailEntry
from projections.folds.case_view import CaseView


class DisclosedFields(Document):
    """The ``case`` fields of an action that its own country holds."""

    action_id: UUID
    fields: Mapping[str, JsonValue]
    damaged: tuple[str, ...] = ()
    """Fields that do not open at their place: somebody changed the vault's rows."""


class Case(Document):
    """A case as the caller's country sees it."""

    view: CaseView
    disclosed: tuple[DisclosedFields, ...]


class CasePage(Document):
    """Cases, newest first."""

    cases: tuple[CaseView, ...]
    next: int | None
    """Give this as ``before`` for the next page; ``None`` at the end."""


class TrailPage(Document):
    """A case's audit trail, from its opening."""

    entries: tuple[TrailEntry, ...]
    next: int | None
    """Give this as ``after`` for the next page; ``None`` at the end."""
