"""Forms made of the models: every field of every action, at its level, with a control that fits."""

import pytest

from api.paper.subject_access.value_shapes import Plain, shape
from api.paper.subject_access.wording import wording
from api.web.date_entry import LATEST
from api.web.forms import (
    NOT_BY_FORM,
    Control,
    FormField,
    Sent,
    form,
    language_options,
    usual_values,
)
from ledger.procedure.available_actions import Offer
from ledger.procedure.case_fold import joining_field
from ledger.procedure.protocol import shipped_protocol
from ledger.vocabulary import CASE_ACTIONS
from ledger.vocabulary.documents import DOCUMENT_FIELDS
from ledger.vocabulary.levels import Level

PROTOCOL = shipped_protocol()
NAMED = {agency.id: agency.name for agency in PROTOCOL.agencies}


def fields(kind: str, offer: Offer | None = None) -> dict[str, FormField]:
    made = form(kind, offer or Offer(kind), NAMED, PROTOCOL, wording("en"))
    return {f.name: f for _, own in made.levels for f in own}


@pytest.mark.parametrize("kind", sorted(CASE_ACTIONS.keys() - NOT_BY_FORM))
def test_every_field_has_its_place(kind: str) -> None:
    model, made = CASE_ACTIONS[kind], fields(kind)
    # A document is uploaded: it has no control of its own.
    assert made.keys() == model.model_fields.keys() - {*DOCUMENT_FIELDS}
    for name, field in made.items():
        assert field.level is model.level(name).level
        assert field.group == model.level(name).group
        assert field.required is model.model_fields[name].is_required()
        if (
            field.control in (Control.ONE, Control.SEVERAL)
            and shape(kind, name) is not Plain.ACTION
        ):
            assert field.options, name  # the actions of a case are known in the case alone
    digests = form(kind, Offer(kind), NAMED, PROTOCOL, wording("en")).digests
    assert digests == len(model.disclosable_fields())


def test_controls_fit_their_values() -> None:
    opening = fields("case_opened")
    assert opening["acted_at"].control is Control.MOMENT
    assert opening["birthdate"].control is Control.DATE
    assert (opening["first_name"].control, opening["first_name"].max_length) == (Control.TEXT, 200)
    assert opening["address"].control is Control.LONG
    children = opening["number_of_children"]
    assert (children.control, children.sent) == (Control.NUMBER, Sent.NUMBER)
    assert (children.minimum, children.maximum) == (0, 30)
    assert (opening["phone"].control, opening["phone"].sent) == (Control.TELEPHONE, Sent.DIGITS)
    manager = fields("case_manager_named")["telephone_24h"]
    assert (manager.control, manager.sent) == (Control.TELEPHONE, Sent.STRING)
    assert (opening["birthdate"].last, fields("consent_given")["expires"].last) == (
        "today", LATEST.isoformat(),
    )  # fmt: skip
    assert opening["indicators"].sent is Sent.LIST
    assert [code for code, _ in opening["countries"].options] == ["XK", "ME", "AL"]
    assert len(opening["citizenship"].options) > 200
    assert fields("received")["in_person"].sent is Sent.FLAG
    assert fields("compensation_recorded")["amount_eur"].sent is Sent.STRING


def test_a_status_has_only_the_values_of_its_action() -> None:
    status = fields("victim_identified")["status"]
    assert len(status.options) == 2
    assert "NotAVictimOfTrafficking" not in [code for code, _ in status.options]


def test_only_what_is_offered_can_be_chosen() -> None:
    offer = Offer(
        "information_requested", None, {"addressee": ("me-nac",), "groups": ("identity",)}
    )
    made = fields("information_requested", offer)
    assert [code for code, _ in made["addressee"].options] == ["me-nac"]
    assert [code for code, _ in made["groups"].options] == ["identity"]


def test_levels_are_in_the_order_of_who_sees_them() -> None:
    made = form("sheltered", Offer("sheltered"), NAMED, PROTOCOL, wording("sq"))
    assert [level for level, _ in made.levels] == [Level.LEDGER, Level.CASE, Level.PERSONAL]


