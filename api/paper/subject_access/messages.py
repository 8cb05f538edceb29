"""The messages that each catalogue must hold: what the vocabulary and the document name."""

from collections.abc import Iterator
from enum import StrEnum

from api.client.schemas.personal import HeldBackGround
from api.paper.subject_access.value_shapes import Plain, shapes
from ledger.procedure.conditions import Standing
from ledger.procedure.operational_indicators import IndicatorDimension, IndicatorStrength
from ledger.procedure.protocol import KeyChange, Operation, shipped_protocol
from ledger.procedure.protocol_changes import CHANGES
from ledger.procedure.readings import OwnPurpose
from ledger.procedure.registry import SignatureState
from ledger.signing.signed_action import Mark
from ledger.vocabulary import ALL_ACTIONS, NOT_UNDERSTOOD
from ledger.vocabulary.levels import FieldGroup, Level
from ledger.vocabulary.picklists import (
    CaseStatus,
    DocumentKind,
    LegalBasis,
    Purpose,
    Stage,
    TraffickingStatus,
)
from projections.folds.obligation_terms import ObligationKind

TEXTS = (
    "about.erased",
    "about.erased_order",
    "about.erased_retention",
    "about.heading",
    "about.made",
    "about.others",
    "about.part",
    "about.record",
    "about.what",
    "access.answer",
    "access.granted",
    "access.groups",
    "access.heading",
    "access.intro",
    "access.none",
    "access.purpose",
    "access.refused",
    "access.when",
    "access.who",
    "archive.added",
    "archive.added_by",
    "archive.damaged",
    "archive.digest",
    "archive.elsewhere",
    "archive.given",
    "archive.heading",
    "archive.held_back",
    "archive.intro",
    "archive.kind",
    "archive.none",
    "archive.size",
    "archive.state",
    "archive.title",
    "calendar.name",
    "calendar.reminder",
    "case.country",
    "case.heading",
    "case.made_at",
    "case.number",
    "case.parties",
    "case.protocol",
    "case.stage",
    "case.status",
    "cli.acknowledged",
    "cli.acted",
    "cli.action",
    "cli.agency",
    "cli.any_party",
    "cli.assumed",
    "cli.case",
    "cli.changes",
    "cli.country",
    "cli.danger",
    "cli.disclosed",
    "cli.due",
    "cli.due_on",
    "cli.expected",
    "cli.expected_by",
    "cli.file_number",
    "cli.handed_in",
    "cli.in_force",
    "cli.joint_actions",
    "cli.kind",
    "cli.late",
    "cli.lead",
    "cli.leaf_hash",
    "cli.longest",
    "cli.median",
    "cli.no_longer_holds",
    "cli.none",
    "cli.not_acknowledged",
    "cli.now_holds",
    "cli.number",
    "cli.of_100",
    "cli.on_time",
    "cli.open",
    "cli.opened",
    "cli.opened_on",
    "cli.our_step",
    "cli.outcome",
    "cli.overdue_for",
    "cli.overdue_since",
    "cli.oversight",
    "cli.owes",
    "cli.parties",
    "cli.person",
    "cli.position",
    "cli.priority",
    "cli.recorded",
    "cli.requests",
    "cli.sees",
    "cli.signed",
    "cli.stage",
    "cli.state",
    "cli.status",
    "cli.to_whom",
    "cli.trail",
    "cli.valid",
    "cli.version",
    "cli.what",
    "cli.who",
    "cli.who_owes",
    "cli.whom",
    "held.by",
    "held.case_level",
    "held.case_level_intro",
    "held.earlier",
    "held.heading",
    "held.intro",
    "held.ledger_level",
    "held.ledger_level_intro",
    "held.none",
    "held.personal_intro",
    "held.received_from",
    "mail.action",
    "mail.any",
    "mail.by",
    "mail.case",
    "mail.danger",
    "mail.digest.do",
    "mail.digest.drafts_recorded",
    "mail.digest.drafts_returned",
    "mail.digest.drafts_waiting",
    "mail.digest.due",
    "mail.digest.first",
    "mail.digest.overdue",
    "mail.digest.overdue_in_country",
    "mail.digest.reminders",
    "mail.digest.subject",
    "mail.digest.unread",
    "mail.digest.what",
    "mail.draft.do",
    "mail.draft.ending",
    "mail.draft.recorded",
    "mail.draft.recorded.do",
    "mail.draft.returned",
    "mail.draft.until",
    "mail.draft.waiting",
    "mail.due",
    "mail.due_soon",
    "mail.ends",
    "mail.erasure.do",
    "mail.erasure.subject",
    "mail.erasure.what",
    "mail.foot",
    "mail.handover",
    "mail.key",
    "mail.key.do",
    "mail.key.subject",
    "mail.key.what",
    "mail.kind",
    "mail.obligation",
    "mail.obligation.do",
    "mail.overdue",
    "mail.owed_by",
    "mail.recorded",
    "mail.subject",
    "mail.urgent.do",
    "mail.waiting.actions",
    "mail.waiting.do",
    "mail.waiting.others",
    "mail.waiting.subject",
    "mail.waiting.what",
    "mail.zone",
    "page",
    "part.accountability",
    "part.actions",
    "part.conditions",
    "part.duties",
    "part.expected",
    "part.forms",
    "part.periods",
    "part.person_record",
    "part.quorum",
    "part.reflection",
    "part.retention",
    "part.shelter_exits",
    "part.approvals",
    "part.withdrawal",
    "practice.paper",
    "report.about",
    "report.actions.heading",
    "report.agencies.heading",
    "report.agency",
    "report.any",
    "report.as_of",
    "report.audience",
    "report.carried_in",
    "report.cases.heading",
    "report.checkpoint",
    "report.closed.heading",
    "report.corrected",
    "report.corrections.heading",
    "report.corridor",
    "report.count",
    "report.country",
    "report.destination",
    "report.effect",
    "report.form",
    "report.forms.heading",
    "report.identified.heading",
    "report.kind",
    "report.lapsed",
    "report.late",
    "report.longest",
    "report.mark",
    "report.median",
    "report.ninety",
    "report.none",
    "report.obligations.heading",
    "report.on_time",
    "report.open",
    "report.opened",
    "report.opened.heading",
    "report.origin",
    "report.overdue",
    "report.owed",
    "report.past_expected",
    "report.protected.heading",
    "report.protected_as",
    "report.reason",
    "report.reciprocity.heading",
    "report.reciprocity.owes",
    "report.returned.heading",
    "report.role",
    "report.share",
    "report.stage",
    "report.standing.heading",
    "report.status",
    "report.times.heading",
    "report.title",
    "report.undated",
    "report.unmarked",
    "rights.access",
    "rights.child",
    "rights.complaint",
    "rights.correct",
    "rights.erase",
    "rights.explain",
    "rights.heading",
    "rights.intro",
    "rule.acting_agency",
    "rule.adopted",
    "rule.annulled_as",
    "rule.assumed",
    "rule.bodies",
    "rule.bodies_lower",
    "rule.bodies_not_while",
    "rule.bodies_require",
    "rule.bodies_value",
    "rule.deciding_party",
    "rule.each_party",
    "rule.first",
    "rule.for_adults",
    "rule.for_children",
    "rule.from_then",
    "rule.must",
    "rule.no_more",
    "rule.not_party_named",
    "rule.not_while",
    "rule.one_of",
    "rule.or_party",
    "rule.other_countries",
    "rule.party_named",
    "rule.reflection",
    "rule.reflection_days",
    "rule.sourced",
    "rule.together",
    "rule.together_for_child",
    "rule.unless",
    "rule.value",
    "rule.value_of_fact",
    "rule.when",
    "rule.where",
    "sign.codes",
    "title",
    "trail.agency",
    "trail.annulled",
    "trail.heading",
    "trail.intro",
    "trail.none",
    "trail.signature",
    "trail.undone",
    "trail.what",
    "trail.when",
)
"""The fixed texts of the document, of e-mails and of the annual report, ``text.`` before each."""

