"""The members of agencies: who acts for an agency, by a pseudonym, and under a name at home.

Every country sees a member's pseudonym: the registration of a key names it. The name and the
position lie in the database of the member's own country, sealed under a key of the member's own.
"""

import hashlib
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID, uuid4

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg import Connection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb
from pydantic import BaseModel, ConfigDict, Field

from ledger.refusals import Ground, Refusal
from ledger.signing.country_key import SealError
from ledger.signing.keys import from_public, key_id
from ledger.store.database import Database
from ledger.store.disk import until_given_way
from ledger.vault.data_keys import DataKeys
from ledger.vocabulary.registration import KeyRequest
from ledger.vocabulary.types import Name

INVITATION_LIFETIME = timedelta(days=7)
MOST_ASKED = 10
"""Keys of one member that wait to be registered; the oldest beyond them are dropped."""
_NONCE_BYTES = 12
_AT_MOST = 2_000
"""Members of one agency, those that are disabled among them."""


class MemberDetails(BaseModel):
    """The name and the position of a member, which the member's own country alone knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    position: Annotated[Name | None, Field(max_length=120)] = None
    """The person's function in the agency, such as ``case worker``."""


@dataclass(frozen=True, slots=True)
class Member:
    """A person who works for an agency."""

    id: UUID
    party: str
    agency: str
    details: MemberDetails | None
    """``None`` for a member whom a provider signed in and nobody has named, and once erased."""
    is_head: bool
    """Whether the member may add, change and disable the members of the agency."""
    is_known_to_provider: bool
    added_at: datetime
    disabled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Manager:
    """A manager of members: an agency, and its member if the key or session has one."""

    agency: str
    member: UUID | None


@dataclass(frozen=True, slots=True)
class KeyAsked:
    """A key that a member's browser made, and that no coordinator has registered yet."""

    key_id: str
    member: UUID
    request: KeyRequest
    asked_at: datetime