@pytest.mark.parametrize(
    ("kind", "name", "joining"),
    [
        ("form_sent", "addressee", {"al-nac": "Albania"}),
        ("information_requested", "addressee", {"al-nac": "Albania"}),
        ("return_requested", "destination", {"AL": "Albania"}),
        ("case_opened", "countries", {"AL": "Albania"}),
    ],
)
def test_a_form_tells_which_country_a_value_brings_into_the_case(
    kind: str, name: str, joining: dict[str, str]
) -> None:
    agencies = {name: ("me-nac", "al-nac")} if name == "addressee" else {}
    made = form(kind, Offer(kind, None, agencies), NAMED, PROTOCOL, wording("en"), ("XK", "ME"))
    told = {f.name: f.joining for _, own in made.levels for f in own if f.joining}
    assert told == {name: joining}


def test_each_field_that_brings_a_country_in_is_a_choice_of_its_form() -> None:
    for kind in CASE_ACTIONS:
        name = joining_field(kind)
        if name is not None:
            model = CASE_ACTIONS[kind]
            assert model.model_fields[name].is_required(), kind
            assert model.level(name).level is Level.LEDGER, kind


def test_a_form_lists_the_languages_of_the_pages_before_the_180_others() -> None:
    options = language_options(wording("en"))
    assert [code for code, _ in options[:3]] == ["sqi", "eng", "cnr"]
    assert [name for _, name in options[3:6]] == ["Abkhazian", "Afar", "Afrikaans"]
    assert len(options) == len(set(options)) > 180


def test_a_shelter_is_chosen_among_shelters_those_of_the_own_country_first() -> None:
    made = form("sheltered", Offer("sheltered"), NAMED, PROTOCOL, wording("en"), own="ME")
    (provider,) = (f for _, own in made.levels for f in own if f.name == "provider")
    roles = {PROTOCOL.agencies_by_id[code].role for code, _ in provider.options}
    assert roles == {"shelter"}
    assert [country for country, _ in provider.grouped] == ["Montenegro", "Kosovo", "Albania"]
    assert sum(len(some) for _, some in provider.grouped) == len(provider.options)


def test_a_form_begins_with_the_own_country_and_the_own_agency() -> None:
    police, shelter = (PROTOCOL.agencies_by_id[one] for one in ("xk-dhtqnj", "me-shelter"))
    made = {
        kind: form(kind, Offer(kind), NAMED, PROTOCOL, wording("en"))
        for kind in ("case_opened", "meeting_held", "sheltered", "information_requested")
    }
    assert usual_values(made["case_opened"], police) == {"countries": ("XK",)}
    assert usual_values(made["meeting_held"], police) == {
        "countries": ("XK",), "agencies": ("xk-dhtqnj",),
    }  # fmt: skip
    assert usual_values(made["sheltered"], police) == {}
    assert usual_values(made["sheltered"], shelter) == {"provider": ("me-shelter",)}
    assert usual_values(made["information_requested"], police) == {}


def test_a_long_form_is_in_steps_that_have_every_field_once() -> None:
    made = form("victim_identified", Offer("victim_identified"), NAMED, PROTOCOL, wording("en"))
    assert made.is_in_steps
    named = [one.name for step in made.sections for one in step.fields]
    assert sorted(named) == sorted(f.name for _, own in made.levels for f in own)
    for step in made.sections:
        assert len(step.fields) == 1 or sum(one.weight for one in step.fields) <= 20
    assert not form(
        "risk_assessed", Offer("risk_assessed"), NAMED, PROTOCOL, wording("en")
    ).is_in_steps


def test_indicators_are_under_their_dimensions() -> None:
    observed = fields("indicators_assessed")["observed"]
    assert len(observed.grouped) == 6
    assert sum(len(some) for _, some in observed.grouped) == len(observed.options)


def test_the_fields_of_a_group_are_together() -> None:
    groups = [f.group for f in fields("case_opened").values() if f.level is Level.PERSONAL]
    assert len(
        [one for place, one in enumerate(groups) if place == 0 or groups[place - 1] != one]
    ) == len(set(groups))
