"""Takes deposits into a vault: concurrent requests' disclosures are sealed and stored together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any
from uuid import UUID

import psycopg
from psycopg import Connection
from psycopg.rows import DictRow
from psycopg.sql import SQL, Identifier

from ledger.refusals import Ground, Refusal
from ledger.signing.sd_jwt import Disclosure
from ledger.signing.signed_action import SignedAction
from ledger.store.database import Database
from ledger.store.group_commit import GroupCommit
from ledger.store.migrate import vault_role, vault_schema
from ledger.store.postgres_arrays import (
    Booleans,
    Byteas,
    Texts,
    Uuids,
    bigint_array,
    bytea_array,
    text_array,
    uuid_array,
)
from ledger.store.postgres_values import boolean, read_boolean
from ledger.store.prepared import Call, Prepared, run
from ledger.store.recorder import Alongside
from ledger.system.backoff import Backoff
from ledger.system.identifiers import new_id
from ledger.system.retrying import retrying
from ledger.system.telemetry import span
from ledger.vault.bulk_deposits import SealedDeposit, seal_all
from ledger.vault.data_keys import DataKeys
from ledger.vault.documents.documents import Documents, NamedDocument
from ledger.vault.documents.received_contents import Expected, ReceivedContents
from ledger.vault.erasures import erased_case
from ledger.vault.search.search_index import array_text
from ledger.vault.search.search_tokens import SEARCHED_FIELDS, SearchKey, stated_forms

_AT_MOST = 64
_TRIES = 3
"""A data key may be replaced while a deposit is sealed under it; it is sealed again then."""

_AGAIN = retrying(psycopg.OperationalError, attempts=10, backoff=Backoff(0.1, 1.0))
"""The pool gives connections away whose server closed them."""

_KNOWN = """
SELECT EXISTS (SELECT FROM {schema}.erased WHERE case_id = $1::uuid) AS erased,
    EXISTS (
        SELECT FROM {schema}.disclosures WHERE case_id = $1 AND disclosure IS NULL
        UNION ALL
        SELECT FROM {schema}.deposits WHERE case_id = $1 AND octet_length(mac) > 0
        UNION ALL
        SELECT FROM {schema}.agency_values
        WHERE case_id = $1 AND kind = 'file_number'
        UNION ALL
        SELECT FROM {schema}.working_notes WHERE case_id = $1
        UNION ALL
        SELECT FROM {schema}.drafts WHERE case_id = $1) AS held
"""
_DEPOSIT = """
SELECT * FROM {schema}.deposit(%(persons)b::uuid[], %(actions)b::uuid[], %(deposits)b::uuid[],
    %(cases)b::uuid[], %(senders)b::text[], %(wholes)b::boolean[], %(list_macs)b::bytea[],
    %(key_ids)b::bytea[], %(row_actions)b::uuid[], %(row_deposits)b::uuid[], %(digests)b::text[],
    %(fields)b::text[], %(levels)b::text[], %(groups)b::text[], %(sealed)b::bytea[],
    %(row_macs)b::bytea[], %(durably)s)
"""
_DEPOSIT_WITH_TOKENS = """
SELECT * FROM {schema}.deposit_with_tokens(%(persons)b::uuid[], %(actions)b::uuid[],
    %(deposits)b::uuid[], %(cases)b::uuid[], %(senders)b::text[], %(wholes)b::boolean[],
    %(list_macs)b::bytea[], %(key_ids)b::bytea[], %(row_actions)b::uuid[], %(row_deposits)b::uuid[],
    %(digests)b::text[], %(fields)b::text[], %(levels)b::text[], %(groups)b::text[],
    %(sealed)b::bytea[], %(row_macs)b::bytea[], %(durably)s, %(search_key)s, %(row_tokens)b::text[])
"""
_BESIDE = """
SELECT {schema}.deposit_beside_event($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::bytea[],
    $6::bytea[], $7::bigint[], $8::bigint[], $9::bigint[], $10::text[], $11::text[], $12::text[],
    $13::text[], $14::bytea[], $15::bytea[], $16::boolean, $17::bytea, $18::text[])
"""


class KeyMissingError(RuntimeError):
    """Disclosures are here and their key is not: it was lost, or its directory is not there."""


class _ReplacedKeyError(RuntimeError):
    """A deposit was sealed under a data key that was replaced meanwhile."""


class _DestroyedError(RuntimeError):
    """The fields that the action disclosed were destroyed."""


@dataclass(frozen=True, slots=True)
class Deposit:
    """Disclosures of one action that were checked against it."""

    id: UUID
    action: SignedAction
    case_id: UUID
    disclosures: Sequence[Disclosure]
    received_from: str | None
    """The country whose agency signed the action; ``None`` for the vault's own country."""
    is_whole: bool = True
    """Whether that country said that these are all fields of the ``FieldPart``."""
    durably: bool = True
    """Without it, they are as durable as the next commit to this database that is awaited."""
    documents: Sequence[NamedDocument] = ()
    """The uploads that the action gets in the same transaction."""
    expected: Sequence[Expected] = ()
    """The documents whose contents another country gives."""


