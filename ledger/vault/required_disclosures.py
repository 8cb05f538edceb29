"""The disclosures of a case that each country must hold, by the ledger alone.

A pure function of a folded case. There are three parts of an action's fields:

- *own*: all fields that the country's own agency disclosed with the action;
- *case*: the ``case`` fields of another country's action;
- *released*: the personal fields that another country released, digest by digest.

An action has digests of decoys among those of its fields. Only the country whose agency signed the
action can tell them apart, so the ledger names exact digests for *released* alone. For the other
two parts the vault's inventory has that country's statement: a deposit marked as whole lists all.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import TypeAlias
from uuid import UUID

from ledger.events.act import Act
from ledger.procedure.case import Case
from ledger.procedure.protocol import Protocol
from ledger.vocabulary import ALL_ACTIONS
from ledger.vocabulary.levels import Level

Row: TypeAlias = tuple[str, str | None]
"""A row of a vault: its digest, and the country that it came from where that is another."""


class FieldPart(StrEnum):
    """A part of an action's fields."""

    OWN = "own"
    CASE = "case"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class RequiredPart:
    """One part of an action's fields, which a country must hold."""

    case_id: UUID
    action: UUID
    kind: str
    part: FieldPart
    origin: str
    """The country whose agency signed the action."""
    position: int
    recorded_at: datetime
    digests: frozenset[str] | None
    """``None``: those that the inventory of a whole deposit lists."""
    holders: tuple[str, ...]
    """The other countries that may hold the part, the country of origin first.

    None for a country that has left the case: it keeps its own, and is given nothing."""


class MissingReason(StrEnum):
    """The reason for which a part counts as missing."""

    NOT_RECEIVED = "not-received"
    """No deposit in the vault lists the part."""
    ROW_GONE = "row-gone"
    """The inventory lists a field, and its row is not there or does not hold."""
    KEY_MISSING = "key-missing"
    """The person's data key is missing, so that no row opens."""


@dataclass(frozen=True, slots=True)
class ListedDeposit:
    """One deposit as the vault's inventory lists it."""

    received_from: str | None
    fields: Mapping[str, str]
    """The name of each field, by digest."""
    is_whole: bool
    """Whether the country of origin said that these are all fields of the part."""
    is_authenticated: bool = True
    """False for a deposit from before the inventory, and for one that was made to look like it."""


@dataclass(frozen=True, slots=True)
class Lack:
    """The reason for which a vault lacks a part."""

    due: RequiredPart
    digests: frozenset[str] | None
    """``None``: it is not known which of the action's digests are of fields."""
    why: MissingReason


def must_hold(case: Case, party: str, protocol: Protocol) -> tuple[RequiredPart, ...]:
    """Return all parts that ``party`` must hold of a case, in the order of the actions.

    The result is empty once the case's erasure was ordered, or a country confirmed the erasure. No
    country must hold anything of an annulled action, or of a case manager who was replaced.
    """
    if case.state.is_erased:
        return ()
    in_case = party in case.state.parties
    unread = case.unread(protocol)
    released = _released(case, protocol)
    found: list[RequiredPart] = []
    for act in case.history.values():
        origin = _origin(act, protocol)
        if origin is None or not act.digests or act.id in unread:
            continue
        if origin == party:
            found.append(_due(case, act, FieldPart.OWN, origin, party, released))
            continue
        if in_case and has_case_fields(act.kind) and is_told(act, party):
            found.append(_due(case, act, FieldPart.CASE, origin, party, released))
        digests = released.get((act.id, party), frozenset()) & act.digests
        if in_case and digests:
            found.append(_due(case, act, FieldPart.RELEASED, origin, party, released, digests))
    return tuple(found)


def may_give(
    case: Case, action: UUID, giver: str, to: str, protocol: Protocol
) -> Iterator[tuple[RequiredPart, UUID | None]]:
    """Yield the parts of an action that ``to`` must hold and that ``giver`` may send it.

    Each comes with the release that it stands on, if it does: a part has as many as there are.
    """
    for due in must_hold(case, to, protocol):
        if due.action != action or giver not in due.holders:
            continue
        if due.part is not FieldPart.RELEASED:
            yield due, None
            continue
        for release in case.history.values():
            if (
                release.kind == "information_released"
                and release.fields["recipient"] == to
                and _origin(release, protocol) == giver
                and action in released_digests(release)
            ):
                yield due, release.id


def _due(
    case: Case,
    act: Act,
    part: FieldPart,
    origin: str,
    party: str,
    released: Mapping[tuple[UUID, str], frozenset[str]],
    digests: frozenset[str] | None = None,
) -> RequiredPart:
    holders: list[str] = [] if origin == party else [origin]
    if part is not FieldPart.RELEASED and has_case_fields(act.kind):
        holders += [one for one in case.state.parties if is_told(act, one)]
    if part is FieldPart.OWN:
        holders += [to for action, to in released if action == act.id and to in case.state.parties]
    if party not in case.state.parties:
        holders = []
    others = tuple(dict.fromkeys(one for one in holders if one != party))
    return RequiredPart(
        case.id, act.id, act.kind, part, origin, act.position, act.recorded_at, digests, others
    )


