"""Tokens of names and numbers in the own vault: found as typed, removed with the field."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch
from uuid import UUID, uuid4

import pytest

from ledger.procedure.protocol import Operation
from ledger.signing import signed_action
from ledger.signing.country_key import FileCountryKey
from ledger.store.database import Database
from ledger.vault.access_log import NO_CASE
from ledger.vault.data_keys import DataKeys
from ledger.vault.search.search_tokens import SearchKey, sought_words, stated_forms
from ledger.vault.vault import Vault
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import Gender
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.leaks import tables_with
from tests.support.vaults import reading

KEY, OTHER_KEY = SearchKey.of(b"k" * 32), SearchKey.of(b"o" * 32)


def matches(typed: str, stated: str, name: str = "first_name") -> bool:
    """Each word that was typed has a form in common with the stated value."""
    forms = set(stated_forms(name, stated))
    words = sought_words(typed, phones=True)
    return bool(words) and all(forms & {*word.exact, *word.similar} for word in words)


@pytest.mark.parametrize(
    ("typed", "stated"),
    [
        ("Krasniqi", "Krasniqi"),
        ("krasnici", "Krasniqi"),
        ("Krasnqi", "Krasniqi"),  # a letter left out
        ("Krasnigi", "Krasniqi"),  # a letter exchanged
        ("Красници", "Krasniqi"),
        ("Шарић", "Šarić"),
        ("Shariq", "Шарић"),
        ("Hodza", "Hoxha"),
        ("DORDE", "Đorđe"),  # as a passport writes it
        ("zoja", "Zojë"),
        ("Marija", "Ana-Marija"),
    ],
)
def test_a_name_is_found_misspelt_and_in_both_scripts(typed: str, stated: str) -> None:
    assert matches(typed, stated)


@pytest.mark.parametrize(("typed", "stated"), [("Drita", "Arta"), ("Marku", "Krasniqi")])
def test_another_name_is_not_found(typed: str, stated: str) -> None:
    assert not matches(typed, stated)


@pytest.mark.parametrize("typed", ["+38344123456", "044 123 456", "00383 44/123-456", "44123456"])
def test_a_telephone_number_is_found_in_local_writing(typed: str) -> None:
    assert matches(typed, "+38344123456", "phone")
    assert not matches(typed, "+38344123457", "phone")
    forms = {form for word in sought_words(typed, phones=False) for form in word.exact}
    assert not any(form.startswith("phone") for form in forms), "the matrix closes contacts"


def test_an_identity_number_is_found_whole_and_never_in_part() -> None:
    assert matches("10 0123 4567", "1001234567", "identity_number")
    assert not matches("100123", "1001234567", "identity_number")


@pytest.mark.parametrize("typed", ["", "a", "12", "nn", "?!", "11111"])
def test_too_little_is_no_question(typed: str) -> None:
    assert not sought_words(typed, phones=True)


@dataclass
class World:
    vault: Vault
    agencies: Agencies
    database: str
    keys: DataKeys

    def deposit(self, vault: Vault | None = None, **fields: object) -> tuple[UUID, UUID, UUID]:
        case_id = uuid4()
        signed = self.agencies.sign("xk-dhtqnj", opening(**fields), case_id)
        action = signed_action.read(signed)
        deposit = (vault or self.vault).deposit(action, case_id, signed.disclosures)
        return case_id, action.id, deposit

    def find(self, text: str, key: SearchKey = KEY) -> list[UUID]:
        return [*self.vault.search.find(key, sought_words(text, phones=True), 10)]


@pytest.fixture
def world(database: str, agencies: Agencies, tmp_path: Path) -> Iterator[World]:
    with Database(database) as pool:
        keys = DataKeys(tmp_path / "persons", "XK", FileCountryKey.generate())
        vault = Vault(pool, "XK", keys, search_key=lambda: KEY)
        yield World(vault, agencies, database, keys)


def test_a_deposit_is_found_until_its_fields_go(world: World) -> None:
    erased, *_ = world.deposit(first_name="Arta", second_name="Krasniqi")
    refused, action, deposit = world.deposit(first_name="Arta", second_name="Krasniqi")
    destroyed, gone, _ = world.deposit(first_name="Arta", second_name="Krasniqi")
    other, *_ = world.deposit(first_name="Arta", second_name="Hoxha")
    found = world.find("Arta Krasniqi")
    assert set(found) == {erased, refused, destroyed}
    assert set(world.find("Arta")) == {erased, refused, destroyed, other}
    assert set(world.find("Blerta Arta Krasniqi")) >= {erased}, "of three words one may be missing"
    world.vault.withdraw(action, deposit)
    assert refused not in world.find("Arta Krasniqi")
    world.vault.destroyed.destroy(destroyed, gone, uuid4())
    assert world.find("Arta Krasniqi") == [erased]
    world.vault.erase(erased)
    assert world.find("Arta Krasniqi") == []


def test_the_better_match_comes_first(world: World) -> None:
    similar, *_ = world.deposit(first_name="Artan", second_name="Krasniqi")
    exact, *_ = world.deposit(first_name="Arta", second_name="Krasniqi")
    assert world.find("Arta Krasniqi") == [exact, similar]


def test_no_name_is_in_the_index_and_another_key_finds_nothing(world: World) -> None:
    world.deposit(first_name="Zqarta", second_name="Zqnobody")
    assert tables_with(world.database, ["Zqarta", "zqarta", "Zqnobody", "zqnobodi"]) == {}
    assert world.find("Zqarta", OTHER_KEY) == []


def test_statements_without_tokens_are_due_and_a_new_key_makes_all_due(world: World) -> None:
    indexed, *_ = world.deposit(first_name="Arta")
    assert not world.vault.search.due(10), "a deposit brings its tokens"
    plain = Vault(world.vault._database, "XK", world.keys)
    late, *_ = world.deposit(plain, first_name="Arta")
    assert {*world.vault.search.due(10)} == {late}
    assert world.vault.search.forget_other_keys(KEY) == 0
    assert world.vault.search.forget_other_keys(OTHER_KEY) == 1
    assert {*world.vault.search.due(10)} == {late, indexed}
    assert world.find("Arta") == []


def opened(world: World, case_id: UUID, operation: Operation, role: str) -> set[str]:
    entry = reading(
        world.vault, case_id, operation=operation, role=role,
        groups=(FieldGroup.IDENTITY, FieldGroup.CONTACT),
    )  # fmt: skip
    with patch.object(world.vault, "_closed", return_value=()):  # row-level security alone
        return {one.field for one in world.vault.personal_fields(entry)}


def test_the_nodes_entry_opens_the_searched_fields_alone_and_a_search_opens_none(
    world: World,
) -> None:
    case_id, *_ = world.deposit(first_name="Arta", phone="+38344123456", gender=Gender.FEMININE)
    assert opened(world, case_id, Operation.INDEX, "node") == {"first_name", "phone"}
    assert opened(world, case_id, Operation.INDEX, "police") == set()
    assert opened(world, case_id, Operation.SEARCH, "police") == set()


def test_searches_are_counted_by_person_and_by_key(world: World) -> None:
    def search(**asked: object) -> None:
        reading(
            world.vault, NO_CASE, operation=Operation.SEARCH, agency="xk-dhtqnj", role="police",
            **asked,
        )  # fmt: skip

    for _ in range(3):
        search(person="p1", key_id="k1")
    search(key_id="k1")
    search(key_id="k2")
    counted = world.vault.readings.searches_within_a_day
    assert counted("xk-dhtqnj", "p1", None) == 3
    assert counted("xk-dhtqnj", None, "k1") == counted("xk-dhtqnj", None, "k2") == 1
    assert counted("xk-nac", "p1", None) == 0
    assert not list(world.vault.readings.findings())