CODES = (
    "country.BY",
    "country.DE",
    "country.KP",
    "country.MK",
    "language.bel",
    "language.cnr",
    "language.deu",
    "language.rom",
)
"""Names that CLDR lacks in a language of the region, or has in another form than is usual there.

A catalogue may leave one out where CLDR has it.
"""

OWED = (
    "case_merged",
    "destruction_approved",
    "erasure_approved",
    "error_closing_accepted",
    "merge_accepted",
)
"""Kinds whose step has a name of its own while it is owed (``Wording.owed``)."""

_PICKLISTS: tuple[type[StrEnum], ...] = (
    DocumentKind,
    CaseStatus,
    FieldGroup,
    HeldBackGround,
    IndicatorDimension,
    IndicatorStrength,
    KeyChange,
    LegalBasis,
    Level,
    ObligationKind,
    Operation,
    OwnPurpose,
    Purpose,
    Mark,
    SignatureState,
    Stage,
    Standing,
    TraffickingStatus,
)
"""Those that the document shows besides the picklists of the actions' fields."""


def required() -> frozenset[str]:
    """Return the ids of all messages that a catalogue must hold, and no other."""
    return frozenset((*CODES, *_texts(), *_actions(), *_values(), *_protocol(), *_changes()))


def picklists() -> frozenset[type[StrEnum]]:
    """Return every picklist whose values the document can show."""
    fields = {s for kind in ALL_ACTIONS for s in shapes(kind).values()}
    return frozenset((*_PICKLISTS, *(s for s in fields if not isinstance(s, Plain))))


def value_id(value: StrEnum) -> str:
    """Return the id of a picklist value's message."""
    return f"value.{type(value).__name__}.{value.value}"


def _texts() -> Iterator[str]:
    return (f"text.{name}" for name in TEXTS)


def _actions() -> Iterator[str]:
    yield f"kind.{NOT_UNDERSTOOD}"
    yield from (f"owed.{kind}" for kind in OWED)
    for kind in ALL_ACTIONS:
        yield f"kind.{kind}"
        yield from (f"field.{name}" for name in shapes(kind))


def _values() -> Iterator[str]:
    yield from ("value.bool.false", "value.bool.true")
    for picklist in picklists():
        yield from (value_id(value) for value in picklist)


def _changes() -> Iterator[str]:
    """Yield the ids of the changes that an amendment of the protocol can make."""
    return (f"change.{change}" for change in CHANGES)


def _protocol() -> Iterator[str]:
    """Yield the ids of the proper names of the protocol that ships with the ledger."""
    protocol = shipped_protocol()
    yield f"protocol.{protocol.id}"
    yield from (f"role.{role}" for role in protocol.roles)
    yield from (f"agency.{agency.id}" for agency in protocol.agencies)
