"""Personal fields: readings, the access log, and the file for the person."""

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import Field, JsonValue

from api.client.schemas.cases import DisclosedFields
from api.client.schemas.document import Document
from ledger.procedure.erasures import ErasedData
from ledger.procedure.readings import Reading
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import LegalBasis, Purpose
from ledger.vocabulary.types import AgencyId, LanguageTag

Language = LanguageTag
"""A language, by the code of its catalogues, such as ``sq``, ``cnr``, ``en`` or ``el``.

A node has the languages that its protocol names, where it has their catalogues."""


class ReadingRequest(Document):
    """The personal fields to open, and the purpose."""

    groups: Annotated[tuple[FieldGroup, ...], Field(min_length=1, max_length=8)]
    purpose: Purpose
    basis: LegalBasis | None = None
    """The legal basis, where a certain one is meant. Danger to life is always named."""


class PersonalField(Document):
    """One personal field that was opened."""

    action_id: UUID
    kind: str
    agency: AgencyId
    """The agency that recorded it."""
    field: str
    group: FieldGroup
    value: JsonValue
    digest: str
    """The digest that the agency signed. A release names fields by it."""
    received_from: str | None
    """The country that released it, where it was another's."""
    superseded_by: UUID | None = None
    """The action by which it counts no more: a newer statement, or the correction that annuls it.

    ``None`` for what counts."""


class ReadingResult(Document):
    """The opened fields, and their entry in the access log."""

    reading: Reading
    fields: tuple[PersonalField, ...]
    presentations: tuple[str, ...]
    """The same fields as SD-JWTs (RFC 9901), one for each action, as its agency signed them:
    any SD-JWT verifier checks them with that agency's public key."""
    damaged: tuple[DisclosedFields, ...] = ()
    """Fields that do not open at their place, by action: somebody changed the vault's rows."""
    erased: ErasedData | None = None
    """When and why what this country held on the person was erased, if it was."""


class DestructionReading(Document):
    """The disclosures of an annulled action that the caller's country holds, and the reading."""

    reading: Reading
    disclosed: DisclosedFields


class SubjectAccessRequest(Document):
    """In which language the person is to have the file, by the language's code."""

    language: Language


class HeldBackGround(StrEnum):
    """A ground on which a document is not given to the person. An assumption of this program."""

    ANOTHER_PERSON = "another_person"
    """It tells of another person, whose rights it would harm."""
    DANGER = "danger"
    """It would put the person or another one in danger."""
    PROCEEDINGS = "proceedings"
    """It would harm an investigation or a trial."""


class HeldBack(Document):
    """A document that is not given to the person. The index says so."""

    document: UUID
    """The action that has the document."""
    ground: HeldBackGround


class SubjectArchiveRequest(SubjectAccessRequest):
    """The language of the index of a person's documents, and the documents that are held back."""

    held_back: Annotated[tuple[HeldBack, ...], Field(max_length=1000)] = ()


class ReadingPage(Document):
    """Entries of the access log, the first one first."""

    readings: tuple[Reading, ...]
    changed: tuple[int, ...] = ()
    """The numbers of entries on this person that do not hold: somebody changed the log."""
