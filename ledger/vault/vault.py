"""One country's vault: disclosures on persons, encrypted, in a schema and roles of its own."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from uuid import UUID

from psycopg.sql import SQL, Identifier

from ledger.procedure.readings import Reading
from ledger.refusals import Ground, Refusal
from ledger.signing.sd_jwt import Disclosure
from ledger.signing.signed_action import SignedAction
from ledger.store.database import Database
from ledger.store.migrate import vault_schema
from ledger.store.recorder import Alongside
from ledger.system.identifiers import new_id
from ledger.vault.access_log import Readings
from ledger.vault.arrived_parcels import ArrivedParcels
from ledger.vault.assignments import Assignments
from ledger.vault.daily_quotas import DailyQuotas
from ledger.vault.data_keys import DataKeys
from ledger.vault.deposits import Deposit, Deposits
from ledger.vault.destroyed_disclosures import DestroyedDisclosures
from ledger.vault.disclosures import Disclosures
from ledger.vault.documents.chunk_store import ChunkStore, PostgresChunks
from ledger.vault.documents.documents import Documents, NamedDocument, OpenedDocument
from ledger.vault.documents.given_contents import GivenContents
from ledger.vault.documents.received_contents import Expected, ReceivedContents
from ledger.vault.documents.scanning import Scanner
from ledger.vault.drafts import Drafts
from ledger.vault.duplicates.store import Duplicates
from ledger.vault.field_encryption import seal
from ledger.vault.file_numbers import FileNumbers
from ledger.vault.inventory import key_id
from ledger.vault.missing_disclosures import MissingParts
from ledger.vault.saved_filters import SavedFilters
from ledger.vault.search.search_index import SearchIndex
from ledger.vault.search.search_tokens import SearchKey, SearchKeys
from ledger.vault.sent_parcels import SentParcels
from ledger.vault.vault_tables import AnnulledActions
from ledger.vault.working_notes import WorkingNotes
from ledger.vocabulary.documents import CaseDocument, document_fields
from ledger.vocabulary.types import RECORDED

_PAGE = 500
NOTED_FROM = "deposits noted from"
"""Under this name the vault's progress has the position after which every action has a deposit."""


@dataclass(frozen=True, slots=True)
class ReceivedDeposit:
    """The contents of a parcel: the action's country, and whether all fields came."""

    origin: str | None
    """The country whose agency signed the action; ``None`` where that is the vault's own."""
    deposit_id: UUID
    is_whole: bool = True
    """Whether the country of origin said that these are all fields for this vault."""


