"""The schemas of actions as a node serves them, and the addresses that are deprecated."""

import re
from collections.abc import Iterator
from uuid import uuid4

import httpx
import jsonschema_rs
import pytest
from pydantic import TypeAdapter, ValidationError

from api.http.openapi import TAGS, operations
from api.paper.languages.found import languages
from api.paper.subject_access.wording import wording
from api.processes.app import create_app
from api.runtime.settings import Settings
from api.web.api_reference import marked
from ledger.signing import sd_jwt
from ledger.vocabulary import ALL_ACTIONS
from ledger.vocabulary import json_schema as schemas
from ledger.vocabulary.expected_forms import has_words, in_words
from ledger.vocabulary.json_schema import KEYWORD, versions
from ledger.vocabulary.types import Language
from tests.support.actions import opening
from tests.support.serving import Server


@pytest.fixture(scope="module")
def node(served_once: Server) -> httpx.Client:
    return httpx.Client(base_url=served_once.url)


def test_anyone_reads_each_schema_and_the_bundle_has_them_all(node: httpx.Client) -> None:
    listed = node.get("/v1/schemas").json()
    found = {(one["kind"], one["version"]): one for one in listed["actions"]}
    assert found.keys() == {(kind, v) for kind in ALL_ACTIONS for v in versions(kind)}
    bundle = node.get(listed["bundle"]["href"]).json()
    embedded = {one["$id"]: one for one in bundle["$defs"].values()}
    links = [*listed["actions"], *listed["shared"]]
    assert embedded.keys() == {one["href"] for one in links}
    for link in (*listed["shared"], found["case_opened", 2], found["sheltered", 1]):
        answer = node.get(link["href"], params={"digest": link["digest"]})
        assert answer.json() == embedded[link["href"]]
        assert answer.headers["content-type"] == "application/schema+json"
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    for kind in ALL_ACTIONS:
        schema = {"$ref": f"/v1/schemas/actions/{kind}/{versions(kind)[-1]}"}
        checks = jsonschema_rs.Draft202012Validator({**schema, "$defs": bundle["$defs"]})
        for example in embedded[schema["$ref"]]["examples"]:
            assert checks.is_valid(example), kind
            assert not checks.is_valid({**example, "one_too_many": 1}), kind


