"""A person's record is put right: in readings, releases, pages, the person's file and exports."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from api.client import RefusedError
from api.client.schemas import PersonalField
from api.paper.subject_access.document import LabelledFile
from api.runtime.schema import migrate_all
from ledger.application import Ledger, environment
from ledger.vocabulary.coordination import Correction
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.person import AgeAssessed, IdentityRecorded, RectificationRequested
from ledger.vocabulary.picklists import AgeGroup, DateDoubt, RiskLevel
from ledger.vocabulary.protection import RiskAssessed
from tests.api.test_personal_data import Child, later
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.databases import new_database
from tests.support.serving import Server, serving
from tests.support.sharing import register_country_keys
from tests.support.waiting import until
from tests.support.web import FROM_HERE, signed_in

POLICE, SOCIAL_WORK = "xk-dhtqnj", "xk-csw-prishtina"
WRONG, RIGHT, BORN = "zqArlnda", "zqArlinda", date(2011, 3, 7)


@pytest.fixture(scope="module")
def shared(server: str) -> Iterator[Server]:
    agencies = Agencies()
    with new_database(server) as conninfo:
        migrate_all(conninfo, agencies.protocol)
        with Ledger(environment(conninfo)) as ledger:
            agencies.begin(ledger)
        with serving(conninfo, agencies) as running:
            register_country_keys(running)
            yield running


@pytest.fixture
def nameless(shared: Server) -> Child:
    child = Child(shared)
    child.act(POLICE, opening(("XK", "ME")))
    return child


def identity(hours: float, **more: Any) -> IdentityRecorded:
    fields = {"ground": "learned", "source": "own_statement", "certainty": "probable", **more}
    return IdentityRecorded(acted_at=later(hours), **fields)


def fields(child: Child, agency: str = POLICE) -> list[PersonalField]:
    return list(child.read(agency, FieldGroup.IDENTITY).fields)


def counting(child: Child, agency: str = POLICE) -> dict[str, Any]:
    return {f.field: f.value for f in fields(child, agency) if f.superseded_by is None}


def page(child: Child, agency: str = POLICE) -> str:
    with signed_in(child.server, agency) as browser:
        asked = {"groups": "identity", "purpose": "protection"}
        answer = browser.post(f"/cases/{child.id}/personal", data=asked, headers=FROM_HERE)
    assert answer.status_code == 200, answer.text
    return answer.text


def test_from_nameless_to_named_and_put_right(nameless: Child) -> None:
    assert fields(nameless) == []
    named = nameless.act(POLICE, identity(50, first_name=WRONG, birthdate=BORN))
    assert counting(nameless) == {"first_name": WRONG, "birthdate": BORN.isoformat()}
    right = nameless.act(SOCIAL_WORK, identity(60, first_name=RIGHT, source="document"))
    assert counting(nameless) == {"first_name": RIGHT, "birthdate": BORN.isoformat()}
    told = {(f.action_id, f.field): f.superseded_by for f in fields(nameless)}
    assert told == {
        (named, "first_name"): right, (named, "birthdate"): None, (right, "first_name"): None,
    }  # fmt: skip
    shown = page(nameless)
    assert f"<s>{WRONG}</s>" in shown
    assert f">{RIGHT}<details>" in shown
    with nameless.server.client(SOCIAL_WORK) as client:
        file = LabelledFile.model_validate_json(client.subject_access(nameless.id, "en")).file
        held = {(h.value, h.superseded_by) for h in file.held if h.field == "first_name"}
        assert held == {(WRONG, right), (RIGHT, None)}
        assert client.subject_access(nameless.id, "sq", pdf=True).startswith(b"%PDF")
    # A mistaken statement is annulled: the one before it counts again.
    nameless.act(
        SOCIAL_WORK,
        Correction(acted_at=later(70), corrects=right, effect="annulled", reason="entry_error"),
    )
    assert counting(nameless)["first_name"] == WRONG
    nameless.act(POLICE, identity(80, retracted=("first_name",)))
    assert "first_name" not in counting(nameless)


def test_what_is_released_is_what_counts(nameless: Child) -> None:
    nameless.act(POLICE, identity(1, first_name=WRONG))
    consent = nameless.consent(FieldGroup.IDENTITY)
    (wrong,) = fields(nameless)
    nameless.act(POLICE, nameless.release(wrong, basis_action=consent))
    until(lambda: counting(nameless, "me-police-thb") == {"first_name": WRONG})
    nameless.act(POLICE, identity(60, first_name=RIGHT))
    assert "Montenegro has an earlier statement of this field: First name" in page(nameless)
    assert "Kosovo stated the identity anew" in page(nameless, "me-police-thb")
    earlier, newest = sorted(fields(nameless), key=lambda f: f.superseded_by is None)
    assert nameless.refuse(POLICE, nameless.release(earlier, basis_action=consent)) == (
        "earlier-statement"
    )
    nameless.act(POLICE, nameless.release(earlier, newest, basis_action=consent))
    until(lambda: counting(nameless, "me-police-thb") == {"first_name": RIGHT})
    assert "has an earlier statement" not in page(nameless)


def test_no_act_is_before_the_birth(nameless: Child) -> None:
    """Whichever of the two is recorded first."""
    unborn = identity(1, birthdate=(later(0) + timedelta(days=9)).date())
    assert nameless.refuse(POLICE, unborn) == "birth-in-future"
    afterwards = unborn.model_copy(update={"acted_at": later(24 * 20)})
    assert nameless.refuse(POLICE, afterwards) == "act-before-birth"
    nameless.act(POLICE, identity(1, birthdate=BORN))
    risk = RiskAssessed(acted_at=datetime(2011, 3, 1, tzinfo=UTC), risk_level=RiskLevel.LOW)
    assert nameless.refuse(SOCIAL_WORK, risk) == "requires-case_opened"


def test_a_contradiction_is_refused_until_it_is_confirmed(nameless: Child) -> None:
    adult = identity(1, birthdate=date(1980, 1, 1))
    assert nameless.refuse(POLICE, adult) == "unconfirmed-adult-by-birthdate"
    confirmed = adult.model_copy(update={"confirmed": (DateDoubt.ADULT_BY_BIRTHDATE,)})
    nameless.act(POLICE, confirmed)
    assert "By the birth date that counts the person is an adult" in page(nameless)
    assessed = AgeAssessed(
        acted_at=later(2), age_group=AgeGroup.ADULT, method="document", certainty="confirmed"
    )
    nameless.act(POLICE, assessed)
    assert "By the birth date that counts" not in page(nameless)


def test_the_case_shows_requests_and_the_coming_of_age(nameless: Child) -> None:
    nameless.act(SOCIAL_WORK, RectificationRequested(acted_at=later(1), wish="zqWish"))
    nameless.act(POLICE, identity(2, birthdate=date(2010, 2, 1), of_age_from=date(2028, 1, 1)))
    with signed_in(nameless.server, POLICE) as browser:
        shown = browser.get(f"/cases/{nameless.id}?at_least={nameless.position}").text
        form = browser.get(f"/cases/{nameless.id}/act/identity_recorded").text
    assert "Rectification requested" in shown
    assert "1st quarter 2028" in shown
    assert "zqWish" not in shown
    request = nameless.ids["rectification_requested"]
    assert f'<option value="{request}">' in form


def test_what_was_recorded_stays_recorded_when_it_is_sent_again(nameless: Child) -> None:
    """The same bytes again get their receipt, though the case is another one by now."""
    with nameless.server.client(POLICE) as client:
        named = identity(1, birthdate=BORN)
        signed = client.sign(named, nameless.id)
        first = client.send(signed, nameless.id, nameless.version)
        nameless.version = first.case_version
        nameless.act(
            POLICE,
            AgeAssessed(
                acted_at=later(2),
                age_group=AgeGroup.ADULT,
                method="document",
                certainty="uncertain",
            ),
        )
        assert client.send(signed, nameless.id, 1) == first


def test_no_message_repeats_a_date(nameless: Child) -> None:
    with nameless.server.client(POLICE) as client, pytest.raises(RefusedError) as refused:
        client.append(identity(1, birthdate=date(1871, 5, 6)), nameless.id, nameless.version)
    problem = json.dumps(refused.value.problem.model_dump(mode="json"))
    assert "1871" not in problem
