"""Changes of the protocol as sentences, in the words of one language."""

import re
from collections.abc import Callable, Iterable, Mapping

from api.paper.subject_access.wording import Wording
from ledger.procedure.conditions import Standing
from ledger.procedure.protocol import KeyChange, Operation
from ledger.procedure.protocol_changes import ProtocolChange
from ledger.vocabulary import CASE_ACTIONS
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import (
    CaseStatus,
    ClosureReason,
    ConsentScope,
    RefusalSubject,
    RiskLevel,
    TraffickingStatus,
)


def sentences(changes: Iterable[ProtocolChange], words: Wording) -> tuple[str, ...]:
    """Return each change as one sentence."""
    return tuple(sentence(change, words) for change in changes)


def sentence(change: ProtocolChange, words: Wording) -> str:
    """Return a change as a sentence for people."""
    told = {name: _told(change.id, name, value, words) for name, value in change.values.items()}
    if {"kind", "field", "values"} <= change.values.keys():
        told |= _value_told(change.values, words)
    return words.change(change.id).format(**told)


def copy_contents(party: str, words: Wording) -> str:
    """Return the sentences on what the copy of the ledger of a joining party will contain."""
    told = (ProtocolChange(name, {"party": party}) for name in ("party_copy", "party_copy_without"))
    return " ".join(sentences(told, words))


_OF_KINDS = {
    "consent_{scopes}": "consent_given",
    "refused_{scopes}": "refusal_recorded",
    "refused_{subject}": "refusal_recorded",
    "return_answered": "return_accepted",
}
"""Facts that have another name than the kind of action that they are said by."""

_KINDS_OF_FACTS = {
    "missing": "went_missing",
    "found": "person_found",
    "deceased": "death_recorded",
    "appeal_pending": "appeal_filed",
    "exploited_again": "new_exploitation_found",
    "screened": "indicators_assessed",
}
"""The kind of action whose name tells a fact that has no kind of its own."""

_STATUSES = {
    "at_risk": TraffickingStatus.AT_RISK,
    "potential_victim": TraffickingStatus.POSSIBLE,
}
"""The status of the person that a fact says."""


def fact(name: str, words: Wording) -> str:
    """Return a fact of a case by the action that establishes it, else by its machine name."""
    if name in CASE_ACTIONS:
        return words.kind(name)
    if name in _KINDS_OF_FACTS:
        return words.kind(_KINDS_OF_FACTS[name])
    if name in _STATUSES:
        return words.picked(_STATUSES[name])
    head, _, scope = name.partition("_")
    if head == "consent" and scope in set(ConsentScope):
        return f"{words.kind('consent_given')}: {words.picked(ConsentScope(scope))}"
    if head == "refused" and scope in set(RefusalSubject):
        return f"{words.kind('refusal_recorded')}: {words.picked(RefusalSubject(scope))}"
    return words.kind(_OF_KINDS[name]) if name in _OF_KINDS else name


_PART = re.compile(r"(?P<head>[a-z_]+)(?: (?P<what>[^()]+?))?(?: \((?P<more>.*)\))?")
"""The name of a part with a mark: ``expected risk_assessed (case_opened)``, ``quorum``."""
_WITHOUT_MORE = frozenset({"withdrawal", "accountability", "person_record", "quorum"})


def part(name: str, words: Wording) -> str:
    """Return the name of a part of the text that has a mark, in words."""
    found = _PART.fullmatch(name)
    if found is None:
        return name
    head, what, more = found["head"], found["what"] or "", found["more"] or ""
    if head in _WITHOUT_MORE:
        return words.text(f"part.{head}")
    after = f" ({_each(more, lambda one: fact(one, words))})" if more else ""
    match head:
        case "expected":
            return words.text("part.expected", what=words.kind(what) + after)
        case "duties":
            return words.text("part.duties", what=_each(what, words.role) + after)
        case "conditions":
            return words.text("part.conditions", what=what)
        case "actions":
            narrower = f" ({_of_rule(what, more, words)})" if more else ""
            return words.text("part.actions", what=words.kind(what) + narrower)
        case "agencies":
            return words.agency_name(what)
        case "reflection":
            return words.text("part.reflection", what=_countries(more, words))
        case "retention":
            reasons = _each(more, lambda one: words.picked(ClosureReason(one))) if more else "—"
            return words.text("part.retention", what=reasons)
        case "approvals":
            return words.text("part.approvals", what=_each(what, words.kind))
        case "shelter_exits":
            return words.text("part.shelter_exits", what=words.country(what))
        case "forms":
            return words.text("part.periods" if more else "part.forms", what=what)
    return name


def _of_rule(kind: str, more: str, words: Wording) -> str:
    """Return the parties of bodies, or the values of a field, for which a rule has a part."""
    field, colon, values = more.partition(": ")
    if not colon:
        return _countries(more, words)
    told = _value_told({"kind": kind, "field": field, "values": values}, words)
    return f"{told['field']}: {told['values']}"


def _countries(codes: str, words: Wording) -> str:
    return "—" if codes in ("", "-") else _each(codes, words.country)


def _value_told(values: Mapping[str, str], words: Wording) -> Mapping[str, str]:
    """Return a field, the action that has it, and its values in words."""
    kind, field = values["kind"], values["field"]
    flags = {"True": True, "False": False}
    told = (flags.get(one, one) for one in values["values"].split(", "))
    return {
        "kind": words.kind(kind),
        "field": words.field(field),
        "values": ", ".join(text for one in told for text in words.value(kind, field, one, {})),
    }


_SAYING: Mapping[str, Callable[[str, Wording], str]] = {
    "role": lambda value, words: words.role(value),
    "roles": lambda value, words: _each(value, words.role),
    "by": lambda value, words: words.role(value),
    "action": lambda value, words: words.kind(value),
    "fact": fact,
    "part": part,
    "party": lambda value, words: words.country(value),
    "parties": lambda value, words: _each(value, words.country),
    "group": lambda value, words: words.picked(FieldGroup(value)),
    "operation": lambda value, words: words.picked(Operation(value)),
    "key_change": lambda value, words: words.picked(KeyChange(value)),
    "requires": lambda value, words: _each(value, lambda one: fact(one, words)),
    "forbidden": lambda value, words: _each(value, lambda one: fact(one, words)),
    "facts": lambda value, words: _each(value, lambda one: fact(one, words)),
    "levels": lambda value, words: _each(value, lambda one: words.picked(RiskLevel(one))),
    "reasons": lambda value, words: _each(value, lambda r: words.picked(ClosureReason(r))),
}
"""How the values of each name are said; others are said as they are."""
_OF_FACTS = {"expected", "deadline", "duty"}
"""Changes whose value ``after`` names facts."""
_OF_MARKS = {"standing", "standing_kept", "assumed_now"}
"""Changes whose values ``before`` and ``after`` are marks."""


def _told(change: str, name: str, value: str, words: Wording) -> str:
    if value in ("", "-"):
        return "—"
    if name == "after" and change.partition("_")[0] in _OF_FACTS:
        return _each(value, lambda one: fact(one, words))
    if change in _OF_MARKS and name in ("before", "after"):
        return words.picked(Standing(value))
    if change == "agency_role" and name in ("before", "after"):
        return words.role(value)
    if change == "status":
        return words.picked(CaseStatus(value))
    say = _SAYING.get(name)
    return value if say is None else say(value, words)


def _each(value: str, say: Callable[[str], str]) -> str:
    return ", ".join(say(one) for one in value.split(", "))