def _released(case: Case, protocol: Protocol) -> Mapping[tuple[UUID, str], frozenset[str]]:
    """Return the released digests, by action and recipient."""
    found: dict[tuple[UUID, str], frozenset[str]] = {}
    for release in case.history.values():
        if release.kind != "information_released":
            continue
        recipient, origin = release.fields["recipient"], _origin(release, protocol)
        for action, digests in released_digests(release).items():
            act = case.history.get(action)
            # A country releases what its own agencies disclosed.
            if act is not None and origin is not None and _origin(act, protocol) == origin:
                key = (action, recipient)
                found[key] = found.get(key, frozenset()) | digests
    return found


def released_digests(release: Act) -> Mapping[UUID, frozenset[str]]:
    """Return the digests that a release names, by action."""
    found: dict[UUID, frozenset[str]] = {}
    for part in release.fields["released"]:
        action = UUID(part["action"])
        found[action] = found.get(action, frozenset()) | frozenset(part["digests"])
    return found


def lacks(
    due: Iterable[RequiredPart],
    deposits: Mapping[UUID, Sequence[ListedDeposit]],
    held: Mapping[UUID, Collection[Row]],
    *,
    noted_from: int,
    key_is_there: bool = True,
) -> Iterator[Lack]:
    """Yield the parts that must be held and that the vault's inventory and rows lack.

    ``deposits`` and ``held`` are by action. Programs before this check left no deposit of an action
    that discloses nothing: up to the position ``noted_from``, an action without a deposit counts as
    one that discloses nothing.
    """
    for one in due:
        sender = None if one.part is FieldPart.OWN else one.origin
        is_noted = one.position > noted_from
        listed = [
            d
            for d in deposits.get(one.action, ())
            if d.received_from == sender and (d.is_authenticated or not is_noted)
        ]
        rows = {digest for digest, came in held.get(one.action, ()) if came == sender}
        wanted = one.digests
        if wanted is None:
            wanted = stated(one.kind, one.part, listed, is_noted=is_noted)
        if wanted is None:
            yield Lack(one, None, MissingReason.NOT_RECEIVED)
        elif not key_is_there:
            if wanted:
                yield Lack(one, wanted, MissingReason.KEY_MISSING)
        elif gone := wanted - rows:
            known = any(digest in d.fields for d in listed for digest in gone)
            yield Lack(one, gone, MissingReason.ROW_GONE if known else MissingReason.NOT_RECEIVED)


def stated(
    kind: str, part: FieldPart, deposits: Sequence[ListedDeposit], *, is_noted: bool
) -> frozenset[str] | None:
    """Return the digests of a part, as the country of origin stated them in its deposits.

    The result is ``None`` if the country stated nothing, or if only some digests are known.
    ``is_noted``: whether an action without disclosures has a deposit.
    """
    relevant = [d for d in deposits if _lists(d, kind, part)]
    whole = [d for d in relevant if d.is_whole]
    if not whole:
        return None if is_noted or relevant else frozenset()
    return frozenset(digest for d in whole for digest in _fields_of(d, kind, part))


def _lists(deposit: ListedDeposit, kind: str, part: FieldPart) -> bool:
    """Return whether a deposit states anything on the part.

    A release states nothing on ``case`` fields.
    """
    return part is FieldPart.OWN or not deposit.fields or bool(_fields_of(deposit, kind, part))


def _fields_of(deposit: ListedDeposit, kind: str, part: FieldPart) -> Collection[str]:
    """Return the digests of a deposit that belong to the part."""
    if part is not FieldPart.CASE:
        return deposit.fields.keys()
    names = case_fields(kind)
    return [digest for digest, name in deposit.fields.items() if name in names]


def is_told(act: Act, party: str) -> bool:
    """Return whether a country of the case gets the ``case`` fields of an action.

    An action that says which other case is meant names the countries that may learn it.
    """
    told = act.fields.get("told")
    return told is None or party in told


@cache
def case_fields(kind: str) -> frozenset[str]:
    """Return the ``case`` fields of a kind of action."""
    model = ALL_ACTIONS.get(kind)
    if model is None:
        return frozenset()
    fields = model.disclosable_fields()
    return frozenset(name for name in fields if model.level(name).level is Level.CASE)


def has_case_fields(kind: str) -> bool:
    """Return whether actions of a kind may have ``case`` fields."""
    return bool(case_fields(kind))


def has_personal_fields(kind: str) -> bool:
    """Return whether actions of a kind may have personal fields."""
    model = ALL_ACTIONS.get(kind)
    return model is not None and len(case_fields(kind)) < len(model.disclosable_fields())


def _origin(act: Act, protocol: Protocol) -> str | None:
    agency = protocol.agencies_by_id.get(act.agency)
    return agency.party if agency is not None else None