def test_a_schema_is_cached_and_an_older_one_names_its_successor(node: httpx.Client) -> None:
    older = node.get("/v1/schemas/actions/case_opened/1")
    assert older.headers["link"] == '</v1/schemas/actions/case_opened/2>; rel="successor-version"'
    assert older.headers["cache-control"] == "public, no-cache"
    again = node.get(older.request.url, headers={"If-None-Match": older.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert "link" not in node.get("/v1/schemas/actions/case_opened/2").headers
    for path in ("actions/case_opened/3", "actions/no_such_kind/1", "shared/nothing"):
        refused = node.get(f"/v1/schemas/{path}")
        assert (refused.status_code, refused.json()["rule"]) == (404, "unknown-schema")


def test_kinds_fields_and_values_have_labels_in_each_language(node: httpx.Client) -> None:
    schema = node.get("/v1/schemas/actions/case_opened/2").json()
    codes = set(languages())
    field = schema["properties"]["gender"][KEYWORD]
    assert (field["level"], field["group"]) == ("personal", "identity")
    values = schema["$defs"]["Gender"]
    for labels in (schema[KEYWORD]["labels"], field["labels"], *values[KEYWORD]["values"].values()):
        assert labels.keys() == codes
        assert all(labels.values())
    assert values[KEYWORD]["values"].keys() == set(values["enum"])
    countries = node.get("/v1/schemas/shared/countries").json()
    assert countries[KEYWORD]["values"]["AL"]["en"] == "Albania"


def test_the_schema_of_the_payload_is_that_of_a_signed_action(
    node: httpx.Client, served_once: Server
) -> None:
    checks = jsonschema_rs.Draft202012Validator(node.get("/v1/schemas/shared/payload").json())
    signed = served_once.agencies.sign("xk-dhtqnj", opening(), uuid4())
    payload = dict(sd_jwt.parse(str(signed)).payload)
    assert checks.is_valid(payload)
    assert not checks.is_valid({**payload, "case": None})
    assert not checks.is_valid({k: v for k, v in payload.items() if k != "_sd_alg"})


def test_an_earlier_address_answers_and_says_until_when(node: httpx.Client) -> None:
    path = f"/v1/cases/{uuid4()}"
    told = node.post(f"{path}/documents/uploads")
    now = node.post(f"{path}/uploads")
    assert told.status_code == now.status_code == 401
    assert told.json()["rule"] == now.json()["rule"]
    assert told.headers["deprecation"] == "@1796083200"
    assert told.headers["sunset"] == "Wed, 01 Dec 2027 00:00:00 GMT"
    assert told.headers["link"].startswith(f'<{path}/uploads>; rel="successor-version"')
    assert "deprecation" not in now.headers


def test_no_refusal_shows_a_regular_expression(node: httpx.Client) -> None:
    """Each pattern that a person's input meets is said in words."""
    documents = [
        create_app(Settings(), "").openapi(),
        *(TypeAdapter(model).json_schema() for model in ALL_ACTIONS.values()),
    ]
    asked = {pattern for document in documents for pattern in patterns_of(document)}
    assert len(asked) > 15
    wordless = {one for one in asked if not has_words(one)}
    assert not wordless, "say it in ledger/vocabulary/expected_forms.py"
    with pytest.raises(ValidationError) as raised:
        TypeAdapter(Language).validate_python("Albanian")
    (error,) = raised.value.errors()
    assert (
        in_words(error)
        == "is not a language's code of three small letters (ISO 639-3), such as sqi"
    )
    refused = node.get("/v1/schemas/actions/UPPER/1").json()
    assert "small letters and underscores, such as case_opened" in refused["detail"]
    assert "^" not in refused["detail"]


def patterns_of(document: object) -> Iterator[str]:
    """Yield each pattern of a schema."""
    if isinstance(document, dict):
        if isinstance(document.get("pattern"), str):
            yield document["pattern"]
        for part in document.values():
            yield from patterns_of(part)
    elif isinstance(document, list):
        for part in document:
            yield from patterns_of(part)


def test_the_document_has_what_the_rule_sets_of_linters_ask_for() -> None:
    """The linters themselves run where npm is: ``tests/crosscheck/test_openapi_rules.py``."""
    document = create_app(Settings(), "").openapi()
    assert document["info"]["license"]["identifier"] == "Apache-2.0"
    assert document["info"]["contact"]
    assert document["servers"] == [{"url": "/", "description": "This node"}]
    tags = {one["name"] for one in document["tags"]}
    assert all(one["description"] for one in document["tags"])
    names = []
    for path, method, one in operations(document):
        names.append(one["operationId"])
        assert set(one["tags"]) <= tags, f"{method} {path}: describe its tag in api/http/openapi.py"
        assert one["description"], path
        assert any(status.startswith("4") for status in one["responses"]), path
        assert any(status[0] in "23" for status in one["responses"]), path
        assert "security" in one, path
    assert len(names) == len(set(names))
    assert {tag for _, _, one in operations(document) for tag in one["tags"]} == tags == set(TAGS)
    parts = [path.split("/") for path in document["paths"]]
    for one in parts:
        alike = [
            other
            for other in parts
            if len(other) == len(one)
            and all(a == b or "{" in a + b for a, b in zip(one, other, strict=True))
        ]
        assert alike == [one], "no request fits two paths"


def test_anyone_reads_the_api_as_pages_in_their_language(node: httpx.Client) -> None:
    """Every page of ``/docs``: all operations, and all actions with their values and examples."""
    first = node.get("/docs", headers={"Accept": "text/html", "Accept-Language": "sq"})
    assert first.status_code == 200
    assert "script-src 'self'" in first.headers["content-security-policy"]
    links = set(re.findall(r'href="(/docs/[a-z_/-]+)"', first.text))
    assert {link.rpartition("/")[2] for link in links if "/actions/" in link} == set(ALL_ACTIONS)
    pages = {link: node.get(link, headers={"Accept-Language": "sq"}) for link in sorted(links)}
    assert {one.status_code for one in pages.values()} == {200}
    whole = "".join(one.text for one in pages.values())
    for path in create_app(Settings(), "").openapi()["paths"]:
        assert f"<code>{path}</code>" in whole, path
    opening_page = pages["/docs/actions/case_opened"].text
    gender = schemas.picklists()["Gender"]("Feminine")
    assert f"<code>Feminine</code> {wording('sq').picked(gender)}" in opening_page
    assert "police_action" in opening_page
    assert "<code>GET /v1/protocol</code>" in opening_page
    # A map from languages to names has the form of both, and its sizes.
    registered = pages["/docs/actions/agency_registered"].text
    assert re.search(r"<code>object 1\.\.24 \{\^\[a-z\]\S+: string 1\.\.200\}</code>", registered)
    assert "<code>object {string: any}</code>" in pages["/docs/actions/protocol_adopted"].text
    assert "integer 1..9007199254740991" in pages["/docs/actions/amendment_accepted"].text
    assert marked("`<b>` [x](/docs) [y](//evil.example)") == (
        '<code>&lt;b&gt;</code> <a href="/docs">x</a> [y](//evil.example)'
    )
    assert node.get("/docs/actions/no_such_kind").status_code == 404
    assert node.get("/docs/operations/nothing").status_code == 404
