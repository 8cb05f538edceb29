"""The JSON Schemas of actions say what the program's own models say."""

import json
import unicodedata
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any, get_type_hints
from uuid import UUID

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from ledger.signing import keys
from ledger.signing.signed_action import check_disclosures, parse, read, sign
from ledger.vocabulary import ALL_ACTIONS, CASE_ACTIONS, Action, canonical
from ledger.vocabulary import json_schema as schemas
from ledger.vocabulary.action import field_adapter, ledger_part
from ledger.vocabulary.levels import Level
from tests.support.strategies import actions

WHEN = datetime(2026, 1, 5, 8, tzinfo=UTC)
REGISTRY = jsonschema_rs.Registry([(one["$id"], one) for one in schemas.shared_schemas().values()])
ANYTHING: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 31, 2**53, 1.5, "", " ", "0", "1", "true", "x", "X", "XK", "xk",
    "ZZ", "XK\n", "sqi", "zzz", "Example", " Example", "Example ", "two\nlines", "tab\there",
    "\u202eleft", "nul\x00", "bell\x07", "soft\u00adhyphen", "\ufeffmark", "\u0085next",
    "no\u00a0break", "\u00a0before", "2026-02-28", "2026-02-30", "2026-13-01", "0000-01-01",
    "20260228", "2026-01-05T08:00:00Z", "2026-01-05T08:00:00.170Z", "2026-01-05T08:00:00.1234567Z",
    "2026-01-05T08:00:00+00:00", "2026-01-05 08:00:00Z", "2026-01-05T24:00:00Z",
    "2026-01-05T08:00:60Z", "2026-04-01", "2026-04-02", "3f2b8a5e-6d0f-4b58-9f44-0c5b7f7a3f10",
    "3F2B8A5E-6D0F-4B58-9F44-0C5B7F7A3F10", "3f2b8a5e6d0f4b589f440c5b7f7a3f10", "120", "120.5",
    "120.505", "1e2", "-1", "+99900000000", "+999 00 000 000", "0038", "office@example.org",
    "a@b", "xk-dhtqnj", "XK-DHTQNJ", "police", "sr-Cyrl", "SR", "2", "2,5-7", "2-", "1" * 43,
    "e" * 64, "E" * 64, "OKP", "https://node.example", "ftp://node.example", "application/pdf",
    [], {}, [None], ["XK"], ["XK", "XK"], ["sqi"], ["x"], {"en": "A name"}, {"EN": "A name"},
    {"en": ""}, {"x": 1}, [{}],
)  # fmt: skip


@cache
def checks(text: str) -> Any:
    return jsonschema_rs.Draft202012Validator(
        json.loads(text), registry=REGISTRY, validate_formats=True
    )


def fits(schema: Mapping[str, Any], value: object) -> bool:
    return bool(checks(json.dumps(schema, sort_keys=True)).is_valid(value))


def fields() -> Iterator[tuple[type[Action], str, dict[str, Any]]]:
    """Yield each field once of those with the same schema."""
    seen: set[str] = set()
    for kind, model in ALL_ACTIONS.items():
        whole = schemas.action_schema(kind, schemas.versions(kind)[-1])
        for name, own in whole["properties"].items():
            schema = {"$schema": schemas.DIALECT, **own, "$defs": whole.get("$defs", {})}
            bare = {k: v for k, v in own.items() if k not in ("description", schemas.KEYWORD)}
            if (text := json.dumps(bare)) not in seen:
                seen.add(text)
                yield model, name, schema


def sample(schema: Mapping[str, Any]) -> Any:
    return schemas._sample(dict(schema), schema["$defs"])


