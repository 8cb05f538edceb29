"""Hypothesis strategies for case actions, derived from the models' own declarations.

Every ``case`` or ``personal`` value that is free text, a telephone number, an amount or a
date can be recognised wherever it turns up; see :func:`markers` and :func:`found_in`.
"""

import json
import re
import secrets
from base64 import b64encode
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache, partial
from itertools import product
from types import MappingProxyType, NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel
from pydantic.fields import FieldInfo

from ledger.events.act import Act
from ledger.procedure import condition_checks
from ledger.procedure.case_fold import annulled_ids
from ledger.procedure.case_state import CaseState
from ledger.procedure.legal_basis import release_bases
from ledger.procedure.protocol import COORDINATOR, ActionRule, Operation, Protocol
from ledger.procedure.retention import retention_over, retention_rule
from ledger.refusals import Refusal
from ledger.vocabulary import CASE_ACTIONS, Action
from ledger.vocabulary.coordination import Correction
from ledger.vocabulary.documents import DOCUMENT_FIELDS, CaseDocument, DocumentAdded
from ledger.vocabulary.indicators import (
    IndicatorList,
    IndicatorsAssessed,
    OperationalIndicator,
)
from ledger.vocabulary.iso_codes import COUNTRIES, LANGUAGES
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import (
    AgeGroup,
    AgeMethod,
    ClosureReason,
    ConsentScope,
    CorrectionEffect,
    DateDoubt,
    LegalBasis,
    StatementGround,
    TraffickingStatus,
)
from ledger.vocabulary.types import AgencyId, Country, Language
from tests.support.counterparts import (
    ACCEPTANCE,
    CONTINUING,
    ENDED,
    OPENED,
    PROPOSAL,
    UNDOING,
    proposer,
)

_SECRET_DATES = st.dates(date(2900, 1, 1), date(2950, 12, 31))
_RECOGNISABLE = re.compile(r"zq[0-9a-f]{16}|999\d{12}|777\d{9}|29[0-5]\d-\d\d-\d\d")
_TAILS = st.sampled_from(
    (
        "",
        " in Nikšić, pranë Pejës",
        " \"quoted\" \\ '%s' {0} $1",
        "\n<script>alert(1)</script>",
        "~e30.e30.~",
        " \N{RIGHT-TO-LEFT MARK}\N{PILE OF POO}.",
    )
)
_TAILS_OF_NAMES = st.sampled_from(
    (
        "",
        " in Nikšić, pranë Pejës",
        " \"quoted\" \\ '%s' {0} $1",
        "<script>alert(1)</script>",
        "~e30.e30.~",
        " \N{ARABIC LETTER MEEM}\N{ZERO WIDTH NON-JOINER}\N{ARABIC LETTER MEEM} \N{PILE OF POO}.",
    )
)
_LONGEST_NAME = 200
_NOBODY = UUID(int=0)
_ISO_COUNTRIES: st.SearchStrategy[str] = st.sampled_from(sorted(COUNTRIES))
_ISO_LANGUAGES: st.SearchStrategy[str] = st.sampled_from(sorted(LANGUAGES))
_PRESENT = st.sampled_from((False, True, True))
_STRAY = st.sampled_from((False,) * 7 + (True,))
_UNKNOWN_AGENCY = "xk-unheard-of"


def markers(action: Action) -> frozenset[str]:
    """The recognisable parts of the action's ``case`` and ``personal`` values."""
    claims = json.dumps(action.disclosable_claims(), ensure_ascii=False)
    return frozenset(_RECOGNISABLE.findall(claims))


def found_in(marks: Iterable[str], content: str | bytes) -> frozenset[str]:
    """Those of ``marks`` that occur in ``content``: plainly, in base64 or base64url, or as
    hexadecimal digits of either, as a dump shows a ``bytea``.
    """
    text = content if isinstance(content, str) else content.decode("latin-1")
    return frozenset(mark for mark in marks if any(form in text for form in _forms(mark)))


def _forms(mark: str) -> Iterator[str]:
    # The characters of marks are such that base64 and base64url encode them alike.
    for form in (mark, *(inside_base64(mark.encode("ascii"), shift) for shift in range(3))):
        yield form
        yield form.encode("ascii").hex()


