"""The answers at the top of a case's page: what counts now, of what was recorded in turn."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

from pydantic import JsonValue

from api.web.case_answers import CaseAnswers, case_answers
from ledger.vault.held_fields import Held
from projections.folds.audit_trail import TrailEntry
from projections.folds.case_view import CaseView

NOW = datetime(2026, 3, 1, tzinfo=UTC)
TODAY = date(2026, 3, 1)


def entry(version: int, kind: str, party: str = "XK", **fields: JsonValue) -> TrailEntry:
    return TrailEntry.model_construct(
        version=version, position=version, action_id=uuid4(), kind=kind, party=party,
        agency=f"{party.lower()}-csw", acted_at=NOW, recorded_at=NOW, fields=fields, in_clear={},
    )  # fmt: skip


def answers(
    *trail: TrailEntry,
    facts: Mapping[str, TrailEntry] | None = None,
    consents: tuple[Any, ...] = (),
    services: tuple[Any, ...] = (),
    held: tuple[Held, ...] = (),
) -> CaseAnswers:
    view = SimpleNamespace(
        facts={name: SimpleNamespace(action=one.action_id) for name, one in (facts or {}).items()},
        consents=consents,
        services=services,
    )
    return case_answers(cast("CaseView", view), trail, held, TODAY)


def test_the_newest_assessment_counts_unless_it_is_annulled() -> None:
    low, high = entry(1, "risk_assessed", risk_level="low"), entry(2, "risk_assessed")
    annulled = entry(3, "correction", corrects=str(high.action_id), effect="annulled")
    found = answers(low, high).risk
    assert found is not None
    assert found.entry == high
    found = answers(low, high, annulled).risk
    assert found is not None
    assert found["risk_level"] == "low"
    assert answers().risk is None


def test_each_country_has_its_newest_guardian() -> None:
    first = entry(1, "guardian_appointed", guardian_kind="parent")
    later = entry(2, "guardian_appointed", guardian_kind="social_work_centre")
    there = entry(3, "guardian_appointed", "ME", guardian_kind="relative")
    assert [one.entry for one in answers(first, later, there).guardians] == [later, there]


def test_a_consent_has_the_scopes_that_hold_by_it_and_its_end() -> None:
    old = entry(1, "consent_given", expires="2026-02-28")
    new = entry(2, "consent_given", expires="2026-03-01")
    withdrawn = entry(3, "consent_given")
    facts = {"consent_assistance": old, "consent_return": new}
    found = answers(old, new, withdrawn, facts=facts).consents
    assert [(one.scopes, one.has_ended) for one in found] == [
        (("assistance",), True),
        (("return",), False),
    ]
    assert found[1].expires == TODAY, "the last day is still one of consent"


def test_a_consent_on_field_groups_names_them_and_the_countries() -> None:
    given = entry(1, "consent_given")
    view = SimpleNamespace(
        action=given.action_id, scopes=("sharing",), groups=("identity",), recipients=("ME",)
    )
    (found,) = answers(given, consents=(view,)).consents
    assert (found.scopes, found.groups, found.recipients) == (("sharing",), ("identity",), ("ME",))
    assert (found.expires, found.has_ended) == (None, False)


def test_the_provider_of_a_service_is_named_only_where_its_field_is_held() -> None:
    begun = entry(1, "service_started", service="legal")
    service = SimpleNamespace(action=begun.action_id)
    held = cast(
        "Held", SimpleNamespace(action_id=begun.action_id, field="provider", value="xk-ngo-support")
    )
    assert answers(begun, services=(service,)).providers == {}
    named = answers(begun, services=(service,), held=(held,)).providers
    assert named == {UUID(str(begun.action_id)): "xk-ngo-support"}