class Members:
    """The members of the agencies of this node's countries."""

    def __init__(self, database: Database, keys: Mapping[str, DataKeys]) -> None:
        """Prepare the members. ``keys`` has the data keys of each country of this node."""
        self._database = database
        self._keys = keys

    def of_agencies(self, agencies: Collection[str]) -> list[Member]:
        """Return the members of agencies, by agency, heads first, then by when they were added."""
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT * FROM access.members WHERE agency = ANY(%s)"
                " ORDER BY agency, is_head DESC, added_at, id",
                (list(agencies),),
            ).fetchall()
        return [self._member(row) for row in rows]

    def get(self, member: UUID) -> Member | None:
        """Return a member, or ``None`` if this node knows none by this id."""
        return self.some([member]).get(member)

    def some(self, members: Collection[UUID]) -> Mapping[UUID, Member]:
        """Return those of the members that this node knows, by their ids."""
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT * FROM access.members WHERE id = ANY(%s)", (list(members),)
            ).fetchall()
        return {row["id"]: self._member(row) for row in rows}

    def left_before(self, moment: datetime, limit: int = 200) -> list[Member]:
        """Return members who were disabled before a moment and whose name is still here."""
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT * FROM access.members WHERE disabled_at < %s AND sealed IS NOT NULL"
                " ORDER BY disabled_at, id LIMIT %s",
                (moment, limit),
            ).fetchall()
        return [self._member(row) for row in rows]

    def disabled_among(self, members: Collection[UUID]) -> frozenset[UUID]:
        """Return those of the members that are disabled."""
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT id FROM access.members WHERE id = ANY(%s) AND disabled_at IS NOT NULL",
                (list(members),),
                prepare=True,
            ).fetchall()
        return frozenset(row["id"] for row in rows)

    def active_among(self, agency: str, members: Collection[UUID]) -> frozenset[UUID]:
        """Return those of the members who work for an agency now."""
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT id FROM access.members"
                " WHERE id = ANY(%s) AND agency = %s AND disabled_at IS NULL",
                (list(members), agency),
            ).fetchall()
        return frozenset(row["id"] for row in rows)

    @until_given_way
    def add(
        self, party: str, agency: str, details: MemberDetails, by: Manager, *, is_head: bool = False
    ) -> Member:
        """Add a member. Raises ``Refusal`` (``too-many-members``)."""
        member = uuid4()
        sealed = self._seal(party, agency, member, details)
        with self._database.transaction() as connection:
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 7))", (agency,))
            found = connection.execute(
                "SELECT count(*) AS n FROM access.members WHERE agency = %s", (agency,)
            ).fetchone()
            if found is not None and found["n"] >= _AT_MOST:
                raise Refusal(
                    Ground.CONFLICT,
                    "too-many-members",
                    f"An agency has at most {_AT_MOST} members, those that left among them: erase"
                    " some that left.",
                )
            connection.execute(
                "INSERT INTO access.members (id, party, agency, sealed, is_head)"
                " VALUES (%s, %s, %s, %s, %s)",
                (member, party, agency, sealed, is_head),
            )
            _note(connection, member, "added", by)
        return self._known(member)

    @until_given_way
    def signed_in(self, party: str, agency: str, person: str) -> Member:
        """Return the member whom the agency's provider signed in, and add one the first time.

        ``person`` is the provider's pseudonym of the person. Raises ``Refusal``
        (``member-disabled``).
        """
        with self._database.transaction() as connection:
            made = connection.execute(
                "INSERT INTO access.members (id, party, agency, person) VALUES (%s, %s, %s, %s)"
                " ON CONFLICT (agency, person) DO NOTHING RETURNING id",
                (uuid4(), party, agency, person),
            ).fetchone()
            if made is not None:
                _note(connection, made["id"], "signed-in", Manager(agency, made["id"]))
            row = connection.execute(
                "SELECT * FROM access.members WHERE agency = %s AND person = %s",
                (agency, person),
            ).fetchone()
        if row is None:
            raise RuntimeError("a member that was just added is not there")
        member = self._member(row)
        if member.disabled_at is not None:
            raise member_disabled()
        return member

    @until_given_way
    def change(self, member: Member, details: MemberDetails, by: Manager, *, is_head: bool) -> None:
        """Give a member another name, another position, or other rights.

        Raises ``Refusal`` (``member-disabled``).
        """
        sealed = self._seal(member.party, member.agency, member.id, details)
        with self._database.transaction() as connection:
            changed = connection.execute(
                "UPDATE access.members SET sealed = %s, is_head = %s"
                " WHERE id = %s AND disabled_at IS NULL",
                (sealed, is_head, member.id),
            ).rowcount
            if not changed:
                raise member_disabled()
            _note(connection, member.id, "changed", by)

    @until_given_way
    def disable(self, member: UUID, by: Manager) -> None:
        """Disable a member: end the sessions, and accept none of the member's keys any more here.

        Repeating it is harmless. The keys themselves are revoked by acts on the protocol.
        """
        with self._database.transaction() as connection:
            done = connection.execute(
                "UPDATE access.members SET disabled_at = now(), is_head = false"
                " WHERE id = %s AND disabled_at IS NULL",
                (member,),
            ).rowcount
            connection.execute("DELETE FROM access.invitations WHERE member = %s", (member,))
            connection.execute("DELETE FROM access.key_requests WHERE member = %s", (member,))
            if done:
                _note(connection, member, "disabled", by)
        with self._database.connection() as connection:  # also of a sign-in that came in between
            connection.execute("DELETE FROM access.sessions WHERE member = %s", (member,))

    @until_given_way
    def enable(self, member: UUID, by: Manager) -> None:
        """Let a disabled member in again. Repeating it is harmless.

        A session that a sign-in began while the member was disabled does not count after it.
        """
        with self._database.transaction() as connection:
            connection.execute(
                "DELETE FROM access.sessions s USING access.members m"
                " WHERE s.member = %s AND m.id = s.member AND m.disabled_at IS NOT NULL",
                (member,),
            )
            done = connection.execute(
                "UPDATE access.members SET disabled_at = NULL"
                " WHERE id = %s AND disabled_at IS NOT NULL",
                (member,),
            ).rowcount
            if done:
                _note(connection, member, "enabled", by)

    @until_given_way
    def erase(self, member: Member, by: Manager) -> None:
        """Erase the name and the position of a member who is disabled, in every backup too.

        The pseudonym stays, because the ledger has it. The provider's pseudonym stays too: without
        it the person would come back by the provider as a new member. Raises ``Refusal``
        (``member-active``).
        """
        if member.disabled_at is None:
            raise Refusal(
                Ground.CONFLICT, "member-active", "Disable the member first, then erase the name."
            )
        self._of(member.party).destroy_member_key(member.id)
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE access.members SET sealed = NULL WHERE id = %s", (member.id,)
            )
            _note(connection, member.id, "erased", by)

    @until_given_way
    def invite(self, member: UUID, by: Manager) -> str:
        """Return the secret of a link by which one browser hands in a key for the member.

        It is good once and for ``INVITATION_LIFETIME``. Earlier links of the member end. Raises
        ``Refusal`` (``member-disabled``).
        """
        secret = secrets.token_urlsafe(32)
        with self._database.transaction() as connection:
            _lock_active(connection, member)
            connection.execute("DELETE FROM access.invitations WHERE member = %s", (member,))
            connection.execute(
                "INSERT INTO access.invitations (digest, member, expires_at)"
                " VALUES (%s, %s, now() + %s)",
                (_digest(secret), member, INVITATION_LIFETIME),
            )
            _note(connection, member, "invited", by)
        return secret

    def invited(self, secret: str) -> Member | None:
        """Return the member whom a link is for, or ``None`` if it was used, ended or never was."""
        with self._database.connection() as connection:
            row = connection.execute(
                "SELECT * FROM access.members WHERE disabled_at IS NULL AND id ="
                " (SELECT member FROM access.invitations WHERE digest = %s AND expires_at > now())",
                (_digest(secret),),
            ).fetchone()
        return None if row is None else self._member(row)

    @until_given_way
    def hand_in(self, secret: str, request: KeyRequest) -> Member:
        """Take in the key that a browser made, by a link that thereby is used.

        Raises ``Refusal`` (``invitation-over``, ``member-disabled``, ``key-of-another-agency``).
        """
        with self._database.transaction() as connection:
            found = connection.execute(
                "SELECT member FROM access.invitations WHERE digest = %s", (_digest(secret),)
            ).fetchone()
            if found is None:
                raise invitation_over()
            row = _lock_active(connection, found["member"])
            used = connection.execute(
                "DELETE FROM access.invitations WHERE digest = %s AND expires_at > now()",
                (_digest(secret),),
            ).rowcount
            if not used:
                raise invitation_over()
            _ask(connection, row["id"], row["agency"], request)
        return self._member(row)

    @until_given_way
    def ask(self, member: Member, request: KeyRequest) -> None:
        """Take in another key of a member who is signed in.

        Raises ``Refusal`` (``member-disabled``, ``key-of-another-agency``).
        """
        with self._database.transaction() as connection:
            _lock_active(connection, member.id)
            _ask(connection, member.id, member.agency, request)

    def asked(self, agencies: Collection[str]) -> list[KeyAsked]:
        """Return the keys of members of agencies that wait to be registered, the oldest first."""
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT r.key_id, r.member, r.request, r.asked_at FROM access.key_requests r"
                " JOIN access.members m ON m.id = r.member"
                " WHERE m.agency = ANY(%s) ORDER BY r.asked_at, r.key_id",
                (list(agencies),),
            ).fetchall()
        return [
            KeyAsked(
                row["key_id"],
                row["member"],
                KeyRequest.model_validate(row["request"]),
                row["asked_at"],
            )
            for row in rows
        ]

    @until_given_way
    def settle(self, key_ids: Collection[str]) -> None:
        """Forget keys that were registered, or that the coordinator does not register."""
        with self._database.connection() as connection:
            connection.execute(
                "DELETE FROM access.key_requests WHERE key_id = ANY(%s)", (list(key_ids),)
            )

    def changes(self, member: UUID) -> Sequence[Mapping[str, Any]]:
        """Return who changed a member, how and when, the first change first.

        Each has ``change``, ``by_agency``, ``by_member`` and ``at``.
        """
        with self._database.connection() as connection:
            return connection.execute(
                "SELECT change, by_agency, by_member, at FROM access.member_changes"
                " WHERE member = %s ORDER BY id",
                (member,),
            ).fetchall()

    def _known(self, member: UUID) -> Member:
        found = self.get(member)
        if found is None:
            raise RuntimeError("a member that was just added is not there")
        return found

    def _member(self, row: Mapping[str, Any]) -> Member:
        return Member(
            id=row["id"],
            party=row["party"],
            agency=row["agency"],
            details=self._open(row),
            is_head=row["is_head"],
            is_known_to_provider=row["person"] is not None,
            added_at=row["added_at"],
            disabled_at=row["disabled_at"],
        )

    def _of(self, party: str) -> DataKeys:
        keys = self._keys.get(party)
        if keys is None:
            raise Refusal(
                Ground.NOT_ALLOWED,
                "another-countrys-node",
                "This is another country's node; ask your own.",
            )
        return keys

    def _seal(self, party: str, agency: str, member: UUID, details: MemberDetails) -> bytes:
        key, nonce = self._of(party).make_member_key(member), secrets.token_bytes(_NONCE_BYTES)
        content = details.model_dump_json().encode()
        return nonce + AESGCM(key).encrypt(nonce, content, _bound(member, agency))

    def _open(self, row: Mapping[str, Any]) -> MemberDetails | None:
        """Return the details of a row; ``None`` if there are none or the key is gone.

        Raises ``SealError`` if they are those of another member, or altered.
        """
        sealed = row["sealed"]
        key = self._of(row["party"]).member_key(row["id"]) if sealed is not None else None
        if key is None:
            return None
        nonce, content = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            opened = AESGCM(key).decrypt(nonce, content, _bound(row["id"], row["agency"]))
        except InvalidTag as error:
            raise SealError("the name of a member does not open at its place") from error
        return MemberDetails.model_validate_json(opened)


