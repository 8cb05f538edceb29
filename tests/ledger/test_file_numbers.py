"""The agencies' own values in a vault: sealed, found by a token, and erased with the person."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from ledger.refusals import Refusal
from ledger.signing import signed_action
from ledger.signing.country_key import FileCountryKey
from ledger.store.database import Database
from ledger.vault import saved_filters
from ledger.vault.data_key_rotation import replace_data_keys
from ledger.vault.data_keys import DataKeys
from ledger.vault.file_numbers import read_file_number
from ledger.vault.search.search_tokens import SearchKey
from ledger.vault.vault import Vault
from ledger.vocabulary.case_reference import case_reference
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.leaks import tables_with

POLICE, SHELTER = "xk-dhtqnj", "xk-pvpt"
KEY, OTHER_KEY = SearchKey.of(b"k" * 32), SearchKey.of(b"o" * 32)


@dataclass
class World:
    vault: Vault
    agencies: Agencies
    database: str
    keys: DataKeys

    def case(self) -> UUID:
        case_id = uuid4()
        signed = self.agencies.sign(POLICE, opening(first_name="Arta"), case_id)
        self.vault.deposit(signed_action.read(signed), case_id, signed.disclosures)
        return case_id

    def put(self, case_id: UUID, number: str, agency: str = POLICE) -> None:
        self.vault.file_numbers.put(case_id, agency, number)

    def numbers(self, case_id: UUID) -> dict[str, str | None]:
        found = self.vault.file_numbers.of_cases([case_id]).get(case_id, ())
        return {one.agency: one.number for one in found}

    def find(self, text: str) -> list[UUID]:
        return [case_id for case_id, _ in self.vault.file_numbers.find(text, 10)]


@pytest.fixture
def world(database: str, agencies: Agencies, tmp_path: Path) -> Iterator[World]:
    with Database(database) as pool:
        keys = DataKeys(tmp_path / "persons", "XK", FileCountryKey.generate())
        yield World(Vault(pool, "XK", keys, search_key=lambda: KEY), agencies, database, keys)


@pytest.mark.parametrize("typed", ["", " - ", "Arta Krasniqi", "1" * 41, "12\u202e34", "1\x002"])
def test_a_number_is_short_and_has_a_digit_and_only_characters_that_are_seen(typed: str) -> None:
    with pytest.raises(Refusal) as refused:
        read_file_number(typed)
    assert (refused.value.rule, refused.value.field) == ("file-number-form", "number")


def test_a_number_is_found_in_any_writing_changed_and_removed(world: World) -> None:
    hers = world.case()
    world.put(hers, " K-12 / 2026 ")
    assert world.numbers(hers) == {POLICE: "K-12 / 2026"}
    for typed in ("K-12/2026", "k 12 2026", "К.12.2026", "k_12-2026"):  # noqa: RUF001  # Cyrillic
        assert world.find(typed) == [hers], typed
    for typed in ("K-1/22026", "K-12", "12/2026", "", "K" * 300):
        assert world.find(typed) == [], typed
    world.put(hers, "K-13/2026")
    assert (world.find("K-12/2026"), world.find("K-13/2026")) == ([], [hers])
    assert world.vault.file_numbers.remove(hers, POLICE)
    assert not world.vault.file_numbers.remove(hers, POLICE)
    assert (world.numbers(hers), world.find("K-13/2026")) == ({}, [])


def test_an_agency_uses_a_number_once_and_another_agency_may_use_it_too(world: World) -> None:
    hers, his = world.case(), world.case()
    world.put(hers, "12/26")
    world.put(hers, "12-26")  # a correction of the same number
    world.put(his, "13/26")
    with pytest.raises(Refusal) as refused:
        world.put(his, "12.26")
    assert refused.value.rule == "file-number-taken"
    assert case_reference(hers) in refused.value.message
    assert world.numbers(his) == {POLICE: "13/26"}, "the earlier number stays"
    world.put(his, "12/26", SHELTER)
    assert world.numbers(his) == {POLICE: "13/26", SHELTER: "12/26"}
    assert {*world.find("12/26")} == {hers, his}


def test_no_number_and_no_name_of_a_filter_is_in_the_database_in_clear(world: World) -> None:
    world.put(world.case(), "ZQ-98765/26")
    world.vault.saved_filters.save(POLICE, "Zqdrita", "stage=Zqassistance")
    marks = ["98765", "ZQ-9", "zq-9", "Zqdrita", "zqdrita", "Zqassistance"]
    assert tables_with(world.database, marks) == {}


def test_an_erasure_takes_the_numbers_and_nothing_comes_in_again(world: World) -> None:
    hers = world.case()
    world.put(hers, "12/26")
    world.vault.erase(hers)
    assert (world.numbers(hers), world.find("12/26")) == ({}, [])
    with pytest.raises(Refusal) as refused:
        world.put(hers, "12/26")
    assert refused.value.rule == "erased-case"
    assert not world.keys.has(hers)
    world.put(world.case(), "12/26")


def test_a_number_of_a_lost_key_is_a_fault_of_the_vault(world: World) -> None:
    hers = uuid4()  # another country's case, of which nothing was disclosed yet
    world.put(hers, "12/26")
    assert world.vault.key_faults() == (set(), set())
    world.keys.destroy(hers)
    assert world.vault.key_faults() == ({hers}, set())
    assert world.numbers(hers) == {POLICE: None}
    world.vault.give_up([hers])
    assert (world.numbers(hers), world.vault.key_faults()) == ({}, (set(), set()))


def test_values_open_before_and_after_data_keys_are_replaced(world: World) -> None:
    hers = world.case()
    world.put(hers, "12/26")
    world.vault.saved_filters.save(POLICE, "Open", "status=open")
    before = world.keys.get(hers)
    assert world.keys.begin_replacement()
    assert world.numbers(hers) == {POLICE: "12/26"}, "by the replaced key"
    done = replace_data_keys(world.database, "XK", world.keys)
    assert (done.damaged, done.kept) == (0, 0)
    assert before != world.keys.get(hers)
    assert world.numbers(hers) == {POLICE: "12/26"}
    assert [one.name for one in world.vault.saved_filters.of_agency(POLICE)] == ["Open"]


def test_a_new_secret_of_the_index_finds_and_guards_the_numbers_again(world: World) -> None:
    hers = world.case()
    world.put(hers, "12/26")
    renewed = Vault(world.vault._database, "XK", world.keys, search_key=lambda: OTHER_KEY)
    with pytest.raises(Refusal) as refused:
        renewed.file_numbers.put(world.case(), POLICE, "12/26")
    assert refused.value.rule == "file-number-taken"
    assert [case_id for case_id, _ in renewed.file_numbers.find("12/26", 10)] == [hers]


def test_a_filter_is_of_one_agency_and_takes_the_place_of_its_name(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    filters = world.vault.saved_filters
    filters.save(POLICE, "Open cases", "status=open")
    filters.save(POLICE, " open  CASES ", "status=closed")
    (saved,) = filters.of_agency(POLICE)
    assert (saved.name, saved.query) == ("open CASES", "status=closed")
    assert filters.of_agency(SHELTER) == []
    assert not filters.remove(SHELTER, saved.id)
    monkeypatch.setattr(saved_filters, "MOST", 1)
    for name, rule in (
        ("More", "too-many-filters"),
        (" ", "filter-name"),
        ("x" * 61, "filter-name"),
    ):
        with pytest.raises(Refusal) as refused:
            filters.save(POLICE, name, "")
        assert (refused.value.rule, refused.value.field) == (rule, "name")
    filters.save(POLICE, "Open cases", "status=open")
    assert filters.remove(POLICE, filters.of_agency(POLICE)[0].id)
    assert filters.of_agency(POLICE) == []
