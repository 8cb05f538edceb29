"""The parts of a rule that name values, bodies and periods, as sentences in one language."""

from collections.abc import Iterable, Iterator

from pydantic import JsonValue

from api.paper.protocol_changes import fact
from api.paper.subject_access.wording import Wording
from ledger.procedure.conditions import (
    Bodies,
    FieldValue,
    Marked,
    Persons,
    Standing,
    ValueRule,
)
from ledger.procedure.protocol import ActionRule, Duty, Protocol

_PERSONS = {Persons.CHILDREN: "rule.for_children", Persons.ADULTS: "rule.for_adults"}


def rule_sentences(kind: str, protocol: Protocol, words: Wording) -> tuple[str, ...]:
    """Return what the rule of a kind of action says besides roles and facts, a sentence each."""
    rule = protocol.actions[kind]
    return (
        *(condition_sentence(name, kind, protocol, words) for name in protocol.conditions_of(rule)),
        *_one_of(rule, words),
        *(_where(one, kind, words) for one in rule.where),
        *_bodies(rule, kind, words),
        *_parties(rule, protocol, words),
        *_annulment(rule, words),
        *_reflection(rule, words),
        *([marked("", rule, words).strip()] if rule.standing is not None else []),
    )


def condition_sentence(name: str, kind: str, protocol: Protocol, words: Wording) -> str:
    """Return what a condition asks of an action of ``kind``, and which authority it has."""
    condition = protocol.conditions[name]
    said = words.text("rule.must", value=_value(condition, kind, protocol, words))
    if condition.persons is not None:
        said = words.text(_PERSONS[condition.persons], sentence=said)
    if condition.when is not None:
        told = _value(condition.when, kind, protocol, words)
        said = words.text("rule.when", sentence=said, value=told)
    if condition.of_each_party:
        said = words.text("rule.each_party", sentence=said)
    if condition.unless is not None:
        said = words.text("rule.unless", sentence=said, action=words.kind(condition.unless))
    return marked(said, condition, words)


def marked(sentence: str, part: Marked, words: Wording) -> str:
    """Return a sentence with the authority that its part of the protocol has."""
    if part.standing is None:
        return sentence
    text = {
        Standing.SOURCE: "rule.sourced",
        Standing.ASSUMPTION: "rule.assumed",
        Standing.ADOPTED: "rule.adopted",
    }[part.standing]
    said = words.text(text, sentence=sentence)
    return f"{said} {part.source}" if part.source else said


def reflection_sentences(protocol: Protocol, words: Wording) -> tuple[str, ...]:
    """Return the recovery and reflection period of each party."""
    return tuple(
        marked(
            words.text(
                "rule.reflection_days",
                countries=_countries(period.parties, words),
                days=str(period.days),
                fact=_facts((period.after, *period.or_after), words),
            ),
            period,
            words,
        )
        for period in protocol.reflection
    )


def duty_facts(duty: Duty, words: Wording) -> tuple[str, ...]:
    """Return while which facts a duty holds, and of which agency it is."""
    told = [fact(one, words) for one in duty.after]
    if duty.after_for_adult:
        facts = _facts(duty.after_for_adult, words)
        told.append(words.text("rule.for_adults", sentence=facts))
    if duty.of_acting_agency:
        told.append(words.text("rule.acting_agency"))
    return tuple(told)


def values_text(kind: str, field: str, values: Iterable[bool | str], words: Wording) -> str:
    """Return the values of a field of ``kind`` in words."""
    told: list[JsonValue] = list(values)
    return ", ".join(text for one in told for text in words.value(kind, field, one, {}))


def _value(value: FieldValue, kind: str, protocol: Protocol, words: Wording) -> str:
    kinds = (kind,) if value.fact is None else protocol.establishing(value.fact)
    told = values_text(kinds[0], value.field, value.values, words)
    if value.fact is None:
        return words.text("rule.value", field=words.field(value.field), values=told)
    return words.text(
        "rule.value_of_fact",
        fact=fact(value.fact, words),
        field=words.field(value.field),
        values=told,
    )


