"""Pages of documents: sizes, readers, and the places of the contents."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from api.client.schemas.case_documents import AwaitedDocument, DocumentInventory, GivenDocument
from api.paper.subject_access.wording import wording
from api.web.documents import readers, size_text, whereabouts
from api.web.texts import texts
from ledger.procedure.protocol import Operation, shipped_protocol
from ledger.vault.documents.content_messages import ContentRefusal
from ledger.vocabulary.levels import FieldGroup

PROTOCOL = shipped_protocol()
NOW = datetime(2026, 6, 1, tzinfo=UTC)
LANGUAGES = ("en", "sq", "cnr")


def awaited(**changes: object) -> AwaitedDocument:
    values = {
        "id": uuid4(), "origin": "ME", "size": 5_000_000, "received": 1_000_000,
        "state": "fetching", "since": NOW, "refused": None, "asked": "ME", "asked_at": NOW,
        "tries": 0, "trouble": None,
    }  # fmt: skip
    return AwaitedDocument.model_validate(values | changes)


def given(**changes: object) -> GivenDocument:
    values = {
        "id": uuid4(), "recipient": "ME", "begun_at": NOW, "last_at": NOW, "held_at": None,
        "statement": None,
    }  # fmt: skip
    return GivenDocument.model_validate(values | changes)


@pytest.mark.parametrize(
    ("size", "text"), [(1_999, "2 kB"), (99_999, "100 kB"), (2_500_000, "2.5 MB")]
)
def test_a_size_is_in_megabytes_or_kilobytes(size: int, text: str) -> None:
    assert size_text(size, wording("en")) == text


@pytest.mark.parametrize("code", LANGUAGES)
def test_the_readers_of_a_group_are_the_roles_of_the_access_matrix(code: str) -> None:
    words = wording(code, PROTOCOL)
    said = readers(PROTOCOL, "XK", ("XK", "ME"), words, texts(code))
    assert words.country("ME") in said[""]
    roles = {a.role for a in PROTOCOL.working_agencies if a.party == "XK"}
    for group in FieldGroup:
        named = {role for role in roles if words.role(role) in said[group.value]}
        allowed = {role for role in roles if PROTOCOL.allows(role, Operation.READ, group)}
        assert allowed <= named, group  # the name of a role may be a part of another one's
        assert words.country("XK") in said[group.value]


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_list_says_how_far_each_content_is(code: str) -> None:
    words = wording(code, PROTOCOL)
    coming = awaited()
    stopped = [awaited(state="refused", refused=rule.value) for rule in ContentRefusal]
    missing, held = awaited(state="missing"), awaited(state="held")
    sent, there = given(), given(held_at=NOW)
    inventory = DocumentInventory(awaited=(coming, *stopped, missing, held), given=(sent, there))
    found = whereabouts(inventory, words, texts(code))
    assert held.id not in found
    assert words.number(5) in found[coming.id].awaited
    told = [found[one.id].awaited for one in (coming, *stopped, missing)]
    assert all(words.country("ME") in one and "{" not in one for one in told)
    withdrawn = next(one for one in stopped if one.refused == ContentRefusal.WITHDRAWN)
    other = texts(code).text("docs.content.other", country=words.country("ME"))
    assert found[withdrawn.id].awaited != other
    assert found[sent.id].given != found[there.id].given