class Vault(Disclosures):
    """Keeps what a country's own agencies disclosed, and what other countries released to it.

    The database has nothing in clear: each person's disclosures are under a key of their own.
    """

    def __init__(
        self,
        database: Database,
        party: str,
        keys: DataKeys,
        annulled: AnnulledActions = lambda _: (),
        chunks: ChunkStore | None = None,
        scanner: Scanner | None = None,
        search_key: Callable[[], SearchKey | None] = lambda: None,
    ) -> None:
        """Prepare the vault. No disclosure of an action that ``annulled`` names is opened.

        ``chunks`` keeps the contents of documents; without it they are rows of the database. With a
        ``scanner``, an action has only a document that the scanner examined. ``search_key`` returns
        the key of the search index, if it opens here.
        """
        super().__init__(database, party, keys, annulled)
        self.documents = Documents(database, party, keys, chunks or PostgresChunks(party), scanner)
        self.contents = ReceivedContents(database, party, keys, self.documents)
        self.given = GivenContents(database, party)
        self._deposits = Deposits(database, party, keys, self.documents, self.contents, search_key)
        self.search = SearchIndex(database, party)
        self.search_key = search_key
        self.file_numbers = FileNumbers(
            database, party, keys, self._deposits.data_key, lambda: self.search_key()
        )
        self.saved_filters = SavedFilters(database, party, keys)
        self.readings = Readings(database, party)
        self.duplicates = Duplicates(database, party)
        self.sent = SentParcels(database, party)
        self.arrived = ArrivedParcels(database, party)
        self.missing = MissingParts(database, party)
        self.quotas = DailyQuotas(database, party)
        self.destroyed = DestroyedDisclosures(database, party, keys)
        self.assignments = Assignments(database, party)
        self.notes = WorkingNotes(database, party, keys, self._deposits.data_key)
        self.drafts = Drafts(database, party, keys, self._deposits.data_key)

    def deposit(
        self,
        action: SignedAction,
        case_id: UUID,
        disclosures: Sequence[Disclosure],
        *,
        received: ReceivedDeposit | None = None,
        durably: bool = True,
        documents: Sequence[NamedDocument] = (),
        expected: Sequence[Expected] = (),
    ) -> UUID:
        """Store disclosures that were checked against ``action``, and return the deposit's id.

        :meth:`withdraw` takes out a deposit by this id. An action that could disclose something and
        does not leaves an empty deposit: a lost deposit differs from one that never was.

        With ``durably``, the disclosures are durable on return. Without, they are durable once a
        later commit to the same database is durable, on a connection that was open before: the
        database's log has the disclosures first, and a crash that takes them back ends that
        connection.

        The action gets the uploads that ``documents`` names in the same transaction. The contents
        that ``expected`` names are to come from another country.

        Raises ``KeyMissingError`` if the person has disclosures here and no key any more, and
        ``Refusal`` (``erased-case``) if the person was erased, (``destroyed``) if what the action
        disclosed was destroyed, or (``document-not-uploaded``) if a document is not here in whole.
        """
        if received is None:
            received = ReceivedDeposit(None, new_id())
        if action.digests:
            self._deposits.put(
                Deposit(
                    received.deposit_id,
                    action,
                    case_id,
                    disclosures,
                    received.origin,
                    received.is_whole,
                    durably,
                    documents,
                    expected,
                )
            )
        return received.deposit_id

    def alongside(
        self, action: SignedAction, case_id: UUID, disclosures: Sequence[Disclosure]
    ) -> Alongside:
        """Return the disclosures of an action that can disclose something, for its event.

        They are stored in the transaction that records the event, or not at all. Raises
        ``KeyMissingError`` and ``Refusal`` (``erased-case``) as :meth:`deposit` does.
        """
        return self._deposits.alongside(action, case_id, disclosures)

    def withdraw(self, action_id: UUID, deposit_id: UUID) -> None:
        """Remove the deposit of a refused action. Its documents are uploads again."""
        delete = SQL("DELETE FROM {} WHERE action_id = %s AND deposit_id = %s")
        with self._database.transaction(role=self._role) as connection:
            for table in (self._table, self._inventory):
                connection.execute(delete.format(table), (action_id, deposit_id))
            self.documents.let_go(connection, action_id)

    def document(self, reading: Reading, action_id: UUID) -> OpenedDocument | None:
        """Return the document of an action, as far as an entry of the access log opens it.

        Returns ``None`` if the action is annulled, if what it disclosed was destroyed, or if no
        such document is here. Raises ``SealError`` if the document's key does not open.
        """
        if action_id in self.withheld({reading.asked.case_id}):
            return None
        if self.keys.is_destroyed(action_id):
            return None
        return self.documents.open(reading, action_id)

    def key_faults(self) -> tuple[set[UUID], set[UUID]]:
        """Return persons with disclosures and no key, and erased persons whose key is back."""
        persons = SQL(
            "SELECT case_id FROM {} UNION SELECT case_id FROM {} WHERE octet_length(mac) > 0"
            " UNION SELECT case_id FROM {} WHERE kind = 'file_number'"
            " UNION SELECT case_id FROM {} UNION SELECT case_id FROM {}"
        ).format(
            self._table, self._inventory, self._agency_values, self._working_notes, self._drafts
        )
        erased = SQL("SELECT case_id FROM {}").format(self._erased)
        with self._database.transaction(role=self._role) as connection:
            held = {row["case_id"] for row in connection.execute(persons).fetchall()}
            gone = {row["case_id"] for row in connection.execute(erased).fetchall()}
        missing = {case_id for case_id in held - gone if not self.keys.has(case_id)}
        back = {*self.keys.cases_with_upload_key()} & gone
        return missing, back | {case_id for case_id in gone if self.keys.has(case_id)}

    def key_identity(self) -> tuple[int, int] | None:
        """Return the inode and size in bytes of the data key file, or ``None`` without a file."""
        return self.keys.identity()

    def restore_keys(self, copy: Path, case_ids: Iterable[UUID]) -> int:
        """Take in persons' keys from a copy of their directory, and return how many.

        A key that was replaced since is left out. Raises as :meth:`DataKeys.copy_from` does.
        """
        wanted = list(case_ids)
        select = SQL("SELECT case_id, key_id FROM {} WHERE case_id = ANY(%s)").format(
            SQL("{}.replaced_keys").format(Identifier(vault_schema(self.party)))
        )
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(select, (wanted,)).fetchall()
        replaced = {(row["case_id"], bytes(row["key_id"])) for row in rows}
        return self.keys.copy_from(
            copy, wanted, lambda case_id, key: (case_id, key_id(key)) not in replaced
        )

    def destroy_keys(self, case_ids: Iterable[UUID]) -> int:
        """Destroy the keys of erased persons again, and return of how many there was a data key."""
        return sum(self.keys.destroy(case_id) for case_id in case_ids)

    def take_in(
        self,
        action: SignedAction,
        case_id: UUID,
        disclosures: Sequence[Disclosure],
        *,
        origin: str,
        is_whole: bool,
    ) -> bool:
        """Store another country's disclosures, checked against ``action``, if they are new here.

        The contents of documents that they name are expected from then on. ``origin`` is the
        country whose agency signed the action. ``is_whole``: whether that country
        says that these are all its ``case`` fields, or all fields of a release. Returns whether
        something of the action was missing. Raises as :meth:`deposit` does.
        """
        sender = origin if origin != self.party else None
        was_missing = bool(self.missing.of_actions([action.id]))
        digests = [one.digest for one in disclosures]
        if was_missing or not self._has_received(action.id, digests, sender, is_whole):
            received = ReceivedDeposit(sender, new_id(), is_whole)
            expected = _named_contents(action, disclosures)
            self.deposit(action, case_id, disclosures, received=received, expected=expected)
        return was_missing

    def _has_received(
        self, action_id: UUID, digests: Sequence[str], sender: str | None, is_whole: bool
    ) -> bool:
        """Return whether the vault already holds these disclosures of a sender."""
        rows = self.held_digests([action_id]).get(action_id, frozenset())
        if not {(digest, sender) for digest in digests} <= rows:
            return False
        return any(
            listed.received_from == sender
            and listed.is_whole >= is_whole
            and listed.fields.keys() == set(digests)
            for listed in self.noted([action_id]).get(action_id, ())
        )

    def noted_from(self) -> int:
        """Return the position up to which actions without disclosures have no deposit."""
        return self.progress(NOTED_FROM)

    def give_up(self, case_ids: Collection[UUID]) -> int:
        """Remove rows and inventory of persons whose data keys are lost for good.

        The removed rows could never open again. A new key can be made then for the fields that
        other countries give back. Returns how many disclosures were removed.
        """
        delete = SQL("DELETE FROM {} WHERE case_id = ANY(%s)")
        lost = [case_id for case_id in case_ids if not self.keys.has(case_id)]
        if not lost:
            return 0
        with self._database.transaction(role=self._role) as connection:
            removed = connection.execute(delete.format(self._table), (lost,)).rowcount
            connection.execute(delete.format(self._inventory), (lost,))
            for case_id in lost:
                self.documents.remove_of_case(connection, case_id)
                self.file_numbers.remove_of_case(connection, case_id)
                self.notes.forget(connection, case_id)
                self.drafts.forget(connection, case_id)
        return removed

    def erase(self, case_id: UUID, *, is_confirmed: bool = False) -> bool:
        """Destroy the person's key, then all that the key encrypted, and let nothing in again.

        The erasure is durable on return, and repeating it is harmless. ``is_confirmed``: whether
        the ledger needs no confirmation of it. Returns whether anything was held.
        """
        forever = SQL(
            "INSERT INTO {} (case_id, confirmed_at) VALUES (%s, CASE WHEN %s THEN now() END)"
            " ON CONFLICT DO NOTHING"
        ).format(self._erased)
        delete = SQL("DELETE FROM {} WHERE case_id = %s")
        with self._database.transaction(role=self._role) as connection:
            connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (str(case_id),)
            )
            connection.execute(forever, (case_id, is_confirmed))
        # The key first: from then on no copy of the rows opens, wherever it is.
        had_key = self.keys.destroy(case_id)
        with self._database.transaction(role=self._role) as connection:
            removed = connection.execute(delete.format(self._table), (case_id,)).rowcount
            connection.execute(delete.format(self._inventory), (case_id,))
            self.documents.remove_of_case(connection, case_id)
            self.file_numbers.remove_of_case(connection, case_id)
            self.given.forget(connection, case_id)
            self.assignments.forget(connection, case_id)
            self.duplicates.forget(connection, case_id)
            removed += self.notes.forget(connection, case_id)
            removed += self.drafts.forget(connection, case_id)
        return had_key or removed > 0

    def remove(self, subject: UUID) -> bool:
        """Destroy the key and the fields under an id that is no case's; they may come in again.

        Returns whether anything was held.
        """
        delete = SQL("DELETE FROM {} WHERE case_id = %s")
        had_key = self.keys.destroy(subject)
        with self._database.transaction(role=self._role) as connection:
            removed = connection.execute(delete.format(self._table), (subject,)).rowcount
            connection.execute(delete.format(self._inventory), (subject,))
            self.documents.remove_of_case(connection, subject)
            self.notes.forget(connection, subject)
        return had_key or removed > 0

    def erase_received(self, case_id: UUID) -> int:
        """Remove all fields of a case that other countries disclosed, and return how many rows.

        The person's key stays for the country's own fields, so an older copy of the rows still
        opens. Replace the vault's data keys afterwards (``case-ledger keys replace-data-keys``).
        """
        delete = SQL("DELETE FROM {} WHERE case_id = %s AND received_from IS NOT NULL")
        with self._database.transaction(role=self._role) as connection:
            removed = connection.execute(delete.format(self._table), (case_id,)).rowcount
            connection.execute(delete.format(self._inventory), (case_id,))
            self.documents.remove_received(connection, case_id)
        return removed

    def progress(self, work: str) -> int:
        """Return the position up to which a work of this vault has followed the ledger."""
        select = SQL("SELECT position FROM {} WHERE work = %s").format(self._progress)
        with self._database.transaction(role=self._role) as connection:
            row = connection.execute(select, (work,)).fetchone()
        return row["position"] if row else 0

    def advance(self, work: str, position: int) -> None:
        """Note that a work is done up to ``position``.

        The work's own results must be on the disk before. The note itself does not wait for the
        disk: after a crash the work is done again, without effect.
        """
        update = SQL(
            "INSERT INTO {} (work, position) VALUES (%s, %s)"
            " ON CONFLICT (work) DO UPDATE SET position = EXCLUDED.position"
        ).format(self._progress)
        with self._database.transaction(role=self._role) as connection:
            connection.execute("SET LOCAL synchronous_commit = off")
            connection.execute(update, (work, position))

    def seal_stored(self) -> int:
        """Encrypt disclosures that an earlier version stored in clear, and return how many."""
        select = SQL(
            "SELECT action_id, deposit_id, digest, case_id, field, disclosure FROM {}"
            " WHERE disclosure IS NOT NULL LIMIT %s FOR UPDATE SKIP LOCKED"
        ).format(self._table)
        update = SQL(
            "UPDATE {} SET sealed = %s, disclosure = NULL"
            " WHERE action_id = %s AND digest = %s AND deposit_id = %s"
        ).format(self._table)
        count = 0
        while True:
            with self._database.transaction(role=self._role) as connection:
                rows = connection.execute(select, (_PAGE,)).fetchall()
                for row in rows:
                    place = {name: row[name] for name in ("case_id", "action_id", "digest")}
                    data_key = self.keys.get(row["case_id"]) or self.keys.make(row["case_id"])
                    sealed = seal(data_key, row["disclosure"], field=row["field"], **place)
                    connection.execute(
                        update, (sealed, row["action_id"], row["digest"], row["deposit_id"])
                    )
            count += len(rows)
            if not rows:
                return count

    def actions_older_than(self, age: timedelta) -> list[UUID]:
        """Return the actions whose disclosures came in longer ago than ``age``."""
        select = SQL(
            "SELECT action_id FROM {} WHERE received_at < now() - %(age)s::interval"
            " UNION SELECT action_id FROM {} WHERE received_at < now() - %(age)s::interval"
        ).format(self._table, self._inventory)
        with self._database.transaction(role=self._role) as connection:
            return [row["action_id"] for row in connection.execute(select, {"age": age})]

    def set_aside(self) -> Mapping[UUID, datetime]:
        """Return when other countries' disclosures of each action were set aside.

        These actions were in this node's copy, and are not in the ledger.
        """
        select = SQL("SELECT action_id, set_aside_at FROM {}").format(self._aside)
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(select).fetchall()
        return {row["action_id"]: row["set_aside_at"] for row in rows}

    def take_back(self, action_ids: Collection[UUID]) -> None:
        """Let disclosures count again that were set aside."""
        delete = SQL("DELETE FROM {} WHERE action_id = ANY(%s)").format(self._aside)
        with self._database.transaction(role=self._role) as connection:
            connection.execute(delete, (list(action_ids),))

    def discard(self, action_ids: Sequence[UUID]) -> int:
        """Remove all disclosures of actions that the ledger never recorded."""
        delete = SQL("DELETE FROM {} WHERE action_id = ANY(%s)")
        with self._database.transaction(role=self._role) as connection:
            removed = connection.execute(delete.format(self._table), (list(action_ids),)).rowcount
            connection.execute(delete.format(self._inventory), (list(action_ids),))
            self.documents.remove_of(connection, action_ids)
        return removed


