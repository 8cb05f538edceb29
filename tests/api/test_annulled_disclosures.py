"""What was recorded in the wrong case is read nowhere in that case any more."""

from collections.abc import Iterator
from uuid import UUID

import pytest

from api.runtime.schema import migrate_all
from ledger.application import Ledger, environment
from ledger.vocabulary.coordination import Correction
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import ServiceKind
from ledger.vocabulary.protection import ServiceStarted
from tests.api.test_personal_data import Child, later
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.databases import new_database
from tests.support.seeking import routes_with
from tests.support.serving import Server, serving
from tests.support.sharing import register_country_keys
from tests.support.waiting import until

POLICE, SOCIAL_WORK = "xk-dhtqnj", "xk-csw-prishtina"
COUNTERPART = "me-csw-podgorica"
NOTE, HEALTH = "zqnoteofanotherchild", "zqhealthofanotherchild"


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


def wrong_note(hours: float = 3) -> ServiceStarted:
    return ServiceStarted(
        acted_at=later(hours),
        service=ServiceKind.MEDICAL,
        provider=SOCIAL_WORK,
        description=NOTE,
        health_note=HEALTH,
    )


def annulment(action: UUID, hours: float = 9) -> Correction:
    return Correction(
        acted_at=later(hours), corrects=action, effect="annulled", reason="wrong_case"
    )


def with_wrong_note(server: Server) -> tuple[Child, UUID]:
    """Return a case with another child's note, which Montenegro received too."""
    child = Child(server)
    child.act(POLICE, opening(("XK", "ME"), first_name="zqright", indicators_note="zqrightnote"))
    note = child.act(SOCIAL_WORK, wrong_note())
    consent = child.consent(FieldGroup.HEALTH)
    (field,) = child.read(SOCIAL_WORK, FieldGroup.HEALTH).fields
    child.act(SOCIAL_WORK, child.release(field, basis_action=consent))
    until(lambda: child.read(COUNTERPART, FieldGroup.HEALTH).fields)
    until(lambda: NOTE in str(child.case_values(COUNTERPART)))
    return child, note


def found(child: Child, *marks: str) -> dict[str, frozenset[str]]:
    """Return the routes at which each agency finds a mark, where any does."""
    return {
        f"{mark} by {agency}": routes
        for agency in (SOCIAL_WORK, COUNTERPART)
        for mark, routes in routes_with(child.server, agency, child.id, *marks).items()
        if routes
    }


def test_an_annulled_note_is_found_by_no_route_in_either_country(shared: Server) -> None:
    child, note = with_wrong_note(shared)
    before = found(child, NOTE, HEALTH)
    assert len(before) == 4
    assert {"GET /v1/cases/{case_id}", "GET /cases/{case_id}", "POST subject-access pdf"} <= (
        before[f"{NOTE} by {SOCIAL_WORK}"]
    )
    assert {"POST readings", "POST subject-access json", "POST /cases/{case_id}/personal"} <= (
        before[f"{HEALTH} by {COUNTERPART}"]
    )
    child.act(SOCIAL_WORK, annulment(note))
    child.case_values(COUNTERPART)
    after = found(child, NOTE, HEALTH, "zqrightnote")
    # What belongs to the child is read as before.
    assert set(after) == {f"zqrightnote by {agency}" for agency in (SOCIAL_WORK, COUNTERPART)}
    assert child.read(SOCIAL_WORK, FieldGroup.HEALTH).damaged == ()


def test_an_annulled_note_cannot_be_released(shared: Server) -> None:
    child = Child(shared)
    child.act(POLICE, opening(("XK", "ME")))
    note = child.act(SOCIAL_WORK, wrong_note())
    consent = child.consent(FieldGroup.HEALTH)
    (field,) = child.read(SOCIAL_WORK, FieldGroup.HEALTH).fields
    release = child.release(field, basis_action=consent)
    child.act(SOCIAL_WORK, annulment(note))
    assert child.refuse(SOCIAL_WORK, release) == "unknown-action"
