"""The messages that each catalogue must hold: what the vocabulary and the document name."""

from collections.abc import Iterator
from enum import StrEnum

from api.subject_access.shapes import Plain, shapes
from ledger.protocol import shipped_protocol
from ledger.registry import SignatureState
from ledger.vocabulary import ALL_ACTIONS
from ledger.vocabulary.levels import FieldGroup, Level
from ledger.vocabulary.picklists import (
    CaseStatus,
    LegalBasis,
    Purpose,
    Stage,
    TraffickingStatus,
)

LANGUAGES = ("sq", "cnr", "en")

TEXTS = (
    "about.erased",
    "about.heading",
    "about.made",
    "about.others",
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
    "case.country",
    "case.heading",
    "case.made_at",
    "case.number",
    "case.parties",
    "case.protocol",
    "case.stage",
    "case.status",
    "held.by",
    "held.case_level",
    "held.case_level_intro",
    "held.heading",
    "held.intro",
    "held.ledger_level",
    "held.ledger_level_intro",
    "held.none",
    "held.personal_intro",
    "held.received_from",
    "page",
    "rights.access",
    "rights.child",
    "rights.complaint",
    "rights.correct",
    "rights.erase",
    "rights.explain",
    "rights.heading",
    "rights.intro",
    "sign.codes",
    "title",
    "trail.agency",
    "trail.annulled",
    "trail.heading",
    "trail.intro",
    "trail.none",
    "trail.signature",
    "trail.what",
    "trail.when",
)
"""The fixed texts of the document, ``text.`` before each."""

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
"""Names that CLDR has not in all three languages, or not in the standard of the language."""

_PICKLISTS: tuple[type[StrEnum], ...] = (
    CaseStatus,
    FieldGroup,
    LegalBasis,
    Level,
    Purpose,
    SignatureState,
    Stage,
    TraffickingStatus,
)
"""Those that the document shows besides the picklists of the actions' fields."""


def required() -> frozenset[str]:
    """The ids of all messages that a catalogue must hold, and no other."""
    return frozenset((*CODES, *_texts(), *_actions(), *_values(), *_protocol()))


def picklists() -> frozenset[type[StrEnum]]:
    """Every picklist whose values the document can show."""
    fields = {s for kind in ALL_ACTIONS for s in shapes(kind).values()}
    return frozenset((*_PICKLISTS, *(s for s in fields if not isinstance(s, Plain))))


def value_id(value: StrEnum) -> str:
    """The id of a picklist value's message."""
    return f"value.{type(value).__name__}.{value.value}"


def _texts() -> Iterator[str]:
    return (f"text.{name}" for name in TEXTS)


def _actions() -> Iterator[str]:
    for kind in ALL_ACTIONS:
        yield f"kind.{kind}"
        yield from (f"field.{name}" for name in shapes(kind))


def _values() -> Iterator[str]:
    yield from ("value.bool.false", "value.bool.true")
    for picklist in picklists():
        yield from (value_id(value) for value in picklist)


def _protocol() -> Iterator[str]:
    """The proper names of the protocol that ships with the ledger."""
    protocol = shipped_protocol()
    yield f"protocol.{protocol.id}"
    yield from (f"role.{role}" for role in protocol.roles)
    yield from (f"agency.{agency.id}" for agency in protocol.agencies)
