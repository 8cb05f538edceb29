"""The words of the pages for documents: who may read them, and a case's documents in groups."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from api.client.schemas.case_documents import AwaitedDocument, DocumentInventory, ListedDocument
from api.paper.subject_access.wording import Wording
from api.web.texts import PageTexts
from ledger.procedure.case_fold import annulled_ids
from ledger.procedure.protocol import Operation, Protocol
from ledger.vault.held_fields import Held
from ledger.vocabulary.case_reference import case_reference
from ledger.vocabulary.documents import DOCUMENT_FIELDS, DocumentAdded, VersionClaim, shown_document
from ledger.vocabulary.levels import FieldGroup
from projections.folds.audit_trail import TrailEntry

PREVIEWED = frozenset({"application/pdf", "image/png", "image/jpeg", "image/heic", "image/tiff"})
"""The media types of which the node makes pictures."""
_MEGABYTE, _KILOBYTE, _FEW = 1_000_000, 1_000, 100_000


class Order(StrEnum):
    """The groups of a list of documents."""

    ACTION = "action"
    KIND = "kind"


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """One document of a list."""

    listed: ListedDocument
    kind: str
    size: str
    belongs_to: str
    """The name of the action that the document belongs to, or of the merged case whose document it
    is; empty: the case itself."""
    added_by: str
    added_at: datetime
    also_signed: tuple[tuple[str, datetime], ...]
    """The other agencies that signed it, with the time of the act."""
    has_preview: bool
    pages_said: int | None
    """The number of pages that a redacted version has by what its action says."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """The places of the content of a document besides this node."""

    awaited: str
    """The progress of another country's content on its way here; empty if it is not awaited."""
    given: tuple[str, ...]
    """The countries to which this country's node gives the content."""


@dataclass(frozen=True, slots=True)
class CaseLevelDocument:
    """A document at ``case`` level, for the page of the case."""

    title: str
    kind: str
    belongs_to: str
    added_at: datetime


def size_text(size: int, words: Wording) -> str:
    """Return a size in megabytes, or in kilobytes if it is small."""
    if size < _FEW:
        return f"{words.number((Decimal(size) / _KILOBYTE).quantize(Decimal('0.1')))} kB"
    return f"{words.number((Decimal(size) / _MEGABYTE).quantize(Decimal('0.1')))} MB"


def readers(
    protocol: Protocol, party: str, countries: Sequence[str], words: Wording, texts: PageTexts
) -> Mapping[str, str]:
    """Return who may read a document, by its field group; at ``case`` level the key is empty.

    ``party`` is the country that adds the document, ``countries`` are those of the case.
    """
    named = ", ".join(words.country(country) for country in countries)
    roles = dict.fromkeys(a.role for a in protocol.working_agencies if a.party == party)
    found = {"": texts.text("docs.readers.case", countries=named)}
    for group in FieldGroup:
        reading = [role for role in roles if protocol.allows(role, Operation.READ, group)]
        said = ", ".join(words.role(role) for role in reading)
        found[group.value] = (
            texts.text("docs.readers.group", country=words.country(party), roles=said)
            if reading
            else texts.text("docs.readers.none", country=words.country(party))
        )
    return found


def document_rows(
    listed: Iterable[ListedDocument],
    trail: Sequence[TrailEntry],
    named: Mapping[str, str],
    words: Wording,
    texts: PageTexts,
) -> Sequence[DocumentRow]:
    """Return the rows of documents; ``named`` has the names of agencies and actions by id.

    A document of a case that was merged with the case of ``trail`` belongs to that case.
    """
    own = {entry.action_id for entry in trail}

    def belonging(one: ListedDocument) -> str:
        if one.id not in own:
            return texts.text("docs.of_merged", reference=case_reference(one.case_id))
        return named.get(str(one.belongs_to), "") if one.belongs_to is not None else ""

    return [
        DocumentRow(
            listed=one,
            kind=words.picked(one.document.document_kind),
            size=size_text(one.document.size, words),
            belongs_to=belonging(one),
            added_by=named.get(one.agency, one.agency),
            added_at=one.signatures[0].acted_at,
            also_signed=tuple(
                (named.get(other.agency, other.agency), other.acted_at)
                for other in one.signatures[1:]
            ),
            has_preview=one.document.media_type in PREVIEWED,
            pages_said=VersionClaim(
                one.pages_of_original, one.pages_left_out, one.pages_marked
            ).pages,
        )
        for one in listed
    ]


def whereabouts(
    inventory: DocumentInventory, words: Wording, texts: PageTexts
) -> Mapping[UUID, Whereabouts]:
    """Return where the contents of a case's documents are, by the action that has the document."""
    given: dict[UUID, list[str]] = {}
    for one in inventory.given:
        text = "docs.given" if one.held_at is None else "docs.held"
        said = texts.text(text, country=words.country(one.recipient))
        given.setdefault(one.id, []).append(said)
    awaited = {
        one.id: _awaited(one, words, texts) for one in inventory.awaited if one.state != "held"
    }
    return {
        action: Whereabouts(awaited.get(action, ""), tuple(given.get(action, ())))
        for action in {*given, *awaited}
    }


def _awaited(one: AwaitedDocument, words: Wording, texts: PageTexts) -> str:
    origin = one.origin or one.asked
    country = words.country(origin) if origin is not None else "—"
    if one.state == "refused":
        return (
            texts.find(f"docs.content.{one.refused}") or texts.text("docs.content.other")
        ).format(country=country)
    if one.state == "missing":
        return texts.text("docs.content.missing", country=country)
    return texts.text(
        "docs.content.coming",
        country=country,
        received=size_text(one.received, words),
        size=size_text(one.size, words),
    )


def grouped(
    rows: Iterable[DocumentRow], order: Order, of_case: str
) -> Sequence[tuple[str, Sequence[DocumentRow]]]:
    """Return rows in groups with their headings; ``of_case`` is that of the case itself."""

    def heading(row: DocumentRow) -> str:
        return row.kind if order is Order.KIND else row.belongs_to or of_case

    found: dict[str, list[DocumentRow]] = {}
    for row in rows:
        found.setdefault(heading(row), []).append(row)
    headings = sorted(found, key=str.casefold) if order is Order.KIND else [*found]
    return [(one, found[one]) for one in headings]


def case_level_documents(
    trail: Sequence[TrailEntry], held: Iterable[Held], named: Mapping[str, str], words: Wording
) -> Iterator[CaseLevelDocument]:
    """Yield the documents among a case's opened ``case`` fields, as they were recorded."""
    annulled = annulled_ids(trail)
    values = {(one.action_id, one.field): one.value for one in held}
    for entry in trail:
        for field in DOCUMENT_FIELDS:
            value = values.get((entry.action_id, field))
            is_signature = (entry.action_id, "signs") in values
            if value is None or is_signature or entry.action_id in annulled:
                continue
            document = shown_document(value)
            is_added = entry.kind == DocumentAdded.kind
            belonging = values.get((entry.action_id, "belongs_to")) if is_added else entry.action_id
            yield CaseLevelDocument(
                title=document.title,
                kind=words.picked(document.document_kind),
                belongs_to=named.get(str(belonging), "") if belonging is not None else "",
                added_at=entry.acted_at,
            )
