"""A database says what its protocol is; a file that says something else stops the start."""

import json
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psycopg
import pytest

from api.background_jobs.access_matrix import AccessMatrixKeeper
from api.cli.steps import key_requests
from api.node.agreed_protocol import recorded_agreement, settings_here, with_agreed_protocol
from api.node.node import node_client
from api.runtime.settings import Settings
from ledger.application import Ledger
from ledger.procedure.agreement import Agreement, ProtocolVersion
from ledger.procedure.amendments import text_of
from ledger.procedure.protocol import Protocol, shipped_protocol
from ledger.procedure.registry import Registry
from ledger.refusals import Refusal
from ledger.signing import keys, signed_action
from ledger.signing.country_key import FileCountryKey
from ledger.signing.key_possession import check_proof
from ledger.store.database import Database
from ledger.vault.data_keys import DataKeys
from ledger.vault.vault import Vaults
from ledger.vocabulary import Action
from ledger.vocabulary.registration import KeyGrant, NamedCheckpoint
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


def test_commands_on_the_machine_read_the_ledgers_protocol(
    ledger: Ledger, database: str, agencies: Agencies, tmp_path: Path
) -> None:
    second = amended(agencies.protocol, title="The second version")
    adopt(ledger, agencies, second)
    named = Settings(data_directory=tmp_path, database_url=database)  # type: ignore[arg-type]
    assert settings_here(named).load_protocol() == second
    without_a_database = Settings(data_directory=tmp_path)
    assert settings_here(without_a_database).load_protocol() == shipped_protocol()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"protocol": "another-corridor"}, "another-corridor"),
        ({"rule": "not-adopted"}, shipped_protocol().id),
        (None, shipped_protocol().id),
    ],
    ids=["adopted", "not adopted", "no node"],
)
def test_a_request_for_a_key_names_the_protocol_of_the_node(
    answer: dict[str, str] | None,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def answered(request: httpx.Request) -> httpx.Response:
        assert str(request.url) == "http://node.invalid/ready"
        if answer is None:
            raise httpx.ConnectError("no node")
        return httpx.Response(200 if "protocol" in answer else 503, json=answer)

    monkeypatch.setenv("CASE_LEDGER_URL", "http://node.invalid")
    monkeypatch.setenv("CASE_LEDGER_DATA_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(
        key_requests,
        "bounded_client",
        lambda **_: httpx.Client(transport=httpx.MockTransport(answered)),
    )
    private = keys.generate()
    request = key_requests.request_for(private, "xk-dhtqnj")
    now = datetime.now(UTC)
    grant = KeyGrant(**request.model_dump(), valid_from=now, valid_until=now + timedelta(days=1))
    check_proof(grant, expected, "grant")
    with pytest.raises(Refusal):
        check_proof(grant, f"not-{expected}", "grant")


def test_a_nodes_client_acts_for_the_agency_that_is_its_node_today(
    agencies: Agencies, tmp_path: Path
) -> None:
    """A version may name another node agency; no node is started again for that."""
    told = text_of(agencies.protocol)["agencies"]
    moved = [one | {"role": "ngo"} if one["id"] == "xk-node" else one for one in told] + [
        {"id": "xk-node-2", "name": "The second node", "party": "XK", "role": "node"}
    ]
    later = amended(agencies.protocol, agencies=moved)
    settings = Settings(data_directory=tmp_path, countries=("XK",))
    settings = settings.with_protocol(agencies.protocol)
    keys.save(agencies.keys["xk-node"], settings.key_directory / "xk-node.jwk")
    first = Registry(Agreement.of(agencies.protocol), {}, 1)
    registries = [first]
    client = node_client(settings, "http://node.invalid", registry=lambda: registries[-1])
    client._authorization()
    assert client.agency == "xk-node"
    version = ProtocolVersion(later, adopted_at=2)
    registries.append(Registry(first.agreement.followed_by(version), {}, 2))
    client._authorization()
    assert client.agency == "xk-node", "its key is not here yet"
    keys.save(keys.generate(), settings.key_directory / "xk-node-2.jwk")
    client._authorization()
    assert client.agency == "xk-node-2"
    client.close()


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
    soon = datetime.now(UTC).date() + timedelta(days=2)
    act(ledger, agencies, "xk-nac", proposal(text, soon))
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

    later = datetime.now(UTC) + timedelta(days=3)
    monkeypatch.setattr("api.background_jobs.access_matrix.clock.now", lambda: later)
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
