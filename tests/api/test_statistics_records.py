"""An analyst of a country gets pseudonymised records of its persons, and nobody else gets any."""

import importlib
import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from pyarrow import parquet  # type: ignore[import-untyped]
from pydantic import ValidationError
from typer.testing import CliRunner

from api.cli import app
from api.client.errors import RefusedError
from api.runtime.schema import migrate_all
from ledger.application import Ledger, environment
from ledger.procedure.amendments import text_of
from ledger.procedure.protocol import DatePeriod, Operation, Protocol, StatisticsTerms
from ledger.procedure.readings import OwnPurpose
from ledger.signing import keys
from ledger.vault.access_log import NO_CASE, EntryFilter
from ledger.vocabulary.coordination import Correction
from ledger.vocabulary.person import IdentityRecorded
from ledger.vocabulary.picklists import (
    AgeGroup,
    CaseStatus,
    Certainty,
    CorrectionEffect,
    CorrectionReason,
    Gender,
    Offence,
    Stage,
    StatementGround,
    StatementSource,
    TraffickingStatus,
    TypeOfExploitation,
)
from projections.statistics.person_records import (
    PSEUDONYM,
    PersonFacts,
    PersonRecords,
    make_records,
)
from projections.statistics.record_files import MANIFEST, RecordsError, read_records
from tests.support.actions import opening
from tests.support.agencies import Agencies, adopted_protocol
from tests.support.databases import new_database
from tests.support.serving import Server, serving

SECRET = "zq0123456789abcdef"
CASES = 12
FILED = datetime(2026, 2, 3, 8, tzinfo=UTC)


def with_analysts(*, statistics: bool = True) -> Protocol:
    """Return a protocol with an analyst in Kosovo and one in Montenegro."""
    text = text_of(adopted_protocol())
    text["roles"]["analyst"] = "Analyst"
    text["analysts"] = ["analyst"]
    text["access"]["analyst"] = {"statistics": ["identity"]}
    text["agencies"] = [
        *text["agencies"],
        *(
            {"id": f"{party.lower()}-stat", "name": "Office", "party": party, "role": "analyst"}
            for party in ("XK", "ME", "AL")
        ),
    ]
    if statistics:
        text["statistics"] = {"dates": "month", "smallest_category": 5}
    return Protocol.model_validate(text)


def served_with(server: str, migrated: str, protocol: Protocol) -> Iterator[Server]:
    agencies = Agencies(protocol)
    with new_database(server, migrated) as conninfo:
        migrate_all(conninfo, protocol)
        with Ledger(environment(conninfo)) as ledger:
            agencies.begin(ledger)
        with serving(conninfo, agencies) as made:
            yield made


@pytest.fixture(scope="module")
def node(server: str, migrated: str) -> Iterator[Server]:
    for made in served_with(server, migrated, with_analysts()):
        police = made.client("xk-dhtqnj")
        for number in range(CASES):
            police.append(
                opening(
                    ("XK", "ME"),
                    acted_at=FILED,
                    first_name=SECRET,
                    indicators_note=SECRET,
                    gender=Gender.FEMININE if number else Gender.MASCULINE,
                    citizenship=("XK",),
                ),
                uuid4(),
                0,
            )
        yield made