def _one_of(rule: ActionRule, words: Wording) -> Iterator[str]:
    if rule.requires_one_of:
        yield words.text("rule.one_of", facts=_facts(rule.requires_one_of, words))


def _annulment(rule: ActionRule, words: Wording) -> Iterator[str]:
    if rule.annulled_as is not None:
        yield words.text("rule.annulled_as", action=words.kind(rule.annulled_as))


def _where(one: ValueRule, kind: str, words: Wording) -> str:
    """Return what a rule says besides where a field has a value."""
    value = words.text(
        "rule.value",
        field=words.field(one.field),
        values=values_text(kind, one.field, one.values, words),
    )
    told = [
        words.text(text, facts=_facts(facts, words))
        for text, facts in (
            ("rule.first", one.requires),
            ("rule.not_while", one.forbidden_while),
            ("rule.deciding_party", one.party_that_established),
            ("rule.from_then", one.establishes),
            ("rule.no_more", one.ends),
        )
        if facts
    ]
    return marked(words.text("rule.where", value=value, sentence=" ".join(told)), one, words)


def _bodies(rule: ActionRule, kind: str, words: Wording) -> Iterator[str]:
    for bodies in rule.by:
        said = words.text(
            "rule.bodies",
            countries=_countries(bodies.parties, words),
            roles=_roles(bodies.roles, words),
        )
        said = _together(said, bodies, words)
        yield marked(_asked(said, bodies, kind, words), bodies, words)


def _asked(said: str, bodies: Bodies, kind: str, words: Wording) -> str:
    """Return the sentence on bodies with the actions that they decide."""
    if bodies.field is not None and bodies.values:
        values = values_text(kind, bodies.field, bodies.values, words)
        value = words.text("rule.value", field=words.field(bodies.field), values=values)
        said = words.text("rule.bodies_value", sentence=said, value=value)
    if bodies.field is not None and bodies.lowers:
        field = words.field(bodies.field)
        said = words.text("rule.bodies_lower", sentence=said, field=field)
    if bodies.not_while:
        facts = _facts(bodies.not_while, words)
        said = words.text("rule.bodies_not_while", sentence=said, facts=facts)
    return said


def _together(said: str, bodies: Bodies, words: Wording) -> str:
    if bodies.together:
        said = words.text("rule.together", sentence=said, roles=_roles(bodies.together, words))
    if bodies.together_for_child:
        roles = _roles(bodies.together_for_child, words)
        said = words.text("rule.together_for_child", sentence=said, roles=roles)
    if bodies.requires:
        facts = _facts(bodies.requires, words)
        said = words.text("rule.bodies_require", sentence=said, facts=facts)
    return said


def _parties(rule: ActionRule, protocol: Protocol, words: Wording) -> Iterator[str]:
    for place, text in (
        (rule.party_named_in, "rule.party_named"),
        (rule.not_party_named_in, "rule.not_party_named"),
    ):
        if place is not None:
            named, _, field = place.partition(".")
            action = next(iter(protocol.establishing(named)), named)
            yield words.text(text, action=words.kind(action), field=words.field(field))
    if rule.party_that_established:
        facts = _facts(rule.party_that_established, words)
        said = words.text("rule.deciding_party", facts=facts)
        if rule.or_party_that_established:
            others = _facts(rule.or_party_that_established, words)
            said = words.text("rule.or_party", sentence=said, facts=others)
        yield said


def _reflection(rule: ActionRule, words: Wording) -> Iterator[str]:
    wish = rule.waits_for_reflection_unless
    if wish is not None:
        yield words.text("rule.reflection", fact=fact(wish, words))


def _facts(facts: Iterable[str], words: Wording) -> str:
    return ", ".join(dict.fromkeys(fact(one, words) for one in facts))


def _roles(roles: Iterable[str], words: Wording) -> str:
    return ", ".join(map(words.role, roles))


def _countries(parties: Iterable[str], words: Wording) -> str:
    return ", ".join(map(words.country, parties)) or words.text("rule.other_countries")
