"""Rules for contents between countries, and the contents that this country gave.

Both nodes ask the same rule of their own copies of the ledger: the one before it asks, the other
before it gives.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from psycopg import Connection
from psycopg.rows import DictRow
from psycopg.sql import SQL, Composed, Identifier

from ledger.events.act import Act
from ledger.procedure.case import Case
from ledger.procedure.legal_basis import Basis, release_bases
from ledger.procedure.protocol import Operation, Protocol
from ledger.store.database import Database
from ledger.store.migrate import vault_role, vault_schema
from ledger.vault.documents.content_messages import ContentRefusal
from ledger.vault.required_disclosures import FieldPart, RequiredPart, must_hold, released_digests
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.levels import FieldGroup, FieldLevel, Level
from ledger.vocabulary.picklists import LegalBasis
from ledger.vocabulary.types import UtcDatetime


@dataclass(frozen=True, slots=True)
class NamedContent:
    """A document as the ledger and the vaults of two countries know it."""

    action: UUID
    field: str
    level: FieldLevel
    digest: str
    """Of the disclosure that names it."""


@dataclass(frozen=True, slots=True)
class MayGive:
    """The reason for which one country gives another a content."""

    part: RequiredPart
    release: Act | None
    """The release that a personal document stands on."""


@dataclass(frozen=True, slots=True)
class Between:
    """Two countries, and the rules in force between them."""

    giver: str
    to: str
    directory: Protocol
    """It has every agency's party."""
    today: Protocol
    at: datetime


def due_part(case: Case, party: str, content: NamedContent, directory: Protocol) -> RequiredPart:
    """Return the part of the action by which a country must hold a content.

    Raises ``LookupError`` if the ledger does not say that it must.
    """
    for one in must_hold(case, party, directory):
        if one.action != content.action:
            continue
        if one.part is FieldPart.OWN:
            return one
        if one.part is FieldPart.CASE and content.level.level is Level.CASE:
            return one
        if one.part is FieldPart.RELEASED and content.digest in (one.digests or ()):
            return one
    raise LookupError("the country must not hold this content")


def may_give(case: Case, content: NamedContent, way: Between) -> MayGive | ContentRefusal:
    """Return on what a country gives another a content, or the rule by which it does not.

    A release on a consent is good for it only while the consent stands. What a best-interests
    decision allowed to release stays released when the decision ends.
    """
    if {way.giver, way.to} & way.today.left_parties.keys():
        return ContentRefusal.NOT_DUE
    try:
        due_part(case, way.giver, content, way.directory)  # else it has nothing to give
        part = due_part(case, way.to, content, way.directory)
    except LookupError:
        return ContentRefusal.NOT_DUE
    if way.giver not in part.holders:
        return ContentRefusal.NOT_DUE
    if part.part is not FieldPart.RELEASED:
        return MayGive(part, None)
    refused = ContentRefusal.NOT_DUE
    for release in _releases(case, content, way):
        role = way.directory.agencies_by_id[release.agency].role
        if content.level.group is None or not way.today.allows(
            role, Operation.RELEASE, content.level.group
        ):
            refused = ContentRefusal.ACCESS_MATRIX
        elif not _stands(case, release, content.level.group, way):
            refused = ContentRefusal.WITHDRAWN
        else:
            return MayGive(part, release)
    return refused


def _releases(case: Case, content: NamedContent, way: Between) -> Iterator[Act]:
    """Yield the releases of a content from one country to the other, the last one first."""
    for release in reversed([*case.history.values()]):
        if (
            release.kind == "information_released"
            and release.fields["recipient"] == way.to
            and way.directory.agencies_by_id[release.agency].party == way.giver
            and content.level.group in release.fields["groups"]
            and content.digest in released_digests(release).get(content.action, ())
        ):
            yield release


def _stands(case: Case, release: Act, group: FieldGroup, way: Between) -> bool:
    named = Basis(LegalBasis(release.fields["basis"]), UUID(release.fields["basis_action"]))
    if named.kind is not LegalBasis.CONSENT:
        return True
    agency = way.directory.agencies_by_id[release.agency]
    found = release_bases(case.state, way.today, agency, way.to, group, way.at, case.history)
    return named in found


class GivenContent(LedgerModel):
    """A content that this country gave, and the other country's statement that it holds it."""

    action: UUID
    digest: str
    """Of the disclosure that names the document."""
    recipient: str
    begun_at: UtcDatetime
    """The time at which the first chunk was sent."""
    last_at: UtcDatetime
    held_at: UtcDatetime | None
    """The time at which the signed statement came."""
    statement: str | None


class GivenContents:
    """The contents that one country gave. They hold nothing of the contents."""

    def __init__(self, database: Database, party: str) -> None:
        self._database = database
        self._role = vault_role(party)
        self._schema = Identifier(vault_schema(party))

    def begin(self, case_id: UUID, content: NamedContent, recipient: str) -> None:
        """Note that chunks of a content are sent to a country now."""
        upsert = (
            "INSERT INTO {}.contents_given (action_id, digest, recipient, case_id)"
            " VALUES (%s, %s, %s, %s) ON CONFLICT (action_id, digest, recipient)"
            " DO UPDATE SET last_at = now()"
        )
        self._execute(upsert, (content.action, content.digest, recipient, case_id))

    def confirmed(self, action: UUID, digest: str, recipient: str, statement: str) -> bool:
        """Note a country's verified statement. Returns whether the content was given to it."""
        update = (
            "UPDATE {}.contents_given SET held_at = now(), statement = %s"
            " WHERE action_id = %s AND digest = %s AND recipient = %s"
        )
        return self._execute(update, (statement, action, digest, recipient)) > 0

    def of_case(self, case_id: UUID) -> Sequence[GivenContent]:
        """Return the contents of a case that this country gave."""
        select = (
            "SELECT action_id AS action, digest, recipient, begun_at, last_at, held_at, statement"
            " FROM {}.contents_given WHERE case_id = %s ORDER BY begun_at, action_id, recipient"
        )
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(self._sql(select), (case_id,)).fetchall()
        return [GivenContent.model_validate(row) for row in rows]

    def forget(self, connection: Connection[DictRow], case_id: UUID) -> None:
        """Remove the notes on an erased person, within the caller's transaction."""
        delete = self._sql("DELETE FROM {}.contents_given WHERE case_id = %s")
        connection.execute(delete, (case_id,))

    def _execute(self, statement: LiteralString, values: Sequence[object]) -> int:
        with self._database.transaction(role=self._role) as connection:
            return connection.execute(self._sql(statement), values).rowcount

    def _sql(self, statement: LiteralString) -> Composed:
        return SQL(statement).format(self._schema)
