"""The difference of two texts: complete, each change by its id, and said in every language."""

import re
import string
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.paper.languages.catalogue import messages
from api.paper.languages.found import language as found_language
from api.paper.languages.found import shipped
from api.paper.protocol_changes import sentence
from api.paper.subject_access.wording import wording
from ledger.procedure.amendments import text_of
from ledger.procedure.protocol import Protocol, shipped_protocol, with_assumptions_adopted
from ledger.procedure.protocol_changes import CHANGES, ProtocolChange, changes

BASE = shipped_protocol()
TEXT = text_of(BASE)


def changed(**parts: Any) -> Protocol:
    return Protocol.model_validate(TEXT | {"version": 2} | parts)


def of(**parts: Any) -> list[tuple[str, Mapping[str, str]]]:
    return [(one.id, one.values) for one in changes(BASE, changed(**parts))]


def rule(action: str, **parts: Any) -> dict[str, Any]:
    return {"actions": TEXT["actions"] | {action: TEXT["actions"][action] | parts}}


def test_the_same_text_changes_nothing() -> None:
    assert of() == []


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"title": "Another"}, ("title", {"before": BASE.title, "after": "Another"})),
        (rule("case_closed", roles=[]), ("may_act_no_more", {"role": "coordinator"})),
        (rule("case_closed", on_closed_case=True), ("on_closed_case", {"action": "case_closed"})),
        (
            {"roles": TEXT["roles"] | {"labour_inspector": "Labour inspector"}},
            ("role_added", {"role": "labour_inspector"}),
        ),
        (
            {"expected": [TEXT["expected"][1] | {"within_days": 4}, *TEXT["expected"][2:]]},
            ("deadline", {"days_before": "1", "days": "4"}),
        ),
        ({"expected": TEXT["expected"][1:]}, ("expected_no_more", {"action": "victim_identified"})),
        (
            {"access": TEXT["access"] | {"ngo": {"read": ["whereabouts"]}}},
            ("access_opened", {"role": "ngo", "operation": "read", "group": "whereabouts"}),
        ),
        ({"retention": []}, ("retention_no_more", {"days": str(BASE.retention[0].days)})),
        ({"confirmed_keys": []}, ("key_confirmation_no_more", {"role": "oversight"})),
        (
            {"quorum": {"witnesses": 3, "coordinators": 2, "notice_days": 20}},
            ("quorum", {"witnesses": "3", "notice_days": "20"}),
        ),
        ({"edition": 1}, ("edition", {"before": "2", "after": "1"})),
    ],
)
def test_a_change_has_its_id_and_values(
    parts: dict[str, Any], expected: tuple[str, Mapping[str, str]]
) -> None:
    name, values = expected
    found = [told for change, told in of(**parts) if change == name]
    assert any(values.items() <= told.items() for told in found), of(**parts)


@st.composite
def edits(draw: st.DrawFn) -> Protocol:
    """The base with one leaf or list item of one part changed; of order alone nothing changes."""
    text: Any = {}
    try:
        part = draw(st.sampled_from(sorted(TEXT.keys() - {"id", "version", "parties"})))
        text = _edited(draw, TEXT[part])
        return changed(**{part: text})
    except ValueError:
        return BASE


def _edited(draw: st.DrawFn, value: Any) -> Any:
    if isinstance(value, dict) and value:
        name = draw(st.sampled_from(sorted(value)))
        return value | {name: _edited(draw, value[name])}
    if isinstance(value, list) and value:
        place = draw(st.integers(0, len(value) - 1))
        if draw(st.booleans()):
            return value[:place] + value[place + 1 :]
        return [*value[:place], _edited(draw, value[place]), *value[place + 1 :]]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    return f"{value}x"


_PLACE = re.compile(r"\{[a-z_]+\}")


@settings(max_examples=60, deadline=None)
@given(edits())
def test_no_change_is_left_out(edited: Protocol) -> None:
    told = changes(BASE, edited)
    assert bool(told) is (text_of(edited) | {"version": 0} != TEXT | {"version": 0})
    for language in shipped():
        for one in told:
            # The text of the protocol itself has such places, in what an action establishes.
            said = sentence(one, wording(language))
            for place in {
                place for value in one.values.values() for place in _PLACE.findall(value)
            }:
                said = said.replace(place, "")
            assert "{" not in said


@pytest.mark.parametrize("language", shipped())
def test_every_change_is_said_with_its_values(language: str) -> None:
    said = messages(found_language(language))
    for change, values in CHANGES.items():
        text = said[f"change.{change}"]
        places = {name for _, name, _, _ in string.Formatter().parse(text) if name}
        assert places <= set(values), change
        # The machine names of the old value may be left out, what becomes of it never.
        assert places >= set(values) - {"before", "roles"}, change
    told = ProtocolChange("agency_added", dict.fromkeys(CHANGES["agency_added"], "ME"))
    assert "ME" in sentence(told, wording("en"))


def step(**parts: Any) -> dict[str, Any]:
    """A deadline that stands on a published source."""
    sourced = {"standing": "source", "source": "A published text"}
    return {**TEXT["expected"][1], **sourced, **parts}


def marks(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    old, new = changed(expected=before), changed(expected=after)
    ids = ("standing", "standing_kept", "source_lost", "source_no_more", "assumed_now")
    return [
        (one.id, one.values.get("before", ""), one.values.get("after", ""))
        for one in changes(old, new)
        if one.id in ids
    ]


def test_a_changed_value_is_shown_with_its_old_and_its_new_mark() -> None:
    assert marks([step()], [step(within_days=9)]) == [("standing_kept", "", "source")]
    weaker = step(within_days=9, standing="assumption")
    lost, shown = marks([step()], [weaker])
    assert lost == ("source_lost", "A published text", "")
    assert shown == ("standing", "source", "assumption")
    assert ("source_no_more", "A published text", "") in marks([step()], [])
    adopted = step(standing="adopted", source=None)
    assert ("source_no_more", "A published text", "") in marks([step()], [adopted])
    unmarked = {name: value for name, value in adopted.items() if value is not None}
    assert ("assumed_now", "adopted", "") in marks([unmarked], [weaker])


def test_a_weaker_mark_is_not_hidden_behind_another_part_of_the_same_name() -> None:
    until = TEXT["expected"][2]["until"]
    other = step(until=until, standing="assumption")
    before, after = [step(), other], [step(standing="assumption", within_days=30), other]
    assert ("standing", "source", "assumption") in marks(before, after)
    duties = [one | {"standing": "source", "source": "A text"} for one in TEXT["duties"][:1]] * 2
    duties[1] = duties[1] | {"groups": ["contact"]}
    weaker = [duties[0] | {"standing": "assumption"}, duties[1]]
    found = [one.id for one in changes(changed(duties=duties), changed(duties=weaker))]
    assert "source_lost" in found


@pytest.mark.parametrize("language", shipped())
def test_a_part_with_a_mark_is_named_in_words(language: str) -> None:
    words = wording(language, BASE)
    found = changes(BASE, with_assumptions_adopted(BASE))
    told = [sentence(one, words) for one in found if one.id == "standing"]
    assert len(told) > 30
    named = [one for one in told if words.text("part.conditions", what="") not in one]
    assert [one for one in named if "_" in one.replace("{state}", "")] == []
    lost = ProtocolChange(
        "source_lost", {"part": "expected risk_assessed (case_opened)", "before": "A text"}
    )
    assert words.kind("risk_assessed") in sentence(lost, words)
    assert words.kind("case_opened") in sentence(lost, words)