@pytest.fixture(autouse=True)
def months_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the month in which the cases are recorded have ended, for the records alone."""
    place = importlib.import_module("api.services.statistics_records")
    real = place.make_records

    def later(*given: Any, now: datetime, **more: Any) -> PersonRecords:
        return real(*given, now=now + timedelta(days=40), **more)

    monkeypatch.setattr(place, "make_records", later)


def logged(node: Server, party: str = "XK", **only: Any) -> list[Any]:
    vault = node.node.vaults.of(party)
    asked = EntryFilter(operation=Operation.STATISTICS, **only)
    return list(vault.readings.filtered(asked, before=10**9, limit=1000).readings)


def test_an_analyst_exports_and_publishes_and_each_case_is_written_down(
    node: Server, tmp_path: Path
) -> None:
    key, place = tmp_path / "key.json", tmp_path / "records"
    keys.save(node.agencies.keys["xk-stat"], key)
    env = {"CASE_LEDGER_DATA_DIRECTORY": str(tmp_path / "data"), "CASE_LEDGER_URL": node.url}
    before = len(logged(node))
    words = ["statistics", "export", str(place), "--agency", "xk-stat", "--key", str(key)]
    done = CliRunner().invoke(app, words, env=env)
    assert done.exit_code == 0, done.output
    entries = logged(node)
    assert len(entries) - before == CASES + 1
    assert {one.asked.purpose for one in entries} == {OwnPurpose.STATISTICS}
    opened = {one.asked.case_id for one in entries} - {NO_CASE}
    assert len(opened) == CASES
    assert all(one.bases for one in entries if one.asked.case_id != NO_CASE)
    file, about = read_records(place)
    rows = parquet.read_table(file).to_pylist()
    assert len(rows) == about.rows == CASES
    # One man alone is a small category, and what is left of it would be one too.
    assert Counter(row["gender"] for row in rows) == {"other": CASES}
    assert {row["citizenship"] for row in rows} == {"XK"}
    assert {row["trafficking_status"] for row in rows} == {"not_assessed"}
    content = file.read_bytes() + (place / MANIFEST).read_bytes() + json.dumps(rows).encode()
    assert SECRET.encode() not in content
    assert not any(str(one).encode() in content or one.hex.encode() in content for one in opened)
    assert (file.stat().st_mode & 0o777, place.stat().st_mode & 0o777) == (0o600, 0o700)
    again = CliRunner().invoke(app, words, env=env)
    assert again.exit_code != 0
    assert "new directory" in " ".join(again.output.split())

    told = ["statistics", "publish", "--records", str(place), "--out", str(tmp_path / "out")]
    told += ["--record", str(tmp_path / "series.json"), "--by", "gender", "--by", "majorityStatus"]
    published = CliRunner().invoke(app, told, env=env)
    assert published.exit_code == 0, published.output
    (place / "persons.parquet").write_bytes(file.read_bytes() + b"x")
    with pytest.raises(RecordsError, match="not the file"):
        read_records(place)


def test_pseudonyms_of_two_releases_have_nothing_in_common(node: Server) -> None:
    client = node.client("xk-stat")
    first, second = client.statistics_records(), client.statistics_records()
    named = [{row[PSEUDONYM] for row in one.rows} for one in (first, second)]
    assert [len(one) for one in named] == [CASES, CASES]
    assert not named[0] & named[1]
    for one in (first, second):
        assert [row[PSEUDONYM] for row in one.rows] == sorted(row[PSEUDONYM] for row in one.rows)
        for row in one.rows:
            for name, value in row.items():
                known = (*one.categories.get(name, ()), "other", "-99")
                assert name == PSEUDONYM or value in known


def test_nobody_else_gets_records(node: Server) -> None:
    # The neighbour's analyst gets what its own country opened: nothing, though it has part in each.
    assert node.client("me-stat").statistics_records().rows == ()
    assert not [one for one in logged(node, "ME") if one.asked.case_id != NO_CASE]
    before = len(logged(node))
    for agency in ("xk-nac", "xk-dhtqnj", "xk-ombudsperson"):
        with pytest.raises(RefusedError) as refused:
            node.client(agency).statistics_records()
        assert refused.value.problem.rule == "analysts-only"
    assert len(logged(node)) == before
    analyst = node.client("xk-stat")
    case_id = next(one.asked.case_id for one in logged(node) if one.asked.case_id != NO_CASE)
    for look in (analyst.case, analyst.readings):
        with pytest.raises(RefusedError):
            look(case_id)
    with pytest.raises(RefusedError) as other:
        analyst._request(
            "POST",
            "/v1/statistics/records",
            content='{"purpose": "identification"}',
            headers={"Content-Type": "application/json"},
        )
    assert other.value.problem.status == 422


def test_what_was_erased_or_annulled_is_in_no_record(
    node: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    police, analyst = node.client("al-police-thb"), node.client("al-stat")
    given: list[PersonFacts] = []
    place = importlib.import_module("api.services.statistics_records")
    real = place.make_records

    def noting(facts: list[PersonFacts], **more: Any) -> PersonRecords:
        given[:] = facts
        return real(facts, **more)

    monkeypatch.setattr(place, "make_records", noting)
    cases = [uuid4() for _ in range(4)]
    receipts = [
        police.append(
            opening(("AL",), acted_at=FILED, gender=Gender.FEMININE, citizenship=("AL",)), case, 0
        )
        for case in cases
    ]
    restated = IdentityRecorded(
        acted_at=FILED + timedelta(hours=1),
        ground=StatementGround.LEARNED,
        source=StatementSource.DOCUMENT,
        certainty=Certainty.CONFIRMED,
        gender=Gender.MASCULINE,
    )
    again = police.append(restated, cases[1], 1)
    police.append(restated, cases[3], 1)
    for case, action, version in (
        (cases[0], receipts[0].action_id, 1),
        (cases[1], again.action_id, 2),
    ):
        wrong = Correction(
            acted_at=FILED + timedelta(hours=2),
            corrects=action,
            effect=CorrectionEffect.ANNULLED,
            reason=CorrectionReason.WRONG_CASE,
        )
        police.append(wrong, case, version)
    node.node.vaults.of("AL").erase(cases[2])
    analyst.statistics_records()
    told = {one.case_id: one.gender for one in given if one.case_id in cases}
    assert told == {cases[1]: Gender.FEMININE, cases[3]: Gender.MASCULINE}


def test_without_the_basis_it_is_refused_and_written_down(server: str, migrated: str) -> None:
    for made in served_with(server, migrated, with_analysts(statistics=False)):
        with pytest.raises(RefusedError) as refused:
            made.client("xk-stat").statistics_records()
        assert refused.value.problem.rule == "no-legal-basis"
        assert [one.refused_by for one in logged(made)] == ["no-legal-basis"]


def test_a_text_gives_statistics_to_analysts_alone() -> None:
    text = text_of(with_analysts())
    for access, why in (
        ({"police": {"statistics": ["identity"]}}, "no analyst"),
        ({"analyst": {"read": ["identity"]}}, "figures alone"),
    ):
        with pytest.raises(ValidationError, match=why):
            Protocol.model_validate({**text, "access": {**text["access"], **access}})
    with pytest.raises(ValidationError, match="no analysts"):
        Protocol.model_validate(
            {**text_of(adopted_protocol()), "statistics": StatisticsTerms().model_dump(mode="json")}
        )


def fact(opened: datetime, **more: Any) -> PersonFacts:
    return PersonFacts(
        **{
            "case_id": UUID(int=len(more) + 1),
            "opened": opened,
            "age_group": AgeGroup.CHILD,
            "stage": Stage.IDENTIFICATION,
            "status": CaseStatus.ACTIVE,
            "trafficking_status": None,
            "closure": None,
            "destination": None,
            **more,
        }
    )


def made(facts: list[PersonFacts], now: datetime) -> PersonRecords:
    return make_records(
        facts,
        country="XK",
        parties=("XK", "ME"),
        citizenships=("RS",),
        dates=DatePeriod.QUARTER,
        smallest_category=5,
        now=now,
        about=("p", 1, 1),
    )


def test_small_categories_and_the_present_quarter_are_not_told() -> None:
    then, now = datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC)
    assessed = {"trafficking_status": TraffickingStatus.POSSIBLE}
    forms = [(TypeOfExploitation.FORCED_BEGGING,)] * 20 + [(TypeOfExploitation.ORGAN_REMOVAL,)] * 2
    forms += [(TypeOfExploitation.FORCED_MARRIAGE,)] * 7
    facts = [
        fact(
            then,
            case_id=uuid4(),
            exploitation=form,
            citizenships=(["XK"] * 20 + ["RS"] * 6 + ["JP", "FR", "US"])[n : n + 1],
            offences=(Offence.FORCED_MARRIAGE,) if n < 6 else (),
            **(assessed if n < 9 else {}),
        )
        for n, form in enumerate(forms)
    ]
    told = made([*facts, fact(now - timedelta(days=3), case_id=uuid4())], now)
    assert len(told.rows) == len(facts)
    assert {row["opened"] for row in told.rows} == {"2026-Q1"}
    for name, expected in (
        ("citizenship", {"XK": 20, "other": 9}),
        ("exploitation", {"ForcedBegging": 20, "other": 9}),
        ("offence", {"none": 23, "forced_marriage": 6}),
        ("trafficking_status", {"not_assessed": 20, TraffickingStatus.POSSIBLE.value: 9}),
        ("isForcedLabour", {"1": 20, "0": 9}),
        ("isOrganRemoval", {"0": 29}),
    ):
        assert Counter(row[name] for row in told.rows) == expected, name
    for row in told.rows:
        assert all(len(value) <= 40 for value in row.values())
    for name in told.categories:
        if name in ("opened", "yearOfRegistration", "age_group", "stage", "status"):
            continue
        assert min(Counter(row[name] for row in told.rows).values()) >= 5, name
    # One who came in the same quarter changes nothing; all who came in it come at once.
    assert len(made([*facts, fact(now)], now).rows) == len(facts)
