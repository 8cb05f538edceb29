"""Rows caused by another country's node within a day are bounded, and nothing is lost."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest

from api.exchange.parcel_standing import quota_troubles
from ledger.signing.country_key import FileCountryKey
from ledger.store.database import Database
from ledger.vault.daily_quotas import MAX_A_DAY, Quota, QuotaUsedUpError
from ledger.vault.data_keys import DataKeys
from ledger.vault.duplicates.matches import Match
from ledger.vault.vault import Vault
from ledger.vocabulary.duplicates import MatchKind

MOST = 3
NOW = datetime.now(UTC)


@pytest.fixture
def vault(database: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vault]:
    monkeypatch.setitem(MAX_A_DAY, Quota.DUPLICATES, MOST)
    with Database(database) as pool:
        yield Vault(pool, "XK", DataKeys(directory / "xk", "XK", FileCountryKey.generate()))


def reference(database: str, vault: Vault, other: str) -> UUID:
    """Return by which reference another country has a case of this one."""
    case_id = uuid4()
    vault.duplicates.add_case(case_id, {other: uuid4()})
    with psycopg.connect(database) as connection:
        row = connection.execute(
            "SELECT reference FROM vault_xk.match_cases WHERE case_id = %s", (case_id,)
        ).fetchone()
    assert row is not None
    found: UUID = row[0]
    return found


def said(other: str, ours: UUID) -> Match:
    """Return a match that another country's node says it found, by a reference of its making."""
    return Match(other, ours, uuid4(), (MatchKind.NAMES, MatchKind.BIRTHDATE), 80)


def test_made_up_duplicates_end_with_the_days_quota(database: str, vault: Vault) -> None:
    ours, kept = reference(database, vault, "ME"), vault.duplicates
    first = said("ME", ours)
    assert kept.found(first, NOW, told=True)
    for _ in range(MOST - 1):
        assert kept.found(said("ME", ours), NOW, told=True)
    late = said("ME", ours)
    with pytest.raises(QuotaUsedUpError):
        kept.found(late, NOW, told=True)
    assert len(kept.all(100)) == MOST
    # What is known already, and other countries, are not held up.
    assert not kept.found(first, NOW, told=True)
    assert kept.found(said("AL", reference(database, vault, "AL")), NOW, told=True)
    # One that waited comes in on the next day. The node's own clock does not count.
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE vault_xk.daily_quotas SET since = now() - interval '25 hours'")
    assert kept.found(late, NOW, told=True)
    assert sorted(one.match.other for one in kept.all(100)) == ["AL", *["ME"] * (MOST + 1)]


def test_the_operator_is_told_for_a_day(database: str, vault: Vault) -> None:
    assert quota_troubles([vault]) == []
    vault.quotas.refused("ME", Quota.DUPLICATES)
    vault.quotas.refused("AL", Quota.DUPLICATES)
    vault.quotas.refused("AL", Quota.GIVEN)
    told = {one.rule: one.message for one in quota_troubles([vault])}
    assert told.keys() == {"too-many-duplicates", "asked-too-often"}
    assert "AL at XK, ME at XK" in told["too-many-duplicates"]
    with psycopg.connect(database) as connection:
        connection.execute(
            "UPDATE vault_xk.daily_quotas SET refused_at = now() - interval '25 hours'"
        )
    assert quota_troubles([vault]) == []