class Deposits:
    """Takes deposits into one country's vault, those that come together in one transaction."""

    def __init__(
        self,
        database: Database,
        party: str,
        keys: DataKeys,
        documents: Documents,
        contents: ReceivedContents,
        search_key: Callable[[], SearchKey | None] = lambda: None,
    ) -> None:
        """Prepare the deposits. Without a ``search_key``, a background job makes the tokens."""
        self._party = party
        self._search_key = search_key
        self._keys = keys
        self._documents = documents
        self._contents = contents
        self._database = database.apart(vault_role(party))
        self._group = GroupCommit(self._put_together, at_most=_AT_MOST)
        schema = Identifier(vault_schema(party))
        self._deposit, self._deposit_with_tokens = (
            SQL(s).format(schema=schema).as_bytes() for s in (_DEPOSIT, _DEPOSIT_WITH_TOKENS)
        )
        self._known, self._beside = (
            Prepared(f"cl_{name}_{party}".lower().encode(), SQL(s).format(schema=schema).as_bytes())
            for name, s in (("known", _KNOWN), ("beside", _BESIDE))
        )

    @_AGAIN.wraps
    def put(self, deposit: Deposit) -> None:
        """Store a deposit, durably unless the deposit says otherwise.

        Raises ``KeyMissingError`` if the person has disclosures here and no key, or only a replaced
        key. Raises ``Refusal`` (``erased-case``) if the person was erased, (``destroyed``) if what
        the action disclosed was destroyed, or (``document-not-uploaded``).
        """
        case_id = deposit.case_id
        for _ in range(_TRIES):
            data_key = self.data_key(case_id)
            sealed = seal_all(
                deposit.action,
                case_id,
                deposit.disclosures,
                data_key,
                deposit.received_from,
                is_whole=deposit.is_whole,
            )
            try:
                if deposit.documents or deposit.expected:
                    self._put_with_documents(deposit, sealed, data_key)
                else:
                    self._group.call((deposit, sealed))
            except _ReplacedKeyError:
                continue
            except _DestroyedError:
                raise _destroyed() from None
            except Refusal as refusal:
                if refusal.rule == "erased-case":
                    self._keys.destroy(case_id)  # one made since the erasure closes nothing
                raise
            return
        raise KeyMissingError(
            f"a data key in {self._party}'s key directory was replaced: an older copy of the "
            "directory was put back"
        )

    @_AGAIN.wraps
    def alongside(
        self, action: SignedAction, case_id: UUID, disclosures: Sequence[Disclosure]
    ) -> Alongside:
        """Return a deposit of the vault's own country for the transaction of its event.

        The person's key is durable already. Raises ``KeyMissingError`` and ``Refusal`` as
        :meth:`data_key` does.
        """
        with span("vault.deposit", {"actions": 1, "party": self._party}):
            data_key = self.data_key(case_id)
            # In this order the statement takes them, without sorting them again.
            ordered = sorted(disclosures, key=lambda one: one.digest)
            sealed = seal_all(action, case_id, ordered, data_key)
        deposit = Deposit(new_id(), action, case_id, ordered, None)
        return Alongside(vault_role(self._party), (deposit, sealed), self._calls)

    def _calls(self, ready: Sequence[tuple[Deposit, SealedDeposit]]) -> Sequence[Call]:
        """Return the call that stores deposits, or fails if one of them may not be stored."""
        deposits = [deposit for deposit, _ in ready]
        rows = [row for _, sealed in ready for row in sealed.rows]
        places = [n for n, (_, sealed) in enumerate(ready, 1) for _ in sealed.rows]
        lasts = list(accumulate(len(sealed.rows) for _, sealed in ready))
        is_searched = _is_searched(ready)
        key = self._search_key() if is_searched else None
        cases = uuid_array(one.case_id for one in deposits)
        values = (
            # Sorted: who erases waits for one person alone, and nobody for each other.
            uuid_array(sorted({one.case_id for one in deposits})) if len(deposits) > 1 else cases,
            uuid_array(one.action.id for one in deposits),
            uuid_array(one.id for one in deposits),
            cases,
            bytea_array(sealed.list_mac for _, sealed in ready),
            bytea_array(sealed.key_id for _, sealed in ready),
            bigint_array(1 + last for last in (0, *lasts[:-1])),
            bigint_array(lasts),
            bigint_array(places),
            text_array(row.digest for row in rows),
            text_array(row.field for row in rows),
            text_array(row.level for row in rows),
            text_array(row.group for row in rows),
            bytea_array(row.sealed for row in rows),
            bytea_array(row.row_mac for row in rows),
            boolean(is_searched and key is None),
            None if key is None else key.id,
            None if key is None else text_array(_tokens(ready, key)),
        )
        return (Call(self._beside, values),)

    def data_key(self, case_id: UUID) -> bytes:
        """Return the key of a person, and make it if the vault holds nothing on the person yet.

        Raises ``KeyMissingError`` if the vault holds rows of the person and not the key, and
        ``Refusal`` (``erased-case``) if it has no key and the person was erased.
        """
        return self._keys.get(case_id) or self._first_key(case_id)

    def _first_key(self, case_id: UUID) -> bytes:
        """Make a key for a person on whom the vault holds nothing yet.

        Raises ``KeyMissingError`` if the vault holds rows of the person.
        """
        with self._database.connection() as connection:
            (known,) = run(connection, (Call(self._known, (case_id.bytes,)),))
        if read_boolean(known.get_value(0, 0)):
            raise erased_case()
        if read_boolean(known.get_value(0, 1)):
            if (made := self._keys.get(case_id)) is not None:
                return made  # by another deposit, since this one looked for it
            # A new key would hide that the old one is lost.
            raise missing(self._party)
        return self._keys.make(case_id)

    def _put_together(
        self, ready: Sequence[tuple[Deposit, SealedDeposit]]
    ) -> Sequence[Exception | None]:
        with self._database.connection() as connection:
            return self._put_into(connection, ready)

    def _put_with_documents(self, deposit: Deposit, sealed: SealedDeposit, data_key: bytes) -> None:
        """Store one deposit with the documents of its action, or neither.

        The action gets the uploads that it names. Contents that another country gives are expected.
        """
        with self._database.transaction() as connection:
            (refused,) = self._put_into(connection, [(deposit, sealed)])
            if refused is not None:
                raise refused
            action = deposit.action
            self._documents.bind(
                connection, deposit.case_id, action.agency, action.id, deposit.documents, data_key
            )
            self._contents.expect(
                connection,
                deposit.case_id,
                action,
                deposit.expected,
                deposit.received_from,
                data_key,
            )

    def _put_into(
        self, connection: Connection[DictRow], ready: Sequence[tuple[Deposit, SealedDeposit]]
    ) -> Sequence[Exception | None]:
        columns, statement = _columns(ready), self._deposit
        if _is_searched(ready) and (key := self._search_key()) is not None:
            columns |= {"search_key": key.id, "row_tokens": Texts(_tokens(ready, key))}
            statement = self._deposit_with_tokens
        with span("vault.deposit", {"actions": len(ready), "party": self._party}):
            row = connection.execute(statement, columns, prepare=True).fetchone()
        erased, stale, destroyed = (
            set(row[name]) if row else set() for name in ("erased", "stale", "destroyed")
        )

        def outcome(deposit: Deposit) -> Exception | None:
            if deposit.case_id in erased:
                return erased_case()
            if deposit.id in destroyed:
                return _DestroyedError()
            return _ReplacedKeyError() if deposit.id in stale else None

        return [outcome(deposit) for deposit, _ in ready]