def around(schema: Mapping[str, Any]) -> Iterator[Any]:
    """Yield values on both sides of each limit of a schema."""
    own = sample(schema)
    yield own
    for size in {schema.get(k) for k in ("minLength", "maxLength")} - {None}:
        yield from ("x" * n for n in (size - 1, size, size + 1))
    for limit in {schema.get(k) for k in ("minimum", "maximum", "exclusiveMaximum")} - {None}:
        yield from (limit - 1, limit, limit + 1)
    if isinstance(own, list):
        item = sample({**schema["items"], "$defs": schema["$defs"]})
        for size in {schema.get(k) for k in ("minItems", "maxItems")} - {None}:
            yield from ([item] * n for n in (max(size - 1, 0), size, size + 1))
        yield from ([value] for value in (None, "", "none_of_these", 1, {}))
        for changed in changes(item):
            yield [changed]
    yield from changes(own)
    for value in schema.get("enum", ()):
        yield from (value, value.swapcase() + "x")


def changes(value: object) -> Iterator[Any]:
    """Yield a structure without each member, with null for each, and with one too many."""
    if isinstance(value, dict):
        yield {**value, "one_too_many": 1}
        for name in value:
            yield {k: v for k, v in value.items() if k != name}
            yield {**value, name: None}
            yield {**value, name: []}


def accepted(model: type[Action], name: str, value: object) -> Any:
    """Return the value as the program writes it; ``None`` if its own models refuse it."""
    try:
        adapter = field_adapter(model, name)
        whole = adapter.validate_python(value)
        return adapter.dump_python(whole, mode="json", exclude_none=True)
    except ValidationError:
        return None


def is_canonical(model: type[Action], name: str, value: object, written: object) -> bool:
    """Return whether a value is in the form that the program asks for and writes."""
    if name == "amount_eur":
        return value == written
    hint = get_type_hints(model, include_extras=True)[name]
    try:
        TypeAdapter(canonical._canonical(hint)).validate_json(json.dumps(value), strict=True)
    except ValidationError:
        return False
    is_kept = without_spaces(value) == value or written == value
    return is_kept and not canonical._has_nul(value)


def without_spaces(value: object) -> object:
    if isinstance(value, str):
        return value.strip("\t\n\r\u0085\u00a0\u2028\u2029 ")
    if isinstance(value, list):
        return [without_spaces(one) for one in value]
    if isinstance(value, dict):
        return {name: without_spaces(one) for name, one in value.items()}
    return value


def test_a_field_is_valid_by_its_schema_if_the_program_accepts_its_canonical_form() -> None:
    counted = {True: 0, False: 0}
    for model, name, schema in fields():
        if name == "pages_left_out":
            continue  # its order is told in words
        for value in (*ANYTHING, *around(schema)):
            written = accepted(model, name, value)
            says = written is not None and is_canonical(model, name, value, written)
            assert fits(schema, value) is says, (model.kind, name, value)
            counted[says] += 1
            kept = name == "amount_eur" or value == "nul\x00"  # as it was written
            if written is not None and not kept:
                assert fits(schema, written), (model.kind, name, value, written)
    assert counted[True] > 500
    assert counted[False] > 5000


@settings(max_examples=300, deadline=None)
@given(text=st.text(min_size=1, max_size=30), is_name=st.booleans())
def test_texts_and_names_differ_only_where_their_schema_says_so(text: str, is_name: bool) -> None:
    model, name = (CASE_ACTIONS["case_opened"], "first_name" if is_name else "address")
    whole = schemas.action_schema("case_opened", 2)
    schema = {**whole["properties"][name], "$defs": whole["$defs"]}
    written = accepted(model, name, text)
    if written == text:
        assert fits(schema, text)
    elif fits(schema, text):  # what the description says that the schema does not check
        is_seen = any(unicodedata.category(one)[0] in "LNPS" for one in text)
        assert not is_seen or set(text) & {
            *"\u200c\u200d\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
        }


