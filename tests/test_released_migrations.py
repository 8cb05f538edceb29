"""A migration that was released never changes: a node that applied it would refuse to start."""

import re

import pytest

from ledger.store.migrate import witness_component
from tests.support.released_migrations import (
    ChangedMigrationError,
    changed,
    migrations,
    read_releases,
    version_of_the_source,
    with_release,
)

RELEASES = read_releases()


@pytest.mark.parametrize("version", RELEASES)
def test_released_migrations_are_unchanged(version: str) -> None:
    assert len(RELEASES[version]) > 20
    assert changed(RELEASES[version], migrations()) == [], (
        "a released migration was changed or removed: put it back, and write a new one"
    )


def test_the_version_of_the_source_has_a_list() -> None:
    assert version_of_the_source() in RELEASES, "run `make release-migrations`"


def test_each_folder_of_migrations_is_listed() -> None:
    folders = {re.sub(r"/[^/]*$", "", path) for path in migrations()}
    assert folders == {
        "api/migrations",
        "ledger/store/migrations",
        "ledger/store/vault_migrations",
        "ledger/store/witness_migrations",
        "projections/migrations",
    }
    applied = witness_component("XK").directory
    names = {file.name for file in applied.iterdir() if file.name.endswith(".sql")}
    assert {f"ledger/store/witness_migrations/{name}" for name in names} <= migrations().keys()


def test_a_changed_and_a_removed_migration_are_named() -> None:
    released = {"a.sql": "1", "b.sql": "2", "c.sql": "3"}
    assert changed(released, {"a.sql": "1", "b.sql": "other", "d.sql": "4"}) == ["b.sql", "c.sql"]


def test_a_new_list_keeps_to_the_lists_of_earlier_releases() -> None:
    before = {"0.1.0": {"a.sql": "1"}, "0.2.0": {"a.sql": "1", "b.sql": "draft"}}
    now = {"a.sql": "1", "b.sql": "2", "c.sql": "3"}
    assert with_release(before, "0.2.0", now) == {"0.1.0": {"a.sql": "1"}, "0.2.0": now}
    with pytest.raises(ChangedMigrationError, match=r"a\.sql"):
        with_release(before, "0.2.0", now | {"a.sql": "edited"})
    with pytest.raises(ChangedMigrationError, match=r"b\.sql"):
        with_release({**before, "0.2.0": {"b.sql": "2"}}, "0.3.0", {"a.sql": "1", "b.sql": "9"})