def missing(party: str) -> KeyMissingError:
    """Return the error that a vault holds disclosures whose data key is missing."""
    return KeyMissingError(
        f"{party}'s vault holds disclosures whose key is not in its key directory"
    )


def _columns(ready: Sequence[tuple[Deposit, SealedDeposit]]) -> dict[str, Any]:
    deposits = [deposit for deposit, _ in ready]
    rows = [(deposit, row) for deposit, sealed in ready for row in sealed.rows]
    return {
        # Sorted: who erases waits for one person alone, and nobody for each other.
        "persons": Uuids(sorted({one.case_id for one in deposits})),
        "actions": Uuids(one.action.id for one in deposits),
        "deposits": Uuids(one.id for one in deposits),
        "cases": Uuids(one.case_id for one in deposits),
        "senders": Texts(one.received_from for one in deposits),
        "wholes": Booleans(one.is_whole for one in deposits),
        "list_macs": Byteas(sealed.list_mac for _, sealed in ready),
        "key_ids": Byteas(sealed.key_id for _, sealed in ready),
        "row_actions": Uuids(row.action_id for _, row in rows),
        "row_deposits": Uuids(deposit.id for deposit, _ in rows),
        "digests": Texts(row.digest for _, row in rows),
        "fields": Texts(row.field for _, row in rows),
        "levels": Texts(row.level for _, row in rows),
        "groups": Texts(row.group for _, row in rows),
        "sealed": Byteas(row.sealed for _, row in rows),
        "row_macs": Byteas(row.row_mac for _, row in rows),
        "durably": any(one.durably for one in deposits),
    }


def _is_searched(ready: Sequence[tuple[Deposit, SealedDeposit]]) -> bool:
    """Return whether a disclosure is among those that the search index has tokens of."""
    return any(row.field in SEARCHED_FIELDS for _, sealed in ready for row in sealed.rows)


def _tokens(ready: Sequence[tuple[Deposit, SealedDeposit]], key: SearchKey) -> Sequence[str | None]:
    """Return the tokens of each disclosure that has some, in the order of :func:`_columns`."""

    def tokens(one: Disclosure) -> str | None:
        forms = stated_forms(one.name, one.value) if one.name in SEARCHED_FIELDS else ()
        return array_text(key.tokens(forms)) if forms else None

    return [tokens(one) for deposit, _ in ready for one in deposit.disclosures]


def _destroyed() -> Refusal:
    return Refusal(
        Ground.OUT_OF_PROCEDURE,
        "destroyed",
        "What this action disclosed was destroyed; nothing of it is taken in again.",
        "disclosures",
    )
