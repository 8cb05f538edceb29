"""Deadlines in days: by hours as always, or to the end of the debtor's local day."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from ledger.events.act import Act
from ledger.procedure.agreement import Agreement, ProtocolVersion
from ledger.procedure.case_fold import fold
from ledger.procedure.protocol import NewerTextError, Protocol, check_known
from ledger.procedure.protocol_changes import changes
from ledger.procedure.time_zones import zone_of
from projections.folds.expected_steps import ExpectedStep, expected_steps
from tests.support.agencies import adopted_protocol

SHIPPED = adopted_protocol()
TEXT = SHIPPED.model_dump(mode="json", exclude_none=True)
# 23:30 on 1 March in UTC is 00:30 on 2 March in Kosovo, and noon on 2 March in Tonga.
ASKED = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
TONGA = [
    {**party, "time_zone": "Pacific/Tongatapu"} if party["code"] == "ME" else party
    for party in TEXT["parties"]
]


def protocol(**changed: Any) -> Protocol:
    return Protocol.model_validate(TEXT | changed)


def act(version: int, kind: str, agency: str, at: datetime, **fields: Any) -> Act:
    return Act(
        id=uuid4(), kind=kind, case_id=UUID(int=1), version=version, position=10 * version,
        agency=agency, acted_at=at, recorded_at=at, fields=fields, key_id="k", digests=frozenset(),
    )  # fmt: skip


OPENED = act(1, "case_opened", "xk-csw-peja", ASKED, age_group="child", countries=["XK", "ME"])
REQUESTED = act(
    2, "information_requested", "xk-nac", ASKED, addressee="me-nac", topics=["identity"],
    purpose="identification", answer_by="2026-03-10",
)  # fmt: skip


def steps(agreement: Agreement) -> dict[str, ExpectedStep]:
    acts = (OPENED, REQUESTED)
    state = fold(acts, agreement)
    assert state is not None
    return {s.action: s for s in expected_steps(state, agreement, {a.id: a for a in acts})}


def test_without_local_days_a_deadline_is_by_hours_as_recorded() -> None:
    for text in (SHIPPED, protocol(parties=TONGA), protocol(local_days=False)):
        found = steps(Agreement.of(text))
        assert found["guardian_appointed"].due == ASKED + timedelta(days=1)
        asked = found["information_acknowledged"].due
        assert asked == datetime(2026, 3, 10, 23, 59, 59, tzinfo=UTC)


def test_a_deadline_ends_with_the_day_of_the_party_that_owes_the_step() -> None:
    found = steps(Agreement.of(protocol(local_days=True, parties=TONGA)))
    # The lead agency's country: one day after 2 March, its last second, in Kosovo's winter.
    assert found["guardian_appointed"].due == datetime(2026, 3, 3, 22, 59, 59, tzinfo=UTC)
    # 10 March ends in Tonga, thirteen hours before UTC.
    assert found["information_acknowledged"].due == datetime(2026, 3, 10, 10, 59, 59, tzinfo=UTC)


def test_a_day_of_a_changing_clock_ends_at_its_own_midnight() -> None:
    since = datetime(2026, 3, 28, 11, tzinfo=UTC)  # the clocks go forward in the night after
    opened = act(1, "case_opened", "xk-csw-peja", since, age_group="child", countries=["XK", "ME"])
    agreement = Agreement.of(protocol(local_days=True))
    state = fold([opened], agreement)
    assert state is not None
    found = {s.action: s for s in expected_steps(state, agreement, {opened.id: opened})}
    assert found["risk_assessed"].due == datetime(2026, 3, 29, 21, 59, 59, tzinfo=UTC)


def test_an_amendment_to_local_days_moves_no_deadline_of_before() -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    later = ProtocolVersion(protocol(local_days=True, version=2), 15, begin)
    agreement = Agreement((*Agreement.of(SHIPPED).versions, later))
    found = steps(agreement)
    assert found["guardian_appointed"].due == ASKED + timedelta(days=1)
    asked = found["information_acknowledged"].due
    assert asked == datetime(2026, 3, 10, 22, 59, 59, tzinfo=UTC), "asked for under local days"


def test_a_recorded_time_zone_that_this_machine_lacks_counts_as_utc(
    caplog: pytest.LogCaptureFixture,
) -> None:
    parties = [{**TEXT["parties"][0], "time_zone": "Europe/Olympus"}, *TEXT["parties"][1:]]
    recorded = protocol(parties=parties)
    check_known(TEXT | {"parties": parties})
    with caplog.at_level("WARNING"):
        assert zone_of(recorded, TEXT["parties"][0]["code"]) is UTC
    assert [one.args for one in caplog.records] == [("Europe/Olympus",)]
    with pytest.raises(ValueError, match="has no 'Europe/Olympus'"):
        recorded.check_complete()
    for name in ("localtime", "right/UTC", "posix/Europe/Rome", "Mars/Olympus", "Europe"):
        others = [{**TEXT["parties"][0], "time_zone": name}, *TEXT["parties"][1:]]
        with pytest.raises(ValueError, match="no time zone of a place"):
            protocol(parties=others).check_complete()
    later = [{**TEXT["parties"][0], "calendar": "lunar"}, *TEXT["parties"][1:]]
    with pytest.raises(NewerTextError, match="calendar"):
        check_known(TEXT | {"parties": later})
    with pytest.raises(ValueError, match="local_days needs edition 2"):
        protocol(local_days=True, edition=1).check_complete()


def test_each_new_part_of_a_protocol_is_a_change_that_is_said() -> None:
    labels = {"sq": {"role.police": "Rojat"}}
    parties = [{**TEXT["parties"][0], "time_zone": "Europe/Rome", "language": "en"}]
    after = protocol(
        local_days=True, languages=["sq"], labels=labels, parties=[*parties, *TEXT["parties"][1:]]
    )
    found = {one.id: dict(one.values) for one in changes(SHIPPED, after)}
    assert found == {
        "languages": {"before": "sq, cnr, en", "after": "sq"},
        "local_days": {},
        "time_zone": {"party": "XK", "before": "Europe/Belgrade", "after": "Europe/Rome"},
        "party_language": {"party": "XK", "before": "sq", "after": "en"},
        "label": {"language": "sq", "label": "role.police", "before": "-", "after": "Rojat"},
    }
    assert "local_days_no_more" in {one.id for one in changes(after, SHIPPED)}
