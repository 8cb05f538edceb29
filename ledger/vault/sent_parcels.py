"""The parcels that a country has to send to other countries, and the outcome of each.

Each row names a parcel and holds nothing of its content. A parcel is made when it is sent, from the
rows that the vault holds then. So an erased person's fields are not sent again, and the database
keeps nothing that another country's key would open.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, LiteralString, Self
from uuid import UUID

from psycopg.rows import DictRow
from psycopg.sql import SQL, Composed, Identifier

from ledger.store.database import Database
from ledger.store.migrate import vault_role, vault_schema
from ledger.vault.acknowledgements import ParcelOutcome

PRESENTATION = "presentation"
"""The kind of parcels that are made of rows of the vault's disclosures."""
AGAIN_AFTER = timedelta(seconds=5)
"""The pause before a parcel is sent again; it doubles each time."""
AGAIN_AT_MOST_AFTER = timedelta(hours=6)
NOT_UNDERSTOOD_AFTER = timedelta(days=1)
_COLUMNS = (
    "seq, id, recipient, kind, about, release, state, queued_at, tries, digest, reason, settled_at"
)


class SentState(StrEnum):
    """The state of a parcel, by its sender's rows."""

    DUE = "due"
    """It is to be handed in, for the first time or again."""
    SENT = "sent"
    """It was handed in. No acknowledgement that verifies has come."""
    TAKEN_IN = "taken_in"
    """The recipient's node signed that it took the parcel in."""
    ERASED = "erased"
    """The recipient's node signed that the person is erased there, or the action annulled."""
    NOT_BELIEVED = "not_believed"
    """The recipient's node signed that the parcel contradicts the ledger or the protocol."""


_SETTLES: Mapping[ParcelOutcome, SentState] = {
    ParcelOutcome.TAKEN_IN: SentState.TAKEN_IN,
    ParcelOutcome.ERASED: SentState.ERASED,
    ParcelOutcome.NOT_BELIEVED: SentState.NOT_BELIEVED,
}


@dataclass(frozen=True, slots=True)
class SentParcel:
    """One parcel, by name."""

    seq: int
    id: UUID
    recipient: str
    kind: str
    about: UUID | None
    release: UUID | None
    state: SentState
    queued_at: datetime
    """When it was to be sent for the first time, or asked for again."""
    tries: int
    digest: bytes | None
    reason: str | None
    settled_at: datetime | None

    @classmethod
    def of(cls, row: DictRow) -> Self:
        digest = row["digest"]
        return cls(
            **{
                **row,
                "state": SentState(row["state"]),
                "digest": bytes(digest) if digest is not None else None,
            }
        )


@dataclass(frozen=True, slots=True)
class Unacknowledged:
    """The number of a country's parcels that a recipient has not acknowledged, and since when."""

    recipient: str
    parcels: int
    oldest_at: datetime


@dataclass(frozen=True, slots=True)
class FailedSendings:
    """The number of parcels for a recipient that did not arrive for one reason."""

    recipient: str
    reason: str
    is_refused: bool
    """Whether the recipient did not accept them. Otherwise they are sent again."""
    parcels: int
    oldest_at: datetime


@dataclass(frozen=True, slots=True)
class ToDo:
    """The steps that a country's parcels need now."""

    recipients: frozenset[str]
    """Countries for which parcels are due."""
    has_unanswered: bool
    """Whether any parcel was handed in and has no outcome."""