@settings(max_examples=400, deadline=None)
@given(data=st.data(), kind=st.sampled_from(list(CASE_ACTIONS)))
def test_what_the_program_can_sign_is_valid(data: st.DataObject, kind: str) -> None:
    """Actions of every kind, as the generators of the random stories make them."""
    action = data.draw(
        actions(
            kind,
            agency_ids=("xk-dhtqnj", "me-police-thb"),
            party_codes=("XK", "ME"),
            known_actions=(UUID(int=1), UUID(int=2)),
            acted_at=WHEN,
        )
    )
    content = {**action.ledger_claims(), **action.disclosable_claims()}
    assert fits(schemas.action_schema(kind, schemas.versions(kind)[-1]), content), kind


def test_each_example_is_accepted_with_its_digests_and_levels() -> None:
    """Each example is signed, read back and checked as an action that an agency sent."""
    key = keys.generate()
    for kind, model in ALL_ACTIONS.items():
        for version in schemas.versions(kind):
            schema = schemas.action_schema(kind, version)
            told = schema[schemas.KEYWORD]
            (example,) = schema["examples"]
            assert fits(schema, example), kind
            case = UUID(int=1) if told["subject"] == "case" else None
            if told["state"] != "current":
                assert schema["deprecated"] is True
                continue
            signed = sign(
                model.model_validate(example),
                agency="xk-dhtqnj", key=key, protocol="p", case_id=case,
            )  # fmt: skip
            got = read(parse(str(signed)))
            assert check_disclosures(got, signed.disclosures) == model.model_validate(example)
            assert (got.version, len(got.digests)) == (version, told["digests"])
            levels = {n: one[schemas.KEYWORD]["level"] for n, one in schema["properties"].items()}
            assert {n for n, one in levels.items() if one == Level.LEDGER} >= set(got.fields)
            assert [n for n, one in levels.items() if one == Level.LEDGER] == [
                *ledger_part(model).model_fields
            ]


def test_an_older_version_has_its_own_levels_and_digests() -> None:
    older, now = (schemas.action_schema("sheltered", version) for version in (1, 2))
    told = [one["properties"]["provider"][schemas.KEYWORD]["level"] for one in (older, now)]
    assert told == ["ledger", "case"]
    assert [one[schemas.KEYWORD]["digests"] for one in (older, now)] == [2, 4]
    assert [one[schemas.KEYWORD]["state"] for one in (older, now)] == ["recorded", "current"]
    assert schemas.state("case_opened", 1) == "accepted"
    with pytest.raises(KeyError):
        schemas.action_schema("sheltered", 3)


def test_rules_on_several_fields_are_in_the_schema() -> None:
    document = sample(
        {
            "$ref": "#/$defs/CaseDocument",
            "$defs": schemas.action_schema("document_added", 2)["$defs"],
        }
    )
    one = "3f2b8a5e-6d0f-4b58-9f44-0c5b7f7a3f10"
    for kind, extra in (
        ("document_added", {}),
        ("document_added", {"case_document": document}),
        ("document_added", {"case_document": document, "care_document": document}),
        ("document_added", {"case_document": document, "signs": one}),
        ("document_added", {"care_document": document, "signs": one}),
        ("document_added", {"case_document": document, "signs": one, "redacts": one}),
        ("document_added", {"care_document": document, "redacts": one, "pages_left_out": "2"}),
        ("document_added", {"care_document": document, "pages_left_out": "2"}),
        ("indicators_assessed", {"indicator_list": "none_fits"}),
        ("indicators_assessed", {"indicator_list": "adults_labour"}),
        *(
            (
                "indicators_assessed",
                {"indicator_list": listed, "observed": ["coercion_debt_bondage"]},
            )
            for listed in ("none_fits", "children_labour")
        ),
    ):
        of_kind = {"indicators_assessed": {"observers": ["police"]}}.get(kind, {})
        content = {"acted_at": "2026-01-05T08:00:00Z", **of_kind, **extra}
        try:
            ALL_ACTIONS[kind].model_validate(content)
            says = True
        except ValidationError:
            says = False
        assert fits(schemas.action_schema(kind, schemas.versions(kind)[-1]), content) is says, extra
