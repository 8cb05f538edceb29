"""A database that was put back to an older copy under a running node, and what tells."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest
from typer.testing import CliRunner

from api.cli.main import app
from api.client import LedgerClient, RefusedError
from api.client.schemas.health import Effect
from api.continuity.history_guard import (
    HistoryGuard,
    NothingToDecideError,
    accept,
    mark_file,
    troubles_of,
)
from api.continuity.key_faults import KeyFaults
from api.runtime.readiness import HEADER
from api.runtime.settings import Settings
from ledger.application import Ledger
from ledger.log.merkle import Frontier, Tree
from ledger.replication.history_mark import (
    HistoryMark,
    MarkError,
    MarkFile,
    Reached,
    TakenOver,
    WitnessWentBack,
    advanced,
    decided,
)
from ledger.store.database import Database
from ledger.vocabulary.picklists import RiskLevel
from ledger.vocabulary.protection import RiskAssessed
from tests.support.actions import START, opening
from tests.support.agencies import Agencies
from tests.support.databases import name_of, new_database, put_back
from tests.support.serving import Server, running
from tests.support.waiting import until

TOLD_SECONDS = 10.0
ASSESSED = RiskAssessed(acted_at=START, risk_level=RiskLevel.HIGH)


def tree(*leaves: int) -> Tree:
    hashes = [bytes([leaf]) * 32 for leaf in leaves]
    _, tiles = Frontier().extend(hashes)
    assert tiles == []
    return Tree(len(hashes), lambda level, start, count: hashes[start : start + count])  # noqa: ARG005


def ready(served: Server) -> tuple[int, str | None]:
    answer = httpx.get(f"{served.url}/ready")
    return answer.status_code, answer.json().get("rule")


def test_a_mark_moves_with_the_ledger_and_remembers_what_went_back() -> None:
    mark = advanced(None, tree(1, 2))
    assert mark.reached.size == 2
    mark = advanced(mark, tree(1, 2, 3))
    assert mark.reached == Reached.of(tree(1, 2, 3))
    assert not mark.needs_decision
    for other in (tree(1, 2), tree(1, 2, 4), tree(1, 2, 4, 5), tree()):
        back = advanced(mark, other)
        assert back.is_in_doubt
        assert back.reached == mark.reached
        assert advanced(back, tree(1, 2, 3, 4)) == back, "only a decision ends it"
        after, decision = decided(back, other, "the operator", "a disk broke")
        assert not after.is_in_doubt
        assert after.reached == decision.goes_on_from == Reached.of(other)
        assert (decision.reached, after.decisions) == (mark.reached, (decision,))


def test_a_process_that_saw_more_than_the_mark_says_tells_too() -> None:
    back = advanced(advanced(None, tree(1)), tree(1, 2), noted=3)
    assert back.went_back is not None
    assert (back.went_back.reached, back.went_back.had.size) == (3, 2)


def test_a_mark_is_durable_and_whole(tmp_path: Path) -> None:
    file = MarkFile(tmp_path / "keys" / "history-mark")
    assert file.read() is None
    file.change(lambda mark: advanced(mark, tree(1)))
    assert file.read() == advanced(None, tree(1))
    assert file.path.stat().st_mode & 0o777 == 0o600
    file.change(lambda _: None)
    assert file.read() is not None
    file.path.write_text("{")
    with pytest.raises(MarkError):
        file.read()


def test_a_witness_ahead_is_in_doubt_until_decided_and_again_when_it_is_further() -> None:
    ahead = HistoryMark(reached=Reached.of(tree(1)), witnesses_ahead={"ME": 4})
    assert ahead.is_in_doubt
    after, _ = decided(ahead, tree(1), "the operator", "the witness was given a forged head")
    assert not after.is_in_doubt
    assert after.changed(witnesses_ahead={"ME": 5}).is_in_doubt


def test_a_witness_that_claims_to_be_ahead_stops_no_recording(
    ledger: Ledger, tmp_path: Path
) -> None:
    history = HistoryGuard(ledger, MarkFile(tmp_path / "history-mark"), Settings())
    history.keep()
    history.witness_claims("ME", 10**6)
    (trouble,) = history.claims()
    assert (trouble.rule, trouble.effect) == ("witness-ahead", Effect.NOT_READY)
    assert not history.look()
    history.witness_follows("ME")
    assert not history.claims()


BACK = advanced(advanced(None, tree(1, 2)), tree(1))
TAKEN = HistoryMark(
    reached=Reached.of(tree(1)),
    taken_over=TakenOver(found_at=START, told_by="https://me.example", since=9, log_keys=()),
)
REJOIN, COMPLETE, ACCEPT = (f"case-ledger node {c}" for c in ("rejoin", "complete", "accept-hist"))


@pytest.mark.parametrize(
    ("mark", "settings", "commands", "words"),
    [
        (TAKEN, Settings(countries=("AL",)), [REJOIN], "the new ledger node in CASE_LEDGER_LEDGER"),
        (TAKEN, Settings(), [REJOIN], "country in CASE_LEDGER_COUNTRIES and the new"),
        (TAKEN, Settings(countries=()), [], "stop `case-ledger serve`, and keep the disk"),
        (BACK, Settings(countries=("AL",)), [COMPLETE, ACCEPT], "other nodes' copies"),
        (BACK, Settings(countries=()), [COMPLETE, ACCEPT], "operator for an export"),
        (
            BACK,
            Settings(countries=("AL",), ledger_url="https://l.example"),
            [ACCEPT],
            "completes itself from the ledger node",
        ),
    ],
)
def test_a_trouble_names_the_commands_that_this_kind_of_node_has(
    mark: HistoryMark, settings: Settings, commands: list[str], words: str
) -> None:
    (trouble,) = troubles_of(mark, settings)
    assert words in trouble.message
    named = [one for one in (REJOIN, COMPLETE, ACCEPT) if one in trouble.message]
    assert named == commands


def test_a_ledger_node_of_no_country_completes_from_exports_alone(tmp_path: Path) -> None:
    env = {"CASE_LEDGER_DATA_DIRECTORY": str(tmp_path), "CASE_LEDGER_COUNTRIES": "[]"}
    said = CliRunner(env=env).invoke(app, ["node", "complete", "https://xk.example"])
    assert (said.exit_code, "log export --signed" in said.output) == (1, True), said.output


def test_other_histories_and_witnesses_have_advice_of_their_own() -> None:
    other = advanced(advanced(None, tree(1, 2)), tree(1, 3))
    back = WitnessWentBack(found_at=START, cosigned=4, holds=2)
    mark = other.changed(witnesses_ahead={"ME": 4}, witnesses_back={"AL": back})
    messages = {one.rule: one.message for one in troubles_of(mark, Settings())}
    assert "compare" in messages["history-changed"]
    assert ACCEPT not in messages["history-changed"]
    assert COMPLETE in messages["witness-ahead"]
    assert COMPLETE not in messages["witness-went-back"]
    assert ACCEPT in messages["witness-went-back"]
    ahead = HistoryMark(reached=Reached.of(tree(1)), witnesses_ahead={"ME": 4})
    decided_on, _ = decided(ahead, tree(1), "the operator", "a forged head")
    (left,) = troubles_of(decided_on, Settings())
    assert (left.effect, ACCEPT in left.message) == (Effect.WARNING, False)
    assert "Ask the witness's country" in left.message


@pytest.fixture
def older(server: str, begun: str, agencies: Agencies, directory: Path) -> Iterator["Older"]:
    """A node that is stopped after a first case, and a copy of its database of then."""
    settings = Settings(data_directory=directory / "node", port=0)
    with ExitStack() as stack:
        conninfo = stack.enter_context(new_database(server, begun))
        with running(settings, conninfo, agencies) as served, served.client("xk-dhtqnj") as police:
            first = police.open_case(opening(indicators_note="kept"))
            until(
                lambda: httpx.get(f"{served.url}/ready").json()["published"] >= first.position,
                "published",
            )
        copy = name_of(stack.enter_context(new_database(server, name_of(conninfo))))
        yield Older(settings, conninfo, copy, first.case_id, first.position)


class Older:
    def __init__(
        self, settings: Settings, conninfo: str, copy: str, case_id: object, size: int
    ) -> None:
        self.settings, self.conninfo, self.copy = settings, conninfo, copy
        self.case_id, self.size = case_id, size

    def decide(self) -> None:
        file = mark_file(self.settings)
        with Database(self.conninfo) as database:
            from ledger.application import Ledger, environment

            with Ledger(environment(self.conninfo)) as ledger:
                accept(database, ledger.rows.tree, file, KeyFaults(), "the operator", "a test")


def test_an_older_database_under_a_running_node_is_named_and_decided_on(
    older: Older, server: str, agencies: Agencies
) -> None:
    with (
        running(older.settings, older.conninfo, agencies) as served,
        served.client("xk-dhtqnj", patience=0) as police,
    ):
        case_id = older.case_id
        lost = police.sign(ASSESSED, case_id)  # type: ignore[arg-type]
        other_case = uuid4()
        lost_opening = police.sign(opening(indicators_note="lost"), other_case)
        receipt = police.send(lost, case_id, 1)  # type: ignore[arg-type]
        police.send(lost_opening, other_case, 0)
        put_back(server, older.conninfo, older.copy)

        new_case = uuid4()
        for signed, case, version in (
            (lost, case_id, 1),
            (lost_opening, other_case, 0),
            (police.sign(ASSESSED, case_id), case_id, 2),  # type: ignore[arg-type]
            (police.sign(opening(), new_case), new_case, 0),
        ):
            assert refusal(police, signed, case, version) == (503, "history-changed")
        until(lambda: ready(served) == (503, "history-changed"), "told", seconds=TOLD_SECONDS)
        assert police.case(case_id).view.case_id == case_id  # type: ignore[arg-type]
        page = httpx.get(f"{served.url}/sign-in", headers={"Accept-Language": "en"})
        assert page.headers[HEADER] == "history-changed"
        assert "The ledger here is not the one that was recorded." in page.text
        assert refusal(police, lost, case_id, 1) == (503, "history-changed")

        older.decide()
        until(lambda: ready(served)[0] == 200, "decided", seconds=TOLD_SECONDS)
        again = police.send(lost, case_id, 1)  # type: ignore[arg-type]
        assert again.action_id == receipt.action_id
        police.send(lost_opening, other_case, 0)
        police.open_case(opening())
        with pytest.raises(NothingToDecideError):
            older.decide()
    with psycopg.connect(older.conninfo, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT decided_by, why, seen_size, from_size FROM log.history_decisions"
        ).fetchall()
        assert rows == [("the operator", "a test", older.size + 2, older.size)]
        connection.execute("SET ROLE case_ledger_app")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("UPDATE log.history_decisions SET why = 'another'")


def refusal(police: LedgerClient, signed: object, case_id: object, version: int) -> tuple[int, str]:
    """Return the refusal, once the database answers again."""

    def refused() -> tuple[int, str] | None:
        try:
            police.send(signed, case_id, version)  # type: ignore[arg-type]
        except RefusedError as error:
            told = error.problem
            if told.rule in ("store-unavailable", "assertion-before-crash"):
                return None
            return told.status, told.rule
        raise AssertionError("an older database took an action")

    return until(refused, seconds=TOLD_SECONDS)


def test_an_older_database_is_named_when_a_node_starts(
    older: Older, server: str, agencies: Agencies
) -> None:
    with (
        running(older.settings, older.conninfo, agencies) as served,
        served.client("xk-dhtqnj") as police,
    ):
        police.send(police.sign(ASSESSED, older.case_id), older.case_id, 1)  # type: ignore[arg-type]
    put_back(server, older.conninfo, older.copy)
    with (
        running(older.settings, older.conninfo, agencies) as served,
        served.client("xk-dhtqnj", patience=0) as police,
    ):
        assert ready(served) == (503, "history-changed")
        assert refusal(police, police.sign(ASSESSED, older.case_id), older.case_id, 1) == (  # type: ignore[arg-type]
            503,
            "history-changed",
        )
