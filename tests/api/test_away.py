"""Absent parties in `/ready`, a node's own presence, and the report on an absence."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from api.cli import app
from api.client import RefusedError
from api.exchange.away import AWAY_AFTER, PresenceDeclarer, announced_absences, away_witnesses
from ledger.application import Ledger
from ledger.procedure.protocol import Agency
from ledger.signing import keys
from ledger.signing.signed_action import SignedAction
from ledger.store.database import Database
from ledger.system import clock
from ledger.vocabulary.picklists import VoteSubject
from ledger.vocabulary.registration import AbsenceAnnounced
from tests.support.actions import START
from tests.support.agencies import Agencies
from tests.support.logs import Log
from tests.support.serving import serving

ABSENT = AbsenceAnnounced(acted_at=START, party="AL", subjects=(VoteSubject.WITNESSES,))


@pytest.fixture
def log(ledger: Ledger, database: str, agencies: Agencies) -> Iterator[Log]:
    with Database(database) as pool:
        yield Log(ledger, pool, agencies, threshold=2)


def test_ready_names_who_is_away_and_whether_publication_goes_on(log: Log) -> None:
    def said(after: timedelta) -> str:
        found = away_witnesses(log.database, log.policy_at, lambda: clock.now() + after)
        return "; ".join(f"{one.rule} {one.effect}: {one.message}" for one in found)

    log.publication.step()
    assert said(2 * AWAY_AFTER) == ""
    before = log.ledger.rows.tree().size
    log.away = {"AL"}
    log.open_case()
    log.publication.step()
    assert said(timedelta()) == ""
    told = said(2 * AWAY_AFTER)
    assert told.startswith("witness-away warning: Witnesses that cosign nothing: AL")
    assert f"stands at size {before}" in told
    assert "ME, XK publish without it." in told
    log.away = {"AL", "ME"}
    log.open_case()
    log.publication.step()
    assert "no quorum: nothing is published" in said(2 * AWAY_AFTER)


class Recorder:
    """Records at once what a node signs, as the ledger node does."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def of_node(self, _node: Agency, action: SignedAction, _case: object, _version: int) -> None:
        self._ledger.append_to_registry(action)


def test_a_node_that_runs_declares_its_country_present(log: Log) -> None:
    key = log.agencies.keys["al-node"]

    def presence(*parties: str) -> PresenceDeclarer:
        recorder = Recorder(log.ledger)
        return PresenceDeclarer(log.ledger, parties, recorder, lambda _: key)  # type: ignore[arg-type]

    assert presence("AL").declare() == 0
    log.register("xk-nac", ABSENT)
    (told,) = announced_absences(log.registry(), ["AL"])
    assert (told.rule, "xk-nac announced on" in told.message) == ("absence-announced", True)
    assert announced_absences(log.registry(), ["XK", "ME"]) == []
    assert presence("XK", "ME").declare() == 0
    assert presence("AL").declare() == 1
    assert [one.ended_at for one in log.registry().announced] == [log.ledger.rows.tree().size]
    assert announced_absences(log.registry(), ["AL"]) == []
    # The next announcement is another one, and is answered again.
    log.register("me-nac", ABSENT)
    assert presence("AL").declare() == 1


def test_what_a_party_misses_is_listed_by_command(
    ledger: Ledger, database: str, agencies: Agencies, tmp_path_factory: pytest.TempPathFactory
) -> None:
    files = tmp_path_factory.mktemp("keys")

    def run(agency: str, *words: str) -> str:
        key = files / f"{agency}.jwk"
        if not key.exists():
            keys.save(agencies.keys[agency], key)
        options = ("-a", agency, "--key", str(key), "--url", served.url)
        done = CliRunner().invoke(app, ["absence", *words, *options])
        assert done.exit_code == 0, done.output
        return done.output

    with serving(database, agencies) as served:
        assert "Announced absences of AL: none." in run("xk-nac", "show", "AL")
        run("xk-nac", "announce", "al", "--on", "witnesses")
        with served.client("me-nac") as client:
            (one,) = client.absence("AL").announced
            assert (one.by, one.ended_at, one.subjects) == ("xk-nac", None, ("Witnesses",))
            assert one.counts_from - one.announced_at == timedelta(days=14)
            assert client.absence("ME").announced == ()
            with pytest.raises(RefusedError, match="no party"):
                client.absence("RS")
        with served.client("xk-dhtqnj") as client, pytest.raises(RefusedError, match="403 whole"):
            client.absence("AL")
        run("al-nac", "end")
        with served.client("xk-ombudsperson") as client:
            (one,) = client.absence("AL").announced
            assert one.ended_at == ledger.rows.tree().size
        out = files / "announced"
        run("me-nac", "announce", "AL", "--out", str(out))
        assert out.read_text().endswith("~\n")
