"""A database says what its protocol is; a file that says something else stops the start."""

import json
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from api.node.agreed_protocol import recorded_agreement, with_agreed_protocol
from api.runtime.settings import Settings
from api.workers.access_matrix import AccessMatrixKeeper
from ledger.application import Ledger
from ledger.procedure.amendments import text_of
from ledger.procedure.protocol import Protocol, shipped_protocol
from ledger.signing import signed_action
from ledger.signing.country_key import FileCountryKey
from ledger.store.database import Database
from ledger.vault.data_keys import DataKeys
from ledger.vault.vault import Vaults
from ledger.vocabulary import Action
from ledger.vocabulary.registration import NamedCheckpoint
from tests.support.agencies import Agencies
from tests.support.amending import acceptance, amended, proposal


def act(ledger: Ledger, agencies: Agencies, agency: str, action: Action) -> None:
    signed = agencies.sign(agency, action, None)
    ledger.append_to_registry(signed_action.read(signed))


def named(ledger: Ledger) -> NamedCheckpoint:
    tree = ledger.rows.tree()
    return NamedCheckpoint(size=tree.size, root=tree.root().hex())


def adopt(ledger: Ledger, agencies: Agencies, text: Protocol) -> None:
    act(ledger, agencies, "xk-nac", proposal(text))
    proposed = ledger.adopted().amendments[-1].proposal
    for agency in ("me-nac", "al-nac"):
        act(ledger, agencies, agency, acceptance(proposed, text, named(ledger)))


def file(directory: Path, protocol: Protocol) -> Settings:
    path = directory / "protocol.json"
    path.write_text(json.dumps(text_of(protocol)), encoding="utf-8")
    return Settings(protocol=path, data_directory=directory)


def test_the_ledger_has_its_protocol_and_a_file_is_compared(
    ledger: Ledger, database: str, agencies: Agencies, tmp_path: Path
) -> None:
    first = agencies.protocol
    second = amended(first, title="The second version")
    without_a_file = Settings(data_directory=tmp_path)
    assert with_agreed_protocol(without_a_file, database).load_protocol() == first
    assert with_agreed_protocol(file(tmp_path, first), database).load_protocol() == first
    with pytest.raises(ValueError, match=r"“The second version”, no longer.*protocol propose"):
        with_agreed_protocol(file(tmp_path, second), database)

    adopt(ledger, agencies, second)
    agreement = recorded_agreement(database)
    assert agreement is not None
    assert [one.protocol for one in agreement.versions] == [first, second]
    assert with_agreed_protocol(without_a_file, database).load_protocol() == second
    assert with_agreed_protocol(file(tmp_path, second), database).load_protocol() == second
    # A node with the file of before starts too, and works by the agreement.
    assert with_agreed_protocol(file(tmp_path, first), database).load_protocol() == second
    witnesses = amended(first, quorum={"witnesses": 3, "coordinators": 2})
    with pytest.raises(ValueError, match="First difference"):
        with_agreed_protocol(file(tmp_path, witnesses), database)


def test_before_the_adoption_the_file_counts(database: str, tmp_path: Path) -> None:
    changed = amended(shipped_protocol(), title="Another")
    assert recorded_agreement(database) is None
    settings = file(tmp_path, changed)
    assert with_agreed_protocol(settings, database).load_protocol() == changed


def cells(database: str) -> set[tuple[str, str, str]]:
    with psycopg.connect(database) as connection:
        found = connection.execute("SELECT * FROM vault_xk.access_matrix").fetchall()
    return {(role, operation, group) for role, operation, group in found}


def test_what_a_version_opens_is_open_in_the_database_once_it_is_in_force(
    ledger: Ledger,
    database: str,
    agencies: Agencies,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    access = text_of(agencies.protocol)["access"]
    text = amended(agencies.protocol, access=access | {"ngo": {"read": ["whereabouts"]}})
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    act(ledger, agencies, "xk-nac", proposal(text, tomorrow))
    proposed = ledger.adopted().amendments[-1].proposal
    for agency in ("me-nac", "al-nac"):
        act(ledger, agencies, agency, acceptance(proposed, text, named(ledger)))
    stack = ExitStack()
    pool = stack.enter_context(Database(database))
    vaults = Vaults(pool, {"XK": DataKeys(tmp_path, "XK", FileCountryKey.generate())})
    own = AccessMatrixKeeper(ledger, vaults, Settings(data_directory=tmp_path), database)
    not_owner = Settings(data_directory=tmp_path, database_url=database)  # type: ignore[arg-type]
    other = AccessMatrixKeeper(ledger, vaults, not_owner, database)
    own.step()
    other.step()
    opened = {("ngo", "read", "whereabouts")}
    assert not opened & cells(database)
    assert not other.troubles()

    later = datetime.now(UTC) + timedelta(days=2)
    monkeypatch.setattr("api.workers.access_matrix.clock.now", lambda: later)
    other.step()
    assert [one.rule for one in other.troubles()] == ["access-matrix-behind"]
    assert other.written() == agencies.protocol
    own.step()
    assert opened <= cells(database)
    assert own.written() == text
    assert not own.troubles()
    other.step()  # the owner's `migrate` is enough: no start is needed
    assert not other.troubles()
    assert other.written() == text

    with psycopg.connect(database) as connection:
        connection.execute("INSERT INTO vault_xk.access_matrix VALUES ('ngo', 'read', 'health')")
    own.step()
    assert ("ngo", "read", "health") in cells(database), "the check of the vault must find it"
    stack.close()