def invitation_over() -> Refusal:
    """Make the refusal of a link that was used, ended or never was."""
    return Refusal(
        Ground.NOT_ALLOWED,
        "invitation-over",
        "This link was used, or it is older than seven days. Ask for another one.",
    )


def member_disabled() -> Refusal:
    """Make the refusal of a person who is no active member any more."""
    return Refusal(
        Ground.NOT_ALLOWED,
        "member-disabled",
        "This member is disabled: the head of the agency or the coordinator enables it again.",
    )


def _ask(connection: Connection[DictRow], member: UUID, agency: str, request: KeyRequest) -> None:
    if request.agency != agency:
        raise Refusal(
            Ground.INVALID,
            "key-of-another-agency",
            "The browser made this key for another agency.",
            "agency",
        )
    connection.execute(
        "INSERT INTO access.key_requests (key_id, member, request) VALUES (%s, %s, %s)"
        " ON CONFLICT (key_id) DO NOTHING",
        (
            key_id(from_public(request.key)),
            member,
            Jsonb(request.model_dump(mode="json", exclude_none=True)),
        ),
    )
    # Anybody who is signed in can ask without end: only the newest keys wait.
    connection.execute(
        "DELETE FROM access.key_requests WHERE key_id IN (SELECT key_id FROM access.key_requests"
        " WHERE member = %s ORDER BY asked_at DESC, key_id OFFSET %s)",
        (member, MOST_ASKED),
    )


def _lock_active(connection: Connection[DictRow], member: UUID) -> DictRow:
    """Return the row of a member, who stays active until the transaction ends.

    Disabling the member waits for the transaction, and then removes what the transaction wrote.
    Raises ``Refusal`` (``member-disabled``).
    """
    row = connection.execute(
        "SELECT * FROM access.members WHERE id = %s AND disabled_at IS NULL FOR SHARE", (member,)
    ).fetchone()
    if row is None:
        raise member_disabled()
    return row


def _note(connection: Connection[DictRow], member: UUID, change: str, by: Manager) -> None:
    connection.execute(
        "INSERT INTO access.member_changes (member, change, by_agency, by_member)"
        " VALUES (%s, %s, %s, %s)",
        (member, change, by.agency, by.member),
    )


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _bound(member: UUID, agency: str) -> bytes:
    return f"case-ledger member 1\n{member}\n{agency}\n".encode()
