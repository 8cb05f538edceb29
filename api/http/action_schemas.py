"""The JSON Schemas of actions as a node serves them: with labels in the languages that it has."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import Any

from api.client.schemas.action_schemas import ActionSchemaLink, SchemaLink, SchemaList
from api.paper.languages.found import languages
from api.paper.subject_access.wording import Wording, wording
from ledger.signing.signed_action import ActionClaims
from ledger.vocabulary import ALL_ACTIONS
from ledger.vocabulary import json_schema as schemas
from ledger.vocabulary.json_schema import BASE, KEYWORD, Schema

MEDIA_TYPE = "application/schema+json"
PAYLOAD, BUNDLE = "payload", "bundle"


@dataclass(frozen=True, slots=True)
class ServedSchema:
    """A schema, with its text as it is served."""

    schema: Schema
    content: bytes
    digest: str

    @property
    def path(self) -> str:
        return str(self.schema["$id"])


class ServedSchemas:
    """Every schema of this program by its path, with the one document that has them all."""

    def __init__(self) -> None:
        """Make every schema. It takes some tenths of a second, so a node makes them once."""
        words = {code: wording(code) for code in languages()}
        labels = {
            name: {
                value.value: {code: w.picked(value) for code, w in words.items()} for value in list_
            }
            for name, list_ in schemas.picklists().items()
        }
        self.by_path = {
            one.path: one
            for one in (
                *(_served(one) for one in _shared(words)),
                *(
                    _served(_labelled(kind, version, words, labels))
                    for kind in ALL_ACTIONS
                    for version in reversed(schemas.versions(kind))
                ),
            )
        }
        self.bundle = _served(
            {
                "$schema": schemas.DIALECT,
                "$id": f"{BASE}/{BUNDLE}",
                "title": "Every kind and version of action",
                "description": "Each schema is whole under `$defs`, and has its own `$id`.",
                "$defs": {
                    path.split("/", 4)[-1].replace("/", "."): one.schema
                    for path, one in self.by_path.items()
                },
            }
        )

    def find(self, name: str) -> ServedSchema | None:
        """Return the schema of a path below the base; ``None`` if there is none."""
        return self.bundle if name == BUNDLE else self.by_path.get(f"{BASE}/{name}")

    def listed(self) -> SchemaList:
        """Return the list of all schemas."""
        actions, shared = [], []
        for one in self.by_path.values():
            link = {"href": one.path, "digest": one.digest}
            told = one.schema.get(KEYWORD, {})
            if "kind" in told:
                named = {name: told[name] for name in _LISTED}
                actions.append(ActionSchemaLink.model_validate({**link, **named}))
            else:
                shared.append(SchemaLink.model_validate(link))
        bundle = SchemaLink(href=self.bundle.path, digest=self.bundle.digest)
        return SchemaList(bundle=bundle, shared=tuple(shared), actions=tuple(actions))


_LISTED = ("kind", "version", "state", "subject", "stage", "digests")
_making = Lock()


def served_schemas() -> ServedSchemas:
    """Return the schemas, which the first caller makes while others wait."""
    with _making:
        return _made()


@cache
def _made() -> ServedSchemas:
    return ServedSchemas()


def _served(schema: Schema) -> ServedSchema:
    content = json.dumps(schema, ensure_ascii=False, separators=(",", ":")).encode()
    return ServedSchema(schema, content, hashlib.sha256(content).hexdigest())


Labels = Mapping[str, Mapping[str, Mapping[str, str]]]
"""By picklist, value and language."""


def _labelled(kind: str, version: int, words: Mapping[str, Wording], labels: Labels) -> Schema:
    """Return the schema of a version of a kind with the names of the kind, fields and values."""
    schema = deepcopy(schemas.action_schema(kind, version))
    schema[KEYWORD]["labels"] = {code: w.kind(kind) for code, w in words.items()}
    for name, field in schema["properties"].items():
        field[KEYWORD]["labels"] = {code: w.field(name) for code, w in words.items()}
    for one in _keywords(schema):
        if "picklist" in one[KEYWORD]:
            of_values = labels[one[KEYWORD]["picklist"]]
            one[KEYWORD]["values"] = {value: of_values[value] for value in one["enum"]}
    return schema


def _keywords(schema: Any) -> Iterator[Schema]:
    """Yield each part of a schema that has the keyword of our own."""
    if isinstance(schema, dict):
        if KEYWORD in schema:
            yield schema
        for one in schema.values():
            yield from _keywords(one)
    elif isinstance(schema, list):
        for one in schema:
            yield from _keywords(one)


def _shared(words: Mapping[str, Wording]) -> Iterator[Schema]:
    """Yield the schemas that several kinds refer to, and that of the signed payload."""
    named = {
        "countries": lambda w: w.country,
        "languages": lambda w: w.language_name,
    }
    spoken = set(wording("en").spoken_languages())
    for name, schema in schemas.shared_schemas().items():
        known = [code for code in schema["enum"] if name == "countries" or code in spoken]
        values = {one: {code: named[name](w)(one) for code, w in words.items()} for one in known}
        yield {**schema, KEYWORD: {"picklist": name, "values": values}}
    yield _payload()


def _payload() -> Schema:
    """Return the schema of the claims that an agency signs."""
    made = ActionClaims.model_json_schema(by_alias=True)
    for one in made["properties"].values():
        if "anyOf" in one:  # a claim without a value is left out, not null
            (told,) = (part for part in one.pop("anyOf") if part.get("type") != "null")
            one.pop("default", None)
            one |= told
        one.pop("title", None)
    made["properties"]["act"]["description"] = (
        "The `ledger` fields of the kind, and in `_sd` as many digests as `digests` of its schema "
        "says: of the disclosures, and of decoys for the fields left out, in random order."
    )
    made["properties"]["version"]["description"] = (
        "The version of the kind's schema; left out for the first."
    )
    described = {"title": PAYLOAD, "description": "The claims that an agency signs."}
    return {"$schema": schemas.DIALECT, "$id": f"{BASE}/shared/{PAYLOAD}", **made, **described}