def inside_base64(content: bytes, shift: int) -> str:
    """The base64 digits that tell nothing but ``content`` where it begins at ``shift``."""
    encoded = b64encode(bytes(shift) + content).decode("ascii")
    return encoded[-(-8 * shift // 6) : 8 * (shift + len(content)) // 6]


@st.composite
def actions(
    draw: st.DrawFn,
    kind: str,
    *,
    agency_ids: Sequence[str],
    party_codes: Collection[str],
    known_actions: Sequence[UUID],
    acted_at: datetime,
    fixed: Mapping[str, Any] = MappingProxyType({}),
) -> Action:
    """A valid action of ``kind``. ``fixed`` gives the values of some fields beforehand."""
    model = CASE_ACTIONS[kind]
    makes = _Maker(draw, tuple(agency_ids), sorted(party_codes), known_actions, acted_at)
    values = {"acted_at": acted_at, **fixed}
    # A document is uploaded first: an action that is drawn has none, but for `document_added`.
    values = dict.fromkeys(set(DOCUMENT_FIELDS) & set(model.model_fields)) | values
    if model is DocumentAdded:  # it has one document, in one of its fields
        chosen = draw(_one_of(DOCUMENT_FIELDS))
        values |= {chosen: makes.value(CaseDocument, secret=True), "signs": None}
        values |= {"redacts": None, "pages_left_out": None}
        values |= {"pages_marked": None, "pages_of_original": None, "paper_as_of": None}
    if model is IndicatorsAssessed:
        listed = draw(_one_of(IndicatorList))
        values["indicator_list"] = listed
        if listed is IndicatorList.NONE_FITS:
            values["observed"] = None
        else:
            values["observed"] = (draw(_one_of(OperationalIndicator)),)
    for name, (annotation, secret) in _fields(model).items():
        if name not in values:
            own = makes.of_person(name, values)
            values[name] = makes.value(annotation, secret=secret) if own is None else own()
    return model.model_validate(values)


@cache
def _fields(model: type[Action]) -> Mapping[str, tuple[Any, bool]]:
    """Each field's annotation as declared, and whether its value is to be recognisable."""
    hints = get_type_hints(model, include_extras=True)
    disclosable = model.disclosable_fields()
    return {name: (hints[name], name in disclosable) for name in model.model_fields}


_BOUNDS = (
    "pattern",
    "min_length",
    "max_length",
    "ge",
    "gt",
    "le",
    "lt",
    "decimal_places",
)


@cache
def _constraints(annotation: Any) -> tuple[Any, tuple[Any, ...], Mapping[str, Any]]:
    """The bare annotation, what it is annotated with, and the bounds which that sets."""
    if get_origin(annotation) is not Annotated:
        return annotation, (), {}
    bare, *metadata = get_args(annotation)
    items = [
        part
        for item in metadata
        for part in (item.metadata if isinstance(item, FieldInfo) else (item,))
    ]
    bounds = {
        name: value
        for item in items
        for name in _BOUNDS
        if (value := getattr(item, name, None)) is not None
    }
    return bare, tuple(items), bounds


@cache
def _one_of(options: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    return st.sampled_from(options)


@cache
def _matching(pattern: str) -> st.SearchStrategy[str]:
    """Texts of a pattern. To make this strategy takes longer than to draw from it."""
    return st.from_regex(pattern, fullmatch=True)


@dataclass(frozen=True, slots=True)
class _Maker:
    """Draws the values of one action's fields."""

    draw: st.DrawFn
    agency_ids: tuple[str, ...]
    party_codes: Sequence[str]
    known_actions: Sequence[UUID]
    acted_at: datetime

    def of_person(self, name: str, values: Mapping[str, Any]) -> Callable[[], Any] | None:
        """Return the strategy of a field that must fit the person's other dates."""
        year = self.acted_at.year
        is_adult = values.get("age_group") is AgeGroup.ADULT
        age = st.integers(20, 60) if is_adult else st.integers(1, 15)
        match name:
            case "birthdate":
                return lambda: self._some(age.map(lambda years: date(year - years, 6, 1)))
            case "birth_year":
                return lambda: self._some(age.map(lambda years: year - years))
            case "age_from" | "age_to":
                lowest, highest = (20, 60) if is_adult else (5, 15)
                return lambda: self._some(st.just(lowest if name == "age_from" else highest))
            case "of_age_from":
                quarters = st.integers(1, 10).map(lambda years: date(year + years, 4, 1))
                return lambda: None if is_adult else self._some(quarters)
            case "confirmed":
                return lambda: tuple(DateDoubt)
        return None

    def _some(self, values: st.SearchStrategy[Any]) -> Any:
        return self.draw(values) if self.draw(_PRESENT) else None

    def value(self, annotation: Any, *, secret: bool) -> Any:
        """A value for ``annotation``; a recognisable one where it is ``secret``."""
        bare, metadata, bounds = _constraints(annotation)
        origin = get_origin(bare)
        if origin in (Union, UnionType):
            return self._optional(get_args(bare), secret)
        if origin is Literal:
            return self.draw(_one_of(get_args(bare)))
        if origin is tuple:
            return self._tuple(get_args(bare), bounds, secret)
        if bare is str:
            return self._string(metadata, bounds, secret)
        if bare is bool:
            return self.draw(st.booleans())
        if bare is int:
            return self._integer(bounds)
        if bare is Decimal:
            return self._decimal(bounds, secret)
        if bare is date:
            return self._date(secret)
        if bare in (datetime, AwareDatetime):
            moment = datetime.combine(self._date(secret), time(10), UTC)
            return moment + timedelta(microseconds=self.draw(st.sampled_from((0, 1, 500_000))))
        if bare is UUID:
            if self.known_actions and not self.draw(_STRAY):
                return self.draw(st.sampled_from(self.known_actions))
            return self.draw(st.uuids())
        if isinstance(bare, type) and issubclass(bare, Enum):
            return self.draw(_one_of(tuple(bare)))
        if isinstance(bare, type) and issubclass(bare, BaseModel):
            hints = get_type_hints(bare, include_extras=True)
            return {n: self.value(hints[n], secret=secret) for n in bare.model_fields}
        raise TypeError(f"no strategy for values of {bare!r}")

    def _optional(self, options: tuple[Any, ...], secret: bool) -> Any:
        some = [option for option in options if option is not NoneType]
        if len(some) < len(options) and not self.draw(_PRESENT):
            return None
        chosen = some[0] if len(some) == 1 else self.draw(st.sampled_from(some))
        return self.value(chosen, secret=secret)

    def _tuple(self, of: tuple[Any, ...], bounds: Mapping[str, Any], secret: bool) -> Any:
        if len(of) != 2 or of[1] is not Ellipsis:
            return tuple(self.value(item, secret=secret) for item in of)
        least = bounds.get("min_length", 0)
        most = min(bounds.get("max_length", least + 3), least + 3)
        length = self.draw(st.integers(least, most))
        return tuple(self.value(of[0], secret=secret) for _ in range(length))

    def _string(self, metadata: tuple[Any, ...], bounds: Mapping[str, Any], secret: bool) -> str:
        if _is(AgencyId, metadata):
            return self.draw(st.sampled_from(self.agency_ids))
        if _is(Country, metadata):
            stray = self.draw(_STRAY)
            codes = _ISO_COUNTRIES if stray else st.sampled_from(self.party_codes)
            return self.draw(codes)
        if _is(Language, metadata):
            return self.draw(_ISO_LANGUAGES)
        if secret:
            return self._marked(bounds)
        if "pattern" in bounds:
            return self.draw(_matching(bounds["pattern"]))
        raise TypeError("a ledger field would carry free text")

    def _marked(self, bounds: Mapping[str, Any]) -> str:
        pattern, most = bounds.get("pattern"), bounds.get("max_length", 4000)
        word = f"zq{secrets.token_hex(8)}"
        marks = (
            word,
            secrets.token_hex(32),
            f"+999{_digits(12)}",
            f"999{_digits(12)}",
            f"{word}@example.org",
        )
        for mark in marks:
            if len(mark) > most or (pattern and not re.search(pattern, mark)):
                continue
            tails = _TAILS if most > _LONGEST_NAME else _TAILS_OF_NAMES
            tail = "" if pattern else self.draw(tails)
            return mark + tail if len(mark + tail) <= most else mark
        raise TypeError(f"no recognisable text within {dict(bounds)}; give markers another form")

    def _integer(self, bounds: Mapping[str, Any]) -> int:
        least = bounds.get("ge", bounds["gt"] + 1 if "gt" in bounds else None)
        most = bounds.get("le", bounds["lt"] - 1 if "lt" in bounds else None)
        return self.draw(st.integers(least, most))

    def _decimal(self, bounds: Mapping[str, Any], secret: bool) -> Decimal:
        places = bounds.get("decimal_places", 2)
        if secret and not {"le", "lt"} & bounds.keys():
            fraction = self.draw(st.integers(0, 10**places - 1))
            return Decimal(f"777{_digits(9)}") + Decimal(fraction).scaleb(-places)
        least, most = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
        return self.draw(
            st.decimals(least, most, places=places, allow_nan=False, allow_infinity=False).filter(
                lambda d: d not in (bounds.get("gt"), bounds.get("lt"))
            )
        )

    def _date(self, secret: bool) -> date:
        if secret:
            return self.draw(_SECRET_DATES)
        return self.acted_at.date() + timedelta(days=self.draw(st.integers(0, 250)))


def _is(alias: Any, metadata: tuple[Any, ...]) -> bool:
    """Return whether a field is of the type ``alias``, by the alias's first annotation."""
    return get_args(alias)[1] in metadata


def _digits(number: int) -> str:
    return str(secrets.randbelow(10**number)).zfill(number)


Fixed: TypeAlias = Mapping[str, Any]
Choice: TypeAlias = tuple[Sequence[str], Fixed]
"""Agencies that may take an action now, with the values of fields that make it valid."""
AllChoices: TypeAlias = Callable[[], Sequence[Choice]]
"""Returns all choices of a kind: to find them takes long, and most kinds are not taken."""


@st.composite
def proposals(
    draw: st.DrawFn,
    state: CaseState | None,
    protocol: Protocol,
    known_actions: Sequence[UUID],
    acted_at: datetime,
    signed: Mapping[UUID, tuple[str, Sequence[str]]] = MappingProxyType({}),
    wanted: Collection[str] = (),
    annulled: Mapping[UUID, str] = MappingProxyType({}),
    history: Mapping[UUID, Act] = MappingProxyType({}),
) -> tuple[str, Action]:
    """An agency of ``protocol`` and what it proposes in a case that is in ``state``.

    ``signed`` has the country and the digests of the case's actions, which it may release.
    Kinds in ``wanted`` are taken more often. ``annulled`` has the agencies of annulled actions that
    disclosed something.
    Six in ten are meant to be valid, two are valid but for the agency, two are arbitrary.
    """
    agency_ids = [agency.id for agency in protocol.agencies]
    intent = draw(st.sampled_from(("valid",) * 6 + ("another agency",) * 2 + ("arbitrary",) * 2))
    possible: Mapping[str, AllChoices] = {}
    if intent != "arbitrary":
        possible = _possible(state, protocol, acted_at, signed, annulled, history)
    fixed: Fixed = {}
    if not possible:
        kind = draw(_one_of(tuple(CASE_ACTIONS)))
        agency = draw(st.sampled_from(agency_ids))
        agency_ids.append(_UNKNOWN_AGENCY)
    else:
        weights = [
            (kind, weight * (40 if kind in wanted else 1))
            for kind, weight in _weights(possible, state, protocol)
        ]
        kind = draw(st.sampled_from([kind for kind, weight in weights for _ in range(weight)]))
        able, fixed = draw(st.sampled_from(possible[kind]()))
        agency = draw(st.sampled_from(able if intent == "valid" else agency_ids))
    action = draw(
        actions(
            kind,
            agency_ids=agency_ids,
            party_codes=protocol.party_codes,
            known_actions=known_actions,
            acted_at=acted_at,
            fixed=fixed,
        )
    )
    if isinstance(action, Correction) and state is not None and action.corrects == state.opening:
        # A case whose opening is annulled is at its end: that has tests of its own.
        action = action.model_copy(update={"effect": CorrectionEffect.CLARIFIED})
    return agency, action


def _weights(
    kinds: Iterable[str], state: CaseState | None, protocol: Protocol
) -> Iterator[tuple[str, int]]:
    """Return how often to take each of ``kinds``, so that a walk goes forward: undoing is rare,
    new facts are frequent, and what is possible late in the procedure comes first.
    """
    places = _places_in(protocol)
    for kind in kinds:
        place = places[kind]
        if kind == "correction":  # hardest on the rules while a return is under way
            yield kind, 40 if state and state.planned_return else 4
        elif kind in _UNDOING or kind in _ASIDE:
            yield kind, 2
        elif kind in _ERASING:  # seldom possible, and then before the case is opened again
            yield kind, 60
        elif kind in _REFERRING:
            yield kind, 12
        elif state and any(fact not in state.facts for fact in place.facts):
            yield kind, 4 * min(place.steps, 5) ** 2
        else:
            yield kind, 4 if place.facts else 4 * place.steps


def _required(rule: ActionRule) -> tuple[str, ...]:
    return (*rule.requires, *rule.requires_for_child, *rule.requires_one_of[:1])


@dataclass(frozen=True, slots=True)
class _Place:
    """The place of a kind of action in the procedure."""

    steps: int
    """How many steps from the opening."""
    facts: tuple[str, ...]
    """What it establishes; of facts with a pattern, those that another kind requires."""


_KNOWN_PLACES: dict[int, tuple[Protocol, dict[str, _Place]]] = {}
"""The places by the ``id`` of a protocol, which is kept so that the ``id`` stays its own."""


def _places_in(protocol: Protocol) -> dict[str, _Place]:
    if (known := _KNOWN_PLACES.get(id(protocol))) is None:
        rules = tuple((k, _required(r), r.may_establish) for k, r in protocol.actions.items())
        known = _KNOWN_PLACES[id(protocol)] = protocol, _places(rules)
    return known[1]


@cache
def _places(rules: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]) -> dict[str, _Place]:
    """The place of each kind, given what it requires and establishes."""
    needed = dict.fromkeys(fact for _, required, _ in rules for fact in required)
    facts = {
        kind: {p for p in patterns if "{" not in p}
        | {f for f in needed if any(_covers(p, f) for p in patterns)}
        for kind, _, patterns in rules
    }
    steps = {kind: 1 for kind, _, _ in rules}
    for _ in rules:
        for kind, required, _ in rules:
            before = [steps[k] for k in steps if k != kind and facts[k] & {*required}]
            steps[kind] = min(1 + max(before, default=0), len(rules))
    return {kind: _Place(steps[kind], tuple(sorted(facts[kind]))) for kind in steps}


def _covers(pattern: str, fact: str) -> bool:
    head, brace, _ = pattern.partition("{")
    return fact.startswith(head) if brace else fact == pattern


def _possible(
    state: CaseState | None,
    protocol: Protocol,
    acted_at: datetime,
    signed: Mapping[UUID, tuple[str, Sequence[str]]],
    annulled: Mapping[UUID, str],
    history: Mapping[UUID, Act],
) -> Mapping[str, AllChoices]:
    """The kinds of action that the procedure allows now, each with its choices."""
    by_role: dict[str, list[str]] = {}
    for agency in protocol.agencies:
        if state is None or agency.party in state.parties:
            by_role.setdefault(agency.role, []).append(agency.id)
    possible: dict[str, AllChoices] = {}
    for kind, rule in protocol.actions.items():
        if (state is None) != (kind == "case_opened"):
            continue
        if state is not None and not _holds(rule, state, acted_at):
            continue
        if state is not None and state.is_erased and kind not in _AFTER_ERASURE:
            continue
        if state is not None and state.merged_into is not None and kind not in _AFTER_MERGE:
            continue
        able = [agency for role in rule.roles for agency in by_role.get(role, ())]
        held = partial(
            _held, kind, rule, able, state, protocol, acted_at, signed, annulled, history
        )
        if any(any(agencies) for agencies, _ in held()):
            possible[kind] = partial(_with_agencies, held)
    return possible


def _with_agencies(held: Callable[[], Iterable[tuple[Iterable[str], Fixed]]]) -> Sequence[Choice]:
    listed = [([*agencies], fixed) for agencies, fixed in held()]
    return [(agencies, fixed) for agencies, fixed in listed if agencies]


def _held(
    kind: str,
    rule: ActionRule,
    able: Sequence[str],
    state: CaseState | None,
    protocol: Protocol,
    acted_at: datetime,
    signed: Mapping[UUID, tuple[str, Sequence[str]]],
    annulled: Mapping[UUID, str],
    history: Mapping[UUID, Act],
) -> Iterable[tuple[Iterable[str], Fixed]]:
    """The choices of a kind that its rule allows; agencies are looked for as they are taken."""
    if state is None:
        choices = _openings(able, protocol)
    elif kind == "information_released":
        choices = _released(able, state, protocol, acted_at, signed)
    elif kind == "destruction_proposed":
        choices = _destruction_proposed(able, state, protocol, annulled)
    elif kind == "break_glass_opened":
        choices = _break_glass_opened(able, protocol, acted_at)
    else:
        choices = _choices(kind, able, state, protocol, history)
    return _held_to_rules(kind, rule, choices, state, protocol, acted_at, history)


def _choices(
    kind: str,
    able: Sequence[str],
    state: CaseState,
    protocol: Protocol,
    history: Mapping[UUID, Act],
) -> Iterable[Choice]:
    """The choices of a kind in an open case; of some, by the case's earlier actions."""
    own = {"decision_confirmed": ("proposal", "decision_proposed"),
           "outcome_overridden": ("overrides", "risk_assessed")}  # fmt: skip
    if kind not in own:
        return _CHOICES.get(kind, _anyone)(able, state, protocol)
    field, named = own[kind]
    annulled = annulled_ids(history.values())
    acts = [one for one in history.values() if one.kind == named and one.id not in annulled]
    more: Sequence[Fixed] = (
        [{"destination": party} for party in sorted(protocol.party_codes)]
        if kind == "outcome_overridden"
        else [{}]
    )
    return [
        (
            [a for a in able if protocol.agencies_by_id[a].party != fixed.get("destination")],
            {field: one.id, **fixed},
        )
        for one in acts[-2:]
        for fixed in more
    ]


def _held_to_rules(
    kind: str,
    rule: ActionRule,
    choices: Iterable[Choice],
    state: CaseState | None,
    protocol: Protocol,
    acted_at: datetime,
    history: Mapping[UUID, Act],
) -> Iterable[tuple[Iterable[str], Fixed]]:
    """The agencies that the parties, bodies and conditions of the rule let decide, with the values
    that conditions ask for."""
    if state is None or not _is_restricted(kind, rule):
        for agencies, fixed in choices:
            yield agencies, {**_WANTED.get(kind, {}), **fixed}
        return
    own = {
        c.field: c.values
        for c in (protocol.conditions[name] for name in protocol.conditions_of(rule))
        if c.fact is None and (c.persons is None or state.is_child is (c.persons == "children"))
    }
    wanted: dict[str, Any] = {**_WANTED.get(kind, {}), **{f: v[0] for f, v in own.items()}}
    model = CASE_ACTIONS[kind]
    for agencies, fixed in choices:
        values = {**wanted, **fixed}
        said = model.model_construct(**{"scopes": (), **values}).model_dump(
            mode="json", warnings=False, include={*values, "scopes"} & {*model.model_fields}
        )
        plain = {**said, **_plain(fixed)}
        able = (
            agency
            for agency in agencies
            if _may(kind, rule, agency, plain, state, protocol, acted_at, history)
        )
        yield able, values


def _is_restricted(kind: str, rule: ActionRule) -> bool:
    return kind in ("decision_confirmed", "decision_proposed") or any(
        (
            rule.by,
            rule.conditions,
            rule.party_named_in,
            rule.not_party_named_in,
            rule.party_that_established,
            rule.waits_for_reflection_unless,
        )
    )


def _plain(fixed: Fixed) -> dict[str, Any]:
    return {name: str(value) for name, value in fixed.items() if isinstance(value, UUID)}


def _may(
    kind: str,
    rule: ActionRule,
    agency_id: str,
    fields: Mapping[str, Any],
    state: CaseState,
    protocol: Protocol,
    acted_at: datetime,
    history: Mapping[UUID, Act],
) -> bool:
    agency = protocol.agencies_by_id[agency_id]
    act = Act(
        _NOBODY, kind, state.case_id, state.version + 1, 0, agency_id, acted_at, acted_at, fields,
        "k", frozenset(),
    )  # fmt: skip
    try:
        condition_checks.check_party(act, agency, rule, state, protocol)
        condition_checks.check_named_party(kind, agency, rule, state, history)
        condition_checks.check_bodies(act, agency, rule, state, history, protocol)
        condition_checks.check_conditions(act, rule, state, history, protocol)
        condition_checks.check_reflection(act, rule, state, protocol)
        if kind == "decision_confirmed":
            condition_checks.check_confirmed(act, agency, state, history, protocol)
        if kind == "decision_proposed":
            condition_checks.check_proposed(act, agency, state, protocol)
    except Refusal:
        return False
    return True


_WANTED: Mapping[str, Fixed] = {
    "best_interests_assessed": {"outcome": "return_to_family", "child_heard": True},
    "risk_assessed": {"risk_level": "low"},
    "family_traced": {"outcome": "found_and_safe"},
    "family_assessed": {"suitable": True},
    "reintegration_monitored": {"finding": "progressing"},
    "victim_identified": {"status": "PossibleVictimOfTrafficking"},
    "decision_proposed": {
        "decision": "victim_identified",
        "status": "PossibleVictimOfTrafficking",
    },
}
"""Outcomes with which a return goes on."""


def _holds(rule: ActionRule, state: CaseState, acted_at: datetime) -> bool:
    required = (
        *rule.requires,
        *(rule.requires_for_child if state.is_child else rule.requires_for_adult),
    )
    return (
        (rule.on_closed_case or not state.is_closed)
        and all(f in state.facts and state.facts[f].since <= acted_at for f in required)
        and not any(state.lacks_safeguard(state.facts[f].action) for f in required)
        and not any(f in state.facts for f in rule.forbidden_while)
        and (
            not rule.requires_one_of
            or any(
                f in state.facts and state.facts[f].since <= acted_at for f in rule.requires_one_of
            )
        )
    )


def _openings(able: Sequence[str], protocol: Protocol) -> Iterable[Choice]:
    codes = sorted(protocol.party_codes)
    # One opening in four is of a person at risk, whose path is shorter.
    statuses: tuple[TraffickingStatus | None, ...] = (None, None, None)
    if protocol.actions["case_opened"].where:
        statuses = (*statuses, TraffickingStatus.AT_RISK)
    return [
        (able, {"countries": countries, "protected_as": status})
        for countries in (*((c,) for c in codes), codes)
        for status in statuses
    ]


def _anyone(able: Sequence[str], _: CaseState, __: Protocol) -> Iterable[Choice]:
    return [(able, {})]


def _of(party: str, able: Sequence[str], protocol: Protocol) -> Sequence[str]:
    return [a for a in able if protocol.agencies_by_id[a].party == party]


def _or_its_coordinator(agency: str, able: Sequence[str], protocol: Protocol) -> Sequence[str]:
    same_country = _of(protocol.agencies_by_id[agency].party, able, protocol)
    return [
        a for a in same_country if a == agency or protocol.agencies_by_id[a].role == COORDINATOR
    ]


def _in_force(field: str, part: str) -> Callable[..., Iterable[Choice]]:
    """Ending a service or measure that is in force, by the country that gives it."""

    def choices(able: Sequence[str], state: CaseState, protocol: Protocol) -> Iterable[Choice]:
        return [
            (_of(given.party, able, protocol), {field: action})
            for action, given in getattr(state, part).items()
        ]

    return choices


def _shelter_left(able: Sequence[str], state: CaseState, protocol: Protocol) -> Iterable[Choice]:
    return [(_of(state.shelter.party, able, protocol) if state.shelter else able, {})]


def _requested(able: Sequence[str], _: CaseState, protocol: Protocol) -> Iterable[Choice]:
    for other in protocol.agencies:
        others = [a for a in able if a != other.id]
        for groups, basis in ((None, None), ((FieldGroup.IDENTITY,), LegalBasis.CONSENT)):
            yield others, {"addressee": other.id, "groups": groups, "basis": basis}


def _answered(able: Sequence[str], state: CaseState, protocol: Protocol) -> Iterable[Choice]:
    return [
        (_or_its_coordinator(asked.addressee, able, protocol), {"request": action})
        for action, asked in state.open_requests.items()
    ]


def _acknowledged(able: Sequence[str], state: CaseState, protocol: Protocol) -> Iterable[Choice]:
    return [
        (agencies, fixed)
        for agencies, fixed in _answered(able, state, protocol)
        if not state.open_requests[fixed["request"]].acknowledged
    ]


def _form_sent(able: Sequence[str], state: CaseState, protocol: Protocol) -> Iterable[Choice]:
    """The forms that the opening of the case alone fills."""
    opening = state.facts["case_opened"]
    for form in protocol.forms or ():
        if [part.action for part in form.parts if part.required] != ["case_opened"]:
            continue
        senders = [
            agency
            for agency in _of(opening.party, able, protocol)
            if protocol.agencies_by_id[agency].role in form.roles
        ]
        for to in protocol.agencies:
            if to.role in form.recipients and to.party != opening.party:
                named = {"form_number": form.number, "addressee": to.id, "answers": None}
                yield senders, {**named, "actions": (opening.action,)}


def _form_acknowledged(
    able: Sequence[str], state: CaseState, protocol: Protocol
) -> Iterable[Choice]:
    return [
        (_or_its_coordinator(sent.addressee, able, protocol), {"sent": action})
        for action, sent in state.forms.items()
        if not sent.acknowledged
    ]


def _met(able: Sequence[str], state: CaseState, protocol: Protocol) -> Iterable[Choice]:
    for party in state.parties:
        for countries in ((party,), state.parties):
            agencies = _of(party, able, protocol)
            yield agencies, {"host": party, "countries": countries}


def _reported(able: Sequence[str], state: CaseState, _: Protocol) -> Iterable[Choice]:
    return [
        ([a for a in able if a in agreed.responsible], {"agreed_action": action})
        for action, agreed in state.joint_actions.items()
    ]


def _lead_offered(able: Sequence[str], state: CaseState, protocol: Protocol) -> Iterable[Choice]:
    offering = _or_its_coordinator(state.lead_agency, able, protocol)
    takers = protocol.actions["lead_transfer_accepted"].roles
    return [
        (offering, {"to_agency": agency.id})
        for agency in protocol.agencies
        if agency.role in takers and agency.id != state.lead_agency
    ]


def _lead_accepted(able: Sequence[str], state: CaseState, _: Protocol) -> Iterable[Choice]:
    offer = state.lead_offer
    return [([a for a in able if a == offer.to], {"offer": offer.offer})] if offer else []


def _return_decided(able: Sequence[str], state: CaseState, protocol: Protocol) -> Iterable[Choice]:
    accepted = state.facts.get("return_accepted")
    return [
        (able, {"destination": agency.party, "receiving_agency": agency.id})
        for agency in protocol.agencies
        if state.parties != (agency.party,) and (accepted is None or accepted.party == agency.party)
    ]


def _return_requested(able: Sequence[str], _: CaseState, protocol: Protocol) -> Iterable[Choice]:
    for party in sorted(protocol.party_codes):
        others = [a for a in able if protocol.agencies_by_id[a].party != party]
        yield others, {"destination": party}


def _return_accepted(able: Sequence[str], _: CaseState, __: Protocol) -> Iterable[Choice]:
    return [([a], {"receiving_agency": a}) for a in able]


def _to_another(able: Sequence[str], _: CaseState, protocol: Protocol) -> Iterable[Choice]:
    for agency in protocol.agencies:
        others = [a for a in able if protocol.agencies_by_id[a].party != agency.party]
        yield others, {"country": agency.party}


def _referred(able: Sequence[str], _: CaseState, protocol: Protocol) -> Iterable[Choice]:
    return [(able, {"country": a.party, "referred_to": a.id}) for a in protocol.agencies]


def _of_fact(field: str, fact: str) -> Callable[..., Iterable[Choice]]:
    """Naming the action of a fact in force, by another party than the one that took it."""

    def choices(able: Sequence[str], state: CaseState, protocol: Protocol) -> Iterable[Choice]:
        in_force = state.facts.get(fact)
        if in_force is not None:
            own = set(_of(in_force.party, able, protocol))
            yield [a for a in able if a not in own], {field: in_force.action}

    return choices


def _handed_over(able: Sequence[str], state: CaseState, protocol: Protocol) -> Iterable[Choice]:
    for agencies, _ in _departed(able, state, protocol):
        yield agencies, {}


def _handover_confirmed(
    able: Sequence[str], state: CaseState, protocol: Protocol
) -> Iterable[Choice]:
    recorded = state.facts.get("handover_recorded")
    for agencies, _ in _received(able, state, protocol) if recorded else ():
        yield agencies, {"handover": recorded.action}


def _lead_declined(able: Sequence[str], state: CaseState, _: Protocol) -> Iterable[Choice]:
    offer = state.lead_offer
    return [([a for a in able if a == offer.to], {"offer": offer.offer})] if offer else []


def _departed(able: Sequence[str], state: CaseState, protocol: Protocol) -> Iterable[Choice]:
    planned = state.planned_return
    there = _of(planned.destination, able, protocol) if planned else ()
    return [([a for a in able if a not in there], {})]


def _received(able: Sequence[str], state: CaseState, protocol: Protocol) -> Iterable[Choice]:
    planned = state.planned_return
    return [(_of(planned.destination, able, protocol) if planned else able, {})]


def _corrected(able: Sequence[str], state: CaseState, protocol: Protocol) -> Iterable[Choice]:
    parties = {action: service.party for action, service in state.services.items()}
    parties |= {action: measure.party for action, measure in state.measures.items()}
    parties |= {fact.action: fact.party for fact in state.facts.values()}
    opening = state.facts["case_opened"].action
    latest = sorted(state.facts.values(), key=lambda fact: fact.since)[-4:]
    for action, party in (*parties.items(), *((fact.action, fact.party) for fact in latest)):
        coordinators = [
            a for a in _of(party, able, protocol) if protocol.agencies_by_id[a].role == COORDINATOR
        ]
        effect = "clarified" if action == opening else "annulled"
        yield coordinators, {"corrects": action}
        yield coordinators, {"corrects": action, "effect": effect}


def _closed(able: Sequence[str], state: CaseState, protocol: Protocol) -> Iterable[Choice]:
    there = _of(protocol.agencies_by_id[state.lead_agency].party, able, protocol)
    is_agreed = state.error_closing is not None and not state.error_closing.pending
    reasons = [r for r in ClosureReason if is_agreed or r is not ClosureReason.OPENED_IN_ERROR]
    return [(there, {"reason": reason}) for reason in reasons]


def _error_closing_proposed(
    able: Sequence[str], state: CaseState, protocol: Protocol
) -> Iterable[Choice]:
    if state.error_closing is None:
        yield _of(protocol.agencies_by_id[state.lead_agency].party, able, protocol), {}


def _error_closing_accepted(
    able: Sequence[str], state: CaseState, protocol: Protocol
) -> Iterable[Choice]:
    proposed = state.error_closing
    for party in proposed.pending if proposed else ():
        there = [a for a in _of(party, able, protocol) if proposed and a != proposed.by]
        yield there, {"proposal": proposed and proposed.proposal}


def _reopened(able: Sequence[str], state: CaseState, _: Protocol) -> Iterable[Choice]:
    return [(able, {})] if state.is_closed else []


def _consented(able: Sequence[str], state: CaseState, _: Protocol) -> Iterable[Choice]:
    whole: Fixed = {"recipients": state.parties, "scopes": tuple(ConsentScope)}
    apart = ((FieldGroup.IDENTITY, FieldGroup.HEALTH), (FieldGroup.WHEREABOUTS,))
    return [(able, {"groups": None}), *((able, {**whole, "groups": g}) for g in apart)]


def _consent_withdrawn(able: Sequence[str], state: CaseState, _: Protocol) -> Iterable[Choice]:
    return [
        (able, {"scopes": (scope,)}) for scope in ConsentScope if f"consent_{scope}" in state.facts
    ]


def _identity(able: Sequence[str], state: CaseState, protocol: Protocol) -> Iterable[Choice]:
    child: Fixed = {} if state.is_child else {"of_age_from": None}
    for ground in (StatementGround.LEARNED, StatementGround.ENTRY_ERROR):
        yield able, {**child, "ground": ground, "request": None}
    for agencies, fixed in _rectified(able, state, protocol):
        yield agencies, {**child, **fixed, "ground": StatementGround.RECTIFICATION}


def _age_assessed(able: Sequence[str], _: CaseState, __: Protocol) -> Iterable[Choice]:
    for group in AgeGroup:
        yield able, {"age_group": group, "method": AgeMethod.SOCIAL_ASSESSMENT}


def _rectified(able: Sequence[str], state: CaseState, protocol: Protocol) -> Iterable[Choice]:
    for request, asked in state.rectifications.items():
        yield _of(asked.party, able, protocol), {"request": request}


def _sharing_decided(able: Sequence[str], state: CaseState, _: Protocol) -> Iterable[Choice]:
    return [(able if state.is_child else [], {"groups": (FieldGroup.FAMILY, FieldGroup.CARE)})]


def _released(
    able: Sequence[str],
    state: CaseState,
    protocol: Protocol,
    acted_at: datetime,
    signed: Mapping[UUID, tuple[str, Sequence[str]]],
) -> Iterable[Choice]:
    """A digest of the country's own, on the first basis that holds; the field may be another."""
    for agency_id in able:
        agency = protocol.agencies_by_id[agency_id]
        digests = [(a, d) for a, (party, d) in signed.items() if party == agency.party and d]
        for group, recipient in product(FieldGroup, state.parties):
            if not digests or recipient == agency.party:
                continue
            if not protocol.allows(agency.role, Operation.RELEASE, group):
                continue
            for basis in release_bases(state, protocol, agency, recipient, group, acted_at):
                action, of_action = digests[-1]
                yield (
                    [agency_id],
                    {
                        "recipient": recipient,
                        "request": None,
                        "groups": (group,),
                        "basis": basis.kind,
                        "basis_action": basis.action,
                        "released": ({"action": action, "digests": (of_action[0],)},),
                    },
                )


def _break_glass_opened(
    able: Sequence[str], protocol: Protocol, acted_at: datetime
) -> Iterable[Choice]:
    by_role = {protocol.agencies_by_id[a].role: a for a in able}
    for role, agency in by_role.items():
        groups = protocol.access.get(role, {}).get(Operation.BREAK_GLASS, ())
        yield [agency], {"groups": groups, "until": acted_at + timedelta(hours=6)}


def _reviewed(able: Sequence[str], state: CaseState, protocol: Protocol) -> Iterable[Choice]:
    for opened, access in state.break_glass.items():
        actor = protocol.agencies_by_id[access.by].party
        for party in access.to_review:
            roles = protocol.reviewing_roles("break_glass_reviewed", party, actor)
            there = _of(party, able, protocol)
            able_there = [a for a in there if protocol.agencies_by_id[a].role in roles]
            yield able_there, {"access": opened}


def _of_erasable(
    choices: Callable[[Sequence[str], CaseState, Protocol], Iterable[Choice]],
) -> Callable[[Sequence[str], CaseState, Protocol], Iterable[Choice]]:
    def chosen(able: Sequence[str], state: CaseState, protocol: Protocol) -> Iterable[Choice]:
        return choices(able, state, protocol) if state.is_closed and not state.holds else []

    return chosen


def _retention_announced(
    able: Sequence[str], state: CaseState, protocol: Protocol
) -> Iterable[Choice]:
    rule, over = retention_rule(state, protocol), retention_over(state, protocol)
    if rule is None or over is None:
        return
    said = {"closed_at": state.closed_at, "kept_days": rule.days}
    for days in (31, 60):
        erase_from = over + timedelta(days=days)
        announced = state.retention
        if announced is None:
            yield able, {**said, "erase_from": erase_from}
        elif erase_from > announced.erase_from:
            coordinators = [a for a in able if protocol.agencies_by_id[a].role == COORDINATOR]
            yield coordinators, {**said, "erase_from": erase_from}


def _erasure_proposed(
    able: Sequence[str], state: CaseState, protocol: Protocol
) -> Iterable[Choice]:
    return [(_or_its_coordinator(state.lead_agency, able, protocol), {})]


def _erasure_approved(
    able: Sequence[str], state: CaseState, protocol: Protocol
) -> Iterable[Choice]:
    erasure = state.erasure
    if erasure is None or erasure.by is None:
        return
    actor = protocol.agencies_by_id[erasure.by].party
    for party in state.parties:
        roles = protocol.reviewing_roles("erasure_approved", party, actor)
        there = [a for a in _of(party, able, protocol) if protocol.agencies_by_id[a].role in roles]
        yield there, {"proposal": erasure.proposal}


def _erasure_confirmed(
    able: Sequence[str], state: CaseState, protocol: Protocol
) -> Iterable[Choice]:
    erasure = state.erasure
    for party in erasure.pending if erasure else ():
        yield _of(party, able, protocol), {"order": erasure.order}


def _destruction_proposed(
    able: Sequence[str], state: CaseState, protocol: Protocol, annulled: Mapping[UUID, str]
) -> Iterable[Choice]:
    ordered = {one.annulled for one in state.destructions.values() if one.order is not None}
    if state.holds:
        return
    for action, agency in annulled.items():
        if action not in ordered:
            yield _or_its_coordinator(agency, able, protocol), {"annulled": action}


def _destruction_approved(
    able: Sequence[str], state: CaseState, protocol: Protocol
) -> Iterable[Choice]:
    if state.holds:
        return
    for proposal, one in state.destructions.items():
        actor = protocol.agencies_by_id[one.by].party
        # Another country of the case approves, if there is one.
        deciding = [party for party in state.parties if party != actor] or state.parties
        for party in deciding if one.order is None else ():
            roles = protocol.reviewing_roles("destruction_approved", party, actor)
            there = _of(party, able, protocol)
            yield (
                [a for a in there if protocol.agencies_by_id[a].role in roles],
                {"proposal": proposal},
            )


def _destruction_confirmed(
    able: Sequence[str], state: CaseState, protocol: Protocol
) -> Iterable[Choice]:
    for one in state.destructions.values():
        for party in one.pending:
            yield _of(party, able, protocol), {"order": one.order}


def _linked(able: Sequence[str], state: CaseState, protocol: Protocol) -> Iterable[Choice]:
    return [(_of(party, able, protocol), {"told": (party,)}) for party in state.parties]


def _merge_proposed(able: Sequence[str], state: CaseState, protocol: Protocol) -> Iterable[Choice]:
    if state.merge_proposal is not None:
        return
    leading = _or_its_coordinator(state.lead_agency, able, protocol)
    own = protocol.agencies_by_id[state.lead_agency].party
    for to in protocol.agencies:
        if to.role in protocol.actions["merge_accepted"].roles:
            told = tuple(dict.fromkeys((own, to.party)))
            yield [a for a in leading if a != to.id], {"addressee": to.id, "told": told}


def _merge_accepted(able: Sequence[str], state: CaseState, protocol: Protocol) -> Iterable[Choice]:
    if state.merge_proposal is not None or state.taken_in:
        return
    party = protocol.agencies_by_id[proposer(state, protocol)].party
    fixed = {"ended_case": ENDED, "proposal": PROPOSAL, "countries": (party,), "opened_at": OPENED}
    yield _or_its_coordinator(state.lead_agency, able, protocol), fixed


def _case_merged(able: Sequence[str], state: CaseState, protocol: Protocol) -> Iterable[Choice]:
    if state.merge_proposal is not None:
        leading = _or_its_coordinator(state.lead_agency, able, protocol)
        yield leading, {"continues_in": CONTINUING, "acceptance": ACCEPTANCE}


def _merge_declined(able: Sequence[str], state: CaseState, protocol: Protocol) -> Iterable[Choice]:
    own = state.merge_proposal
    if own is not None:
        for agency, reason in ((own.addressee, "not_certain"), (state.lead_agency, "withdrawn")):
            bodies = _or_its_coordinator(agency, able, protocol)
            yield bodies, {"proposal": own.proposal, "reason": reason}


def _merge_undone(able: Sequence[str], state: CaseState, protocol: Protocol) -> Iterable[Choice]:
    into = state.merged_into
    if into is not None:
        yield able, {"merge": into.action, "continued_in": CONTINUING, "undoing": UNDOING}
        if into.undoing is None:
            fixed = {"merge": into.acceptance, "continued_in": CONTINUING, "undoing": None}
            yield _or_its_coordinator(state.lead_agency, able, protocol), fixed
        return
    for acceptance in state.taken_in:
        fixed = {"merge": acceptance, "continued_in": None, "undoing": None}
        yield _or_its_coordinator(state.lead_agency, able, protocol), fixed


def _screened(able: Sequence[str], state: CaseState, protocol: Protocol) -> Iterable[Choice]:
    yield able, {"protected_as": None}
    rule = protocol.actions["indicators_assessed"]
    for one in rule.where:
        if any(fact in state.facts for fact in one.forbidden_while):
            continue
        held = [state.facts[f] for f in one.party_that_established if f in state.facts]
        own = [a for a in able if all(protocol.agencies_by_id[a].party == f.party for f in held)]
        yield own, {"protected_as": one.values[0]}


def _at_risk(**fixed: Any) -> Callable[[Sequence[str], CaseState, Protocol], Iterable[Choice]]:
    """A value that is possible while the person is only at risk."""

    def choices(able: Sequence[str], state: CaseState, _: Protocol) -> Iterable[Choice]:
        return [(able, fixed if "at_risk" in state.facts else {})]

    return choices


def _investigated(able: Sequence[str], state: CaseState, _: Protocol) -> Iterable[Choice]:
    """Open an investigation unless the person is only at risk; complete one that was opened."""
    if "at_risk" not in state.facts:
        return [(able, {} if "investigated" in state.facts else {"state": "opened"})]
    return [(able, {"state": "completed"})] if "investigated" in state.facts else []


_CHOICES: Mapping[str, Callable[[Sequence[str], CaseState, Protocol], Iterable[Choice]]] = {
    "indicators_assessed": _screened,
    "investigated": _investigated,
    "protection_measure_taken": _at_risk(measure="police_protection"),
    "service_ended": _in_force("service_action", "services"),
    "protection_measure_ended": _in_force("measure_action", "measures"),
    "shelter_left": _shelter_left,
    "information_requested": _requested,
    "information_acknowledged": _acknowledged,
    "information_provided": _answered,
    "information_declined": _answered,
    "form_sent": _form_sent,
    "form_acknowledged": _form_acknowledged,
    "meeting_held": _met,
    "joint_action_done": _reported,
    "lead_transfer_offered": _lead_offered,
    "lead_transfer_accepted": _lead_accepted,
    "lead_transfer_declined": _lead_declined,
    "return_requested": _return_requested,
    "return_accepted": _return_accepted,
    "state_notified": _to_another,
    "person_referred": _referred,
    "reintegration_plan_agreed": _of_fact("plan", "reintegration_planned"),
    "handover_recorded": _handed_over,
    "handover_confirmed": _handover_confirmed,
    "turned_back": _handed_over,
    "return_decided": _return_decided,
    "departed": _departed,
    "received": _received,
    "correction": _corrected,
    "case_closed": _closed,
    "error_closing_proposed": _error_closing_proposed,
    "error_closing_accepted": _error_closing_accepted,
    "case_reopened": _reopened,
    "consent_given": _consented,
    "consent_withdrawn": _consent_withdrawn,
    "identity_recorded": _identity,
    "age_assessed": _age_assessed,
    "rectification_declined": _rectified,
    "sharing_decided": _sharing_decided,
    "sharing_ended": _in_force("decision", "sharing"),
    "break_glass_reviewed": _reviewed,
    "cases_linked": _linked,
    "cases_unlinked": _in_force("link", "links"),
    "merge_proposed": _merge_proposed,
    "merge_accepted": _merge_accepted,
    "case_merged": _case_merged,
    "merge_declined": _merge_declined,
    "merge_undone": _merge_undone,
    "legal_hold_lifted": _in_force("hold", "holds"),
    "retention_announced": _of_erasable(_retention_announced),
    "erasure_proposed": _of_erasable(_erasure_proposed),
    "erasure_approved": _of_erasable(_erasure_approved),
    "erasure_confirmed": _erasure_confirmed,
    "destruction_approved": _destruction_approved,
    "destruction_confirmed": _destruction_confirmed,
}
_AFTER_ERASURE = frozenset({"erasure_confirmed", "destruction_confirmed", "break_glass_reviewed"})
_AFTER_MERGE = frozenset(
    {
        "correction",
        "destruction_proposed",
        "destruction_approved",
        "destruction_confirmed",
        "legal_hold_lifted",
        "consent_withdrawn",
        "sharing_ended",
        "service_ended",
        "joint_action_done",
        "information_provided",
        "break_glass_reviewed",
        "cases_unlinked",
        "merge_undone",
    }
)
_ERASING = frozenset({"erasure_proposed", "erasure_approved", "erasure_confirmed"})
_UNDOING = frozenset(
    {
        "not_a_victim",
        "case_closed",
        "refusal_recorded",
    }
)
_ASIDE = frozenset(
    {
        "error_closing_proposed",
        "identity_recorded",
        "age_assessed",
        "rectification_requested",
        "agency_admitted",
        "agency_admission_ended",
        "case_manager_named",
        "form_sent",
        "cases_linked",
        "merge_proposed",
        "merge_accepted",
        "state_notified",
        "person_referred",
        "outcome_overridden",
        "document_added",
    }
)
"""Kinds that are always possible, and lead no further in the procedure."""
_REFERRING = frozenset(
    {
        "cases_unlinked",
        "merge_declined",
        "merge_undone",
        "service_ended",
        "protection_measure_ended",
        "information_acknowledged",
        "information_provided",
        "information_declined",
        "form_acknowledged",
        "joint_action_done",
        "lead_transfer_accepted",
        "lead_transfer_declined",
        "return_refused",
        "return_postponed",
        "return_cancelled",
        "turned_back",
        "rectification_declined",
        "case_reopened",
        "sharing_ended",
        "information_released",
        "break_glass_reviewed",
        "legal_hold_lifted",
        "retention_announced",
        "error_closing_accepted",
        "destruction_proposed",
        "destruction_approved",
        "destruction_confirmed",
    }
)
"""Kinds that need an earlier action of another kind, and so are seldom possible."""
