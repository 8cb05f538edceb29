"""The person's fields for the page: each field's counting statement and its history."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from api.client.schemas import PersonalField
from api.paper.subject_access.wording import Wording
from api.web.texts import PageTexts
from ledger.procedure.case import Case
from ledger.procedure.case_fold import annulled_ids
from ledger.procedure.dates import ADULT_AT_YEARS
from ledger.procedure.disclosed_dates import years_old
from ledger.procedure.protocol import Protocol
from ledger.procedure.statements import PERSON_FIELDS, STATING
from ledger.vocabulary.person import AgeAssessed, IdentityRecorded
from ledger.vocabulary.picklists import AgeGroup, PersonField
from ledger.vocabulary.sharing import InformationReleased

_AGE_FIELDS = frozenset({"birth_year", "age_from", "age_to"})


@dataclass(frozen=True, slots=True)
class StatementText:
    """One statement of a field."""

    lines: tuple[str, ...]
    where: str
    """The action that states it."""
    how: str
    """Its source and its certainty, where they are stated."""
    received_from: str | None
    ended_by: str | None
    """The action by which it counts no more."""


@dataclass(frozen=True, slots=True)
class KnownField:
    """A field on the person: the statement that counts, and the earlier ones, the newest first."""

    name: str
    now: StatementText | None
    """``None`` where every statement was retracted or annulled."""
    earlier: tuple[StatementText, ...]


@dataclass(frozen=True, slots=True)
class KnownPerson:
    """The known fields of a person, and the other fields that were opened."""

    fields: tuple[KnownField, ...]
    others: tuple[PersonalField, ...]


def is_of_person(field: PersonalField) -> bool:
    """Return whether a field states who the person is, or how old."""
    stated = field.kind in STATING and field.field in PERSON_FIELDS
    return stated or (field.kind == AgeAssessed.kind and field.field in _AGE_FIELDS)


def known_person(
    fields: Sequence[PersonalField],
    case: Case,
    case_values: Mapping[UUID, Mapping[str, Any]],
    named: Mapping[str, str],
    words: Wording,
) -> KnownPerson:
    """Return the known fields of a person, by the opened ``fields``.

    ``case_values`` has the ``case`` fields of each action, ``named`` the names of actions by id.
    """
    place = {action: number for number, action in enumerate(case.history)}
    by_name: dict[str, list[PersonalField]] = {}
    for field in fields:
        if is_of_person(field):
            by_name.setdefault(field.field, []).append(field)
    order = [*(field.value for field in PersonField), "birth_year", "age_from", "age_to"]
    found = []
    for name in sorted(by_name, key=order.index):
        stated = sorted(by_name[name], key=lambda one: place[one.action_id], reverse=True)
        told = [(one, _text(one, case_values, named, words)) for one in stated]
        now = next((text for one, text in told if one.superseded_by is None), None)
        earlier = tuple(text for one, text in told if one.superseded_by is not None)
        found.append(KnownField(words.field(name), now, earlier))
    return KnownPerson(tuple(found), tuple(one for one in fields if not is_of_person(one)))


def _text(
    field: PersonalField,
    case_values: Mapping[UUID, Mapping[str, Any]],
    named: Mapping[str, str],
    words: Wording,
) -> StatementText:
    of_action = case_values.get(field.action_id, {})
    how = [
        words.value(field.kind, name, of_action[name], named)[0]
        for name in ("source", "method", "certainty")
        if name in of_action
    ]
    ended = field.superseded_by
    return StatementText(
        lines=words.value(field.kind, field.field, field.value, named),
        where=named.get(str(field.action_id), ""),
        how=", ".join(how),
        received_from=field.received_from,
        ended_by=named.get(str(ended), "") if ended is not None else None,
    )


def person_warnings(
    fields: Sequence[PersonalField],
    case: Case,
    protocol: Protocol,
    party: str,
    today: date,
    words: Wording,
    texts: PageTexts,
) -> tuple[str, ...]:
    """Return what the reader should look at: contradictions, and statements that differ elsewhere.

    ``fields`` are the personal fields that were opened, ``party`` is the reader's country.
    """
    return (
        *_of_age(fields, case, today, texts),
        *_stated_elsewhere(fields, case, protocol, party, words, texts),
        *_released_earlier(fields, case, protocol, party, words, texts),
    )


def _of_age(
    fields: Iterable[PersonalField], case: Case, today: date, texts: PageTexts
) -> Iterator[str]:
    counting = (one for one in fields if one.superseded_by is None and one.kind in STATING)
    born = next((one.value for one in counting if one.field == PersonField.BIRTHDATE), None)
    if not isinstance(born, str):
        return
    is_adult = years_old(date.fromisoformat(born), today) >= ADULT_AT_YEARS
    if is_adult and case.state.is_child:
        yield texts.text("person.warn.adult")
    if not is_adult and case.state.age_group is AgeGroup.ADULT:
        yield texts.text("person.warn.child")


def _stated_elsewhere(
    fields: Iterable[PersonalField],
    case: Case,
    protocol: Protocol,
    party: str,
    words: Wording,
    texts: PageTexts,
) -> Iterator[str]:
    held = {field.action_id for field in fields}
    annulled = annulled_ids(case.history.values())
    for act in case.history.values():
        own = protocol.agencies_by_id[act.agency].party if act.agency else party
        is_new = act.kind == IdentityRecorded.kind and act.id not in annulled
        if is_new and own != party and act.id not in held:
            yield texts.text(
                "person.warn.elsewhere",
                country=words.country(own),
                day=words.day(act.acted_at),
            )


def _released_earlier(
    fields: Sequence[PersonalField],
    case: Case,
    protocol: Protocol,
    party: str,
    words: Wording,
    texts: PageTexts,
) -> Iterator[str]:
    """Yield each field of which another country has an earlier statement, and not the newest."""
    annulled = annulled_ids(case.history.values())
    released: dict[str, set[str]] = {}
    for act in case.history.values():
        if act.kind != InformationReleased.kind or act.id in annulled:
            continue
        if protocol.agencies_by_id[act.agency].party == party:
            named = (digest for part in act.fields["released"] for digest in part["digests"])
            released.setdefault(act.fields["recipient"], set()).update(named)
    own = [one for one in fields if is_of_person(one) and one.received_from is None]
    for country, digests in released.items():
        has_newest = {f.field for f in own if f.superseded_by is None and f.digest in digests}
        outdated = {f.field for f in own if f.superseded_by is not None and f.digest in digests}
        for name in sorted(outdated - has_newest):
            yield texts.text(
                "person.warn.released", country=words.country(country), field=words.field(name)
            )