class SentParcels:
    """The table of one country's vault. Its keeper's role alone reaches it."""

    def __init__(self, database: Database, party: str) -> None:
        self._database = database
        self._schema = vault_schema(party)
        self._role = vault_role(party)

    def queue(
        self,
        recipient: str,
        presentations: Iterable[tuple[UUID, UUID, UUID | None]],
        *,
        again: bool = False,
    ) -> int:
        """Note that fields of actions are to be sent, and return how many parcels became due.

        ``presentations`` has the parcel id, the action and the release of each parcel. A parcel
        that is noted already stays as it is. ``again`` makes such a parcel due, even if the
        recipient has acknowledged it. The note is durable on return.
        """
        conflict: LiteralString = (
            "UPDATE SET state = 'due', due_at = now(), queued_at = now(), tries = 0,"
            " reason = NULL, acknowledgement = NULL, settled_at = NULL"
            if again
            else "NOTHING"
        )
        insert = SQL(
            "INSERT INTO {}.parcels_sent (id, recipient, kind, about, release, state)"
            " SELECT i, %s, %s, a, r, 'due' FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[])"
            " t (i, a, r) ON CONFLICT (id) DO {}"
        ).format(Identifier(self._schema), SQL(conflict))
        listed = {one[0]: one for one in presentations}.values()
        columns = [list(column) for column in zip(*listed, strict=True)]
        if not columns:
            return 0
        with self._database.transaction(role=self._role) as connection:
            return connection.execute(insert, (recipient, PRESENTATION, *columns)).rowcount

    def due(self, recipient: str, limit: int) -> list[SentParcel]:
        """Return the parcels to hand in for a recipient now, the first one first."""
        return self._select(
            "recipient = %s AND state = 'due' AND due_at <= now() ORDER BY due_at, seq LIMIT %s",
            (recipient, limit),
        )

    def look_again(self, recipient: str, action_ids: Collection[UUID]) -> int:
        """Make the unacknowledged parcels of actions due again, and return how many.

        At their next turn, the node finds whether the recipient may still have them.
        """
        return self._execute(
            "UPDATE {}.parcels_sent SET state = 'due', due_at = now()"
            " WHERE recipient = %s AND kind = %s AND about = ANY(%s) AND state = 'sent'",
            (recipient, PRESENTATION, list(action_ids)),
        )

    def handed_in(self, digests: Mapping[UUID, bytes]) -> None:
        """Note that parcels that were due are handed in, with these digests."""
        self._execute(
            "UPDATE {}.parcels_sent p SET state = 'sent', digest = t.digest, sent_at = now(),"
            " tries = tries + 1 FROM unnest(%s::uuid[], %s::bytea[]) t (id, digest)"
            " WHERE p.id = t.id AND p.state = 'due'",
            (list(digests), list(digests.values())),
        )

    def sending(
        self, parcel_id: UUID, recipient: str, kind: str, about: UUID | None, digest: bytes
    ) -> None:
        """Note that a module is about to hand in a message, whose content the module keeps.

        The message takes the place of an earlier message of the same kind about the same thing.
        """
        values = {
            "id": parcel_id,
            "recipient": recipient,
            "kind": kind,
            "about": about,
            "digest": digest,
        }
        replace = self._sql(
            "DELETE FROM {}.parcels_sent WHERE recipient = %(recipient)s AND kind = %(kind)s"
            " AND about IS NOT DISTINCT FROM %(about)s AND id <> %(id)s"
            " RETURNING tries, queued_at, settled_at"
        )
        upsert = self._sql(
            "INSERT INTO {}.parcels_sent AS p"
            " (id, recipient, kind, about, state, digest, sent_at, tries, queued_at)"
            " VALUES (%(id)s, %(recipient)s, %(kind)s, %(about)s, 'sent', %(digest)s, now(),"
            " %(tries)s, coalesce(%(queued_at)s, now())) ON CONFLICT (id) DO UPDATE"
            " SET state = 'sent', digest = EXCLUDED.digest, sent_at = now(), tries = p.tries + 1,"
            " queued_at = CASE WHEN p.settled_at IS NULL THEN p.queued_at ELSE now() END,"
            " acknowledgement = NULL, settled_at = NULL"
        )
        with self._database.transaction(role=self._role) as connection:
            before = connection.execute(replace, values).fetchall()
            values["tries"] = 1 + max((row["tries"] for row in before), default=0)
            since = [row["queued_at"] for row in before if row["settled_at"] is None]
            values["queued_at"] = min(since, default=None)
            connection.execute(upsert, values)

    def waits_for_module(self, parcel: SentParcel) -> None:
        """Note that a message that was due waits until its module sends it again."""
        self._execute(
            "UPDATE {}.parcels_sent SET state = 'sent', sent_at = now() WHERE id = %s"
            " AND state = 'due'",
            (parcel.id,),
        )

    def drop(self, parcel_ids: Collection[UUID]) -> int:
        """Remove parcels that hold nothing any more, or that are sent under another id."""
        return self._execute("DELETE FROM {}.parcels_sent WHERE id = ANY(%s)", (list(parcel_ids),))

    def get(self, parcel_ids: Collection[UUID]) -> Mapping[UUID, SentParcel]:
        """Return the parcels of these ids that this country sends."""
        found = self._select("id = ANY(%s)", (list(parcel_ids),))
        return {one.id: one for one in found}

    def unanswered(self, after: int, limit: int, age: timedelta) -> list[SentParcel]:
        """Return parcels that were handed in longer ago than ``age``, from a place on."""
        return self._select(
            "state = 'sent' AND seq > %s AND sent_at <= now() - %s::interval ORDER BY seq LIMIT %s",
            (after, age, limit),
        )

    def to_do(self) -> ToDo:
        """Return for whom parcels are to be handed in now, and whether outcomes may come.

        One statement answers both: a node asks this twice a second, and most often nothing is due.
        """
        select = self._sql(
            "SELECT array(SELECT DISTINCT recipient FROM {0}.parcels_sent"
            " WHERE state = 'due' AND due_at <= now()) AS recipients,"
            " EXISTS (SELECT FROM {0}.parcels_sent WHERE state = 'sent') AS has_unanswered"
        )
        with self._database.transaction(role=self._role) as connection:
            row = connection.execute(select, prepare=True).fetchone()
        if row is None:
            raise RuntimeError("a statement without a row")
        return ToDo(frozenset(row["recipients"]), row["has_unanswered"])

    def acknowledged(
        self, parcel: SentParcel, outcome: ParcelOutcome, why: str | None, text: str
    ) -> bool:
        """Write down an acknowledgement that was verified. Returns whether it settles the parcel.

        Only a parcel that was handed in with the same digest since is changed.
        """
        if outcome not in _SETTLES:
            pause = NOT_UNDERSTOOD_AFTER if outcome is ParcelOutcome.NOT_UNDERSTOOD else None
            self.again(parcel, why or outcome.value, pause)
            return False
        return (
            self._execute(
                "UPDATE {}.parcels_sent SET state = %s, reason = %s, acknowledgement = %s,"
                " settled_at = now() WHERE id = %s AND state = 'sent' AND digest = %s",
                (_SETTLES[outcome].value, why, text, parcel.id, parcel.digest),
            )
            > 0
        )

    def again(self, parcel: SentParcel, why: str, pause: timedelta | None = None) -> None:
        """Make a parcel due again after ``pause``; by default after one that grows each time."""
        if pause is None:
            times = min(max(parcel.tries - 1, 0), 16)
            pause = min(AGAIN_AFTER * 2**times, AGAIN_AT_MOST_AFTER)
        self._execute(
            "UPDATE {}.parcels_sent SET state = 'due', due_at = now() + %s::interval, reason = %s"
            " WHERE id = %s AND state = %s",
            (pause, why, parcel.id, parcel.state.value),
        )

    def send_again(self, parcel_ids: Collection[UUID]) -> int:
        """Make parcels due at once that were not accepted, or that wait for their next try."""
        return self._execute(
            "UPDATE {}.parcels_sent SET state = 'due', due_at = now(), acknowledgement = NULL,"
            " tries = 0, settled_at = NULL WHERE id = ANY(%s) AND state IN ('due', 'not_believed')",
            (list(parcel_ids),),
        )

    def give_up(self, parcel_ids: Collection[UUID]) -> int:
        """Remove parcels that their recipient did not accept, and return how many."""
        return self._execute(
            "DELETE FROM {}.parcels_sent WHERE id = ANY(%s) AND state = 'not_believed'",
            (list(parcel_ids),),
        )

    def unacknowledged(self) -> tuple[Unacknowledged, ...]:
        """Return how many parcels were not acknowledged, by recipient."""
        select = self._sql(
            "SELECT recipient, count(*) AS parcels, min(queued_at) AS oldest_at"
            " FROM {}.parcels_sent WHERE settled_at IS NULL GROUP BY recipient ORDER BY recipient"
        )
        with self._database.transaction(role=self._role) as connection:
            return tuple(Unacknowledged(**row) for row in connection.execute(select).fetchall())

    def failed(self) -> tuple[FailedSendings, ...]:
        """Return how many parcels are sent again or were not accepted, by recipient and reason."""
        select = self._sql(
            "SELECT recipient, coalesce(reason, state) AS reason, state = 'not_believed' AS"
            " is_refused, count(*) AS parcels, min(queued_at) AS oldest_at"
            " FROM {}.parcels_sent WHERE state = 'not_believed'"
            " OR (settled_at IS NULL AND reason IS NOT NULL)"
            " GROUP BY 1, 2, 3 ORDER BY min(queued_at)"
        )
        with self._database.transaction(role=self._role) as connection:
            return tuple(FailedSendings(**row) for row in connection.execute(select).fetchall())

    def repeated(self, limit: int) -> list[SentParcel]:
        """Return parcels that are being sent again, the oldest first."""
        return self._select(
            "settled_at IS NULL AND reason IS NOT NULL ORDER BY seq LIMIT %s", (limit,)
        )

    def not_believed(self, limit: int) -> list[SentParcel]:
        """Return parcels that their recipient did not accept, the last one first."""
        return self._select("state = 'not_believed' ORDER BY settled_at DESC LIMIT %s", (limit,))

    def about(self, action_ids: Collection[UUID]) -> list[SentParcel]:
        """Return the parcels with fields of these actions, settled or not."""
        return self._select("about = ANY(%s) ORDER BY seq", (list(action_ids),))

    def forget(self, age: timedelta) -> int:
        """Remove parcels settled longer ago than ``age``, except parcels that were not accepted."""
        return self._execute(
            "DELETE FROM {}.parcels_sent WHERE settled_at < now() - %s::interval"
            " AND state <> 'not_believed'",
            (age,),
        )

    def _select(self, condition: LiteralString, values: Sequence[Any]) -> list[SentParcel]:
        select = SQL("SELECT {} FROM {}.parcels_sent WHERE {}").format(
            SQL(_COLUMNS), Identifier(self._schema), SQL(condition)
        )
        with self._database.transaction(role=self._role) as connection:
            return [SentParcel.of(row) for row in connection.execute(select, values).fetchall()]

    def _execute(self, statement: LiteralString, values: Sequence[Any]) -> int:
        with self._database.transaction(role=self._role) as connection:
            return connection.execute(self._sql(statement), values).rowcount

    def _sql(self, statement: LiteralString) -> Composed:
        return SQL(statement).format(Identifier(self._schema))
