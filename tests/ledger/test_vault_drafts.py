"""Drafts in a vault: sealed, opened for an entry of the access log, decided once, erased."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from ledger.procedure.protocol import Operation
from ledger.refusals import Refusal
from ledger.signing.country_key import FileCountryKey, SealError
from ledger.store.database import Database
from ledger.vault import drafts as module
from ledger.vault.data_keys import DataKeys
from ledger.vault.drafts import Draft, DraftContent, DraftState, draft_sealed_again
from ledger.vault.vault import Vault
from ledger.vocabulary.picklists import Purpose
from tests.support.vaults import reading

AGENCY = "xk-dhtqnj"
SECRET, REMARK = "zqSigned~text~", "zqName the school."


@pytest.fixture
def pool(database: str) -> Iterator[Database]:
    with Database(database) as opened:
        yield opened


@pytest.fixture
def vault(pool: Database, tmp_path: Path) -> Vault:
    return Vault(pool, "XK", DataKeys(tmp_path / "persons", "XK", FileCountryKey.generate()))


def a_draft(case: UUID) -> Draft:
    return Draft(
        uuid4(), case, AGENCY, uuid4(), "risk_assessed", DraftState.WAITING, 1,
        datetime.now(UTC), None, None, None,
    )  # fmt: skip


def added(vault: Vault, case: UUID | None = None, replaces: UUID | None = None) -> Draft:
    draft = a_draft(case or uuid4())
    vault.drafts.add(draft, DraftContent(SECRET, {"notes": SECRET}, None), replaces=replaces)
    return draft


def opened(vault: Vault, draft: Draft, **asked: object) -> DraftContent | None:
    told = {"agency": AGENCY, "operation": Operation.READ_DRAFT, "purpose": Purpose.PROTECTION}
    case = asked.pop("case_id", draft.case_id)
    entry = reading(vault, UUID(str(case)), **{**told, **asked})
    logged = vault.readings.record(entry.asked, concerning=draft.action_id)
    return vault.drafts.open(logged)


def test_a_draft_opens_for_an_entry_that_names_it_and_closes_with_the_person(
    vault: Vault, database: str
) -> None:
    draft, other = added(vault), added(vault)
    assert opened(vault, draft) == DraftContent(SECRET, {"notes": SECRET}, None)
    assert opened(vault, draft, agency="xk-qps") is None
    assert opened(vault, draft, operation=Operation.READ) is None
    assert opened(vault, draft, case_id=other.case_id) is None
    vault.drafts.give_back(draft, uuid4(), REMARK)
    content = opened(vault, draft)
    assert content is not None
    assert content.remark == REMARK
    with psycopg.connect(database, row_factory=dict_row) as connection:
        row = connection.execute(
            "SELECT * FROM vault_xk.drafts WHERE action_id = %s", (draft.action_id,)
        ).fetchone()
        assert row is not None
        key = vault.keys.get(draft.case_id)
        assert key is not None
        sealed, remark = draft_sealed_again(row, key, bytes(32))
        assert draft_sealed_again({**row, "sealed": sealed, "remark": remark}, key, bytes(32)) == (
            sealed, remark,
        )  # fmt: skip
        with pytest.raises(SealError):
            draft_sealed_again({**row, "author": uuid4()}, key, bytes(32))
        connection.execute(
            "UPDATE vault_xk.drafts SET kind = kind, sealed = (SELECT sealed FROM vault_xk.drafts"
            " WHERE action_id = %s) WHERE action_id = %s",
            (draft.action_id, other.action_id),
        )
    with pytest.raises(SealError):
        opened(vault, other)
    assert vault.key_faults() == (set(), set())
    vault.erase(draft.case_id)
    assert vault.drafts.get(draft.action_id) is None
    with pytest.raises(Refusal, match="erased"):
        added(vault, draft.case_id)
    assert vault.keys.get(draft.case_id) is None


def test_of_all_who_decide_on_a_draft_at_once_one_succeeds(vault: Vault) -> None:
    """Approvals, a return, a withdrawal and a replacement; and none decides afterwards."""
    for _ in range(4):
        draft = added(vault)
        action = draft.action_id
        ways: list[Callable[[], object]] = [
            lambda a=action: vault.drafts.approve(a, uuid4()),  # type: ignore[misc]
            lambda a=action: vault.drafts.approve(a, uuid4()),  # type: ignore[misc]
            lambda a=action: vault.drafts.take_back(a),  # type: ignore[misc]
            lambda d=draft: added(vault, d.case_id, d.action_id),  # type: ignore[misc]
        ]

        def tried(way: Callable[[], object]) -> str:
            try:
                way()
            except Refusal as refusal:
                return refusal.rule
            return "done"

        with ThreadPoolExecutor(len(ways)) as pool:
            ends = list(pool.map(tried, ways))
        assert sorted(ends) == ["done", *["draft-over"] * 3], ends
        state = vault.drafts.get(action)
        assert (state is None) is vault.drafts.is_taken_back(action)


def test_a_draft_is_bounded_and_cleaned_up(
    vault: Vault, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = added(vault)
    with monkeypatch.context() as one_alone:
        one_alone.setattr(module, "MOST_OF_AUTHOR", 1)
        again = replace(a_draft(uuid4()), author=draft.author)
        with pytest.raises(Refusal, match="1 of one member"):
            vault.drafts.add(again, DraftContent(SECRET, None, None))
        added(vault)  # a colleague's
    monkeypatch.setattr(module, "MOST_OF_AGENCY", len(vault.drafts.of_agency(AGENCY)))
    with pytest.raises(Refusal, match="drafts of an agency wait"):
        added(vault)
    replacing = added(vault, draft.case_id, draft.action_id)
    assert vault.drafts.is_taken_back(draft.action_id)
    vault.drafts.approve(replacing.action_id, uuid4())
    vault.drafts.wait_again(replacing.action_id)
    assert vault.drafts.clean_up() == 0
    with psycopg.connect(database) as connection:
        connection.execute(
            "UPDATE vault_xk.drafts SET sent_at = now() - interval '92 days' WHERE action_id = %s",
            (replacing.action_id,),
        )
    assert vault.drafts.clean_up() == 1
    assert vault.drafts.get(replacing.action_id) is None