def _named_contents(action: SignedAction, disclosures: Sequence[Disclosure]) -> Sequence[Expected]:
    """Return the documents that disclosures of an action name.

    An act that signs another act's document has no content of its own.
    """
    if any(one.name == "signs" for one in disclosures):
        return ()
    found = []
    for one in disclosures:
        if one.name not in document_fields(action.model) or one.value is None:
            continue
        named = CaseDocument.model_validate(one.value, context=RECORDED)
        level = action.model.level(one.name)
        document = NamedDocument(one.name, level, named.sha256, named.size, named.media_type)
        found.append(Expected(document, one.digest))
    return found


class Vaults:
    """The vaults of every country whose node this process is."""

    def __init__(
        self,
        database: Database,
        keys: Mapping[str, DataKeys],
        annulled: AnnulledActions = lambda _: (),
        chunks: Callable[[str], ChunkStore] = PostgresChunks,
        scanner: Scanner | None = None,
        search_keys: SearchKeys = MappingProxyType({}),
    ) -> None:
        """Prepare the vaults. No disclosure of an action that ``annulled`` names is opened.

        ``chunks`` returns the store of a party's documents. ``scanner`` examines each upload.
        ``search_keys`` has the key of each search index.
        """
        self._vaults = {
            party: Vault(
                database,
                party,
                own,
                annulled,
                chunks(party),
                scanner,
                search_keys.get(party, lambda: None),
            )
            for party, own in keys.items()
        }

    def of(self, party: str) -> Vault:
        """Return a country's vault.

        Raises ``Refusal`` (``another-countrys-node``) if the country has no vault here.
        """
        vault = self._vaults.get(party)
        if vault is None:
            raise Refusal(
                Ground.NOT_ALLOWED,
                "another-countrys-node",
                "An agency hands its disclosures to its own country's node and to no other.",
                "iss",
            )
        return vault

    def has(self, party: str) -> bool:
        """Return whether this process keeps the country's vault."""
        return party in self._vaults

    def __iter__(self) -> Iterator[Vault]:
        return iter(self._vaults.values())
