"""The search index of one country's vault: keyed tokens of names and numbers, by statement.

A row belongs to one row of the disclosures, and the database removes it with that row: with an
erasure, a destruction, or a refused action. A deposit brings its own tokens. The background job
makes those that are missing: of imports, of statements from before the index, and under a new key.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.sql import SQL, Composed, Identifier

from ledger.store.database import Database
from ledger.store.migrate import vault_role, vault_schema
from ledger.store.postgres_arrays import Texts, Uuids
from ledger.vault.held_fields import Held
from ledger.vault.search.search_tokens import SEARCHED_FIELDS, SearchKey, SoughtWord, stated_forms

_PUT = """
INSERT INTO {schema}.search_index (action_id, digest, deposit_id, case_id, field, key_id, tokens)
SELECT d.action_id, d.digest, d.deposit_id, d.case_id, d.field, %(key)s, t.tokens::bigint[]
FROM unnest(%(actions)s::uuid[], %(digests)s::text[], %(tokens)s::text[])
    AS t (action_id, digest, tokens)
JOIN {schema}.disclosures d USING (action_id, digest)
ON CONFLICT (action_id, digest, deposit_id) DO UPDATE SET
    key_id = EXCLUDED.key_id, tokens = EXCLUDED.tokens
"""
_FORGET_OTHERS = """
WITH gone AS (DELETE FROM {schema}.search_index WHERE key_id <> %(key)s RETURNING case_id)
INSERT INTO {schema}.search_due (case_id) SELECT DISTINCT case_id FROM gone
"""
_DUE = """
SELECT case_id, array_agg(id) AS ids FROM (
    SELECT id, case_id FROM {schema}.search_due WHERE case_id <> ALL(%(but)s)
    ORDER BY id LIMIT %(limit)s
) t GROUP BY case_id
"""
_WORD = """
SELECT {number} AS word, case_id, action_id, field, tokens && {exact}::bigint[] AS is_exact
FROM {schema}.search_index WHERE tokens && {any}::bigint[]
"""
# Every word must match; of many words one may be missing.
_FIND = """
WITH found AS ({words}),
best AS (
    SELECT case_id, word, 1 + max(is_exact::int) AS certainty FROM found GROUP BY case_id, word
),
ranked AS (
    SELECT case_id, sum(certainty) AS score FROM best GROUP BY case_id
    HAVING count(*) >= %(needed)s ORDER BY score DESC, case_id LIMIT %(limit)s
)
SELECT r.case_id, f.word, f.action_id, f.field, f.is_exact
FROM ranked r JOIN found f USING (case_id) ORDER BY r.score DESC, r.case_id, f.word
"""
_MANY_WORDS = 3


@dataclass(frozen=True, slots=True)
class MatchedStatement:
    """A statement on a person that has a word of the question."""

    word: int
    """The place of the word in the question."""
    action_id: UUID
    field: str
    is_exact: bool


class SearchIndex:
    """The tables of the search in one country's vault. Its keeper's role alone reaches them."""

    def __init__(self, database: Database, party: str) -> None:
        self._database = database
        self._role = vault_role(party)
        self._schema = Identifier(vault_schema(party))

    def due(self, limit: int, but: Collection[UUID] = ()) -> Mapping[UUID, Sequence[int]]:
        """Return cases with statements that lack tokens, without those in ``but``.

        The values are the numbers of what is due, for :meth:`put`.
        """
        asked = {"limit": limit, "but": Uuids(but)}
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(self._sql(_DUE), asked).fetchall()
        return {row["case_id"]: row["ids"] for row in rows}

    def put(self, key: SearchKey, held: Sequence[Held], done: Sequence[int] = ()) -> None:
        """Store the tokens of statements that the vault still holds; nothing of it is due then."""
        tokens = {
            (one.action_id, one.digest): key.tokens(forms)
            for one in held
            if one.field in SEARCHED_FIELDS and (forms := stated_forms(one.field, one.value))
        }
        rows = {
            "key": key.id,
            "actions": Uuids(action for action, _ in tokens),
            "digests": Texts(digest for _, digest in tokens),
            "tokens": Texts(map(array_text, tokens.values())),
        }
        delete = self._sql("DELETE FROM {schema}.search_due WHERE id = ANY(%s)")
        with self._database.transaction(role=self._role) as connection:
            if tokens:
                connection.execute(self._sql(_PUT), rows)
            connection.execute(delete, (list(done),))

    def forget_other_keys(self, key: SearchKey) -> int:
        """Remove the tokens under every other key. They are due under this one."""
        with self._database.transaction(role=self._role) as connection:
            return connection.execute(self._sql(_FORGET_OTHERS), {"key": key.id}).rowcount

    def find(
        self, key: SearchKey, words: Sequence[SoughtWord], limit: int
    ) -> Mapping[UUID, Sequence[MatchedStatement]]:
        """Return the cases with statements that match the words, the best first.

        A statement may be annulled, superseded, or of an action that is not recorded.
        """
        if not words:
            return {}
        asked: dict[str, Any] = {
            "limit": limit,
            "needed": len(words) - (len(words) >= _MANY_WORDS),
        }
        parts = []
        for number, word in enumerate(words):
            exact = key.tokens(word.exact)
            asked |= {f"e{number}": exact, f"a{number}": exact + key.tokens(word.similar)}
            parts.append(
                SQL(_WORD).format(
                    schema=self._schema,
                    number=SQL(str(number)),
                    exact=SQL(f"%(e{number})s"),
                    any=SQL(f"%(a{number})s"),
                )
            )
        find = SQL(_FIND).format(words=SQL(" UNION ALL ").join(parts))
        found: dict[UUID, list[MatchedStatement]] = {}
        with self._database.transaction(role=self._role) as connection:
            for row in connection.execute(find, asked).fetchall():
                one = MatchedStatement(row["word"], row["action_id"], row["field"], row["is_exact"])
                found.setdefault(row["case_id"], []).append(one)
        return found

    def statements(self, case_ids: Collection[UUID]) -> Mapping[UUID, Sequence[tuple[UUID, str]]]:
        """Return the statements on some persons that the vault holds, by action and field."""
        select = self._sql(
            "SELECT DISTINCT case_id, action_id, field FROM {schema}.disclosures"
            " WHERE case_id = ANY(%s) AND level = 'personal' AND field = ANY(%s)"
        )
        found: dict[UUID, list[tuple[UUID, str]]] = {}
        with self._database.transaction(role=self._role) as connection:
            values = (Uuids(case_ids), Texts(SEARCHED_FIELDS))
            for row in connection.execute(select, values).fetchall():
                found.setdefault(row["case_id"], []).append((row["action_id"], row["field"]))
        return found

    def _sql(self, statement: Any) -> Composed:
        return SQL(statement).format(schema=self._schema)


def array_text(tokens: Sequence[int]) -> str:
    """Return tokens as PostgreSQL writes an array."""
    return "{" + ",".join(map(str, tokens)) + "}"
