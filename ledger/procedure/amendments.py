"""Amendments: how the parties change the text of the protocol.

- The coordinator of one party *proposes* a whole new text, with its digest, a reason and the
  earliest day. The proposal accepts it for that party.
- The coordinator of each other party *accepts* it, or *declines* it, naming the digest. From
  edition 2 on, an acceptance names a checkpoint that has the proposal.
- A party that the text adds *accepts* it too, by a statement (``ledger.procedure.accessions``).
- The text is *adopted* by the act with which the last party accepts it. It is in force as
  ``ledger.procedure.agreement`` says. Until then it changes nothing.
- A proposal amends the version that was adopted last. It *lapses* once another text is adopted, or
  once its own party proposes another text. Its own party *withdraws* it by declining it.
- A text that only a later program reads is recorded as proposed. Nobody accepts it by this program,
  and this program stops at its adoption.

This is a reading of the procedure, not an official text.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from enum import StrEnum
from typing import Any
from uuid import UUID

from ledger.procedure.accessions import check_accessions, coordinators_keys, joining_parties
from ledger.procedure.agency_acts import check_fits
from ledger.procedure.agreement import Agreement, ProtocolVersion
from ledger.procedure.communication_forms import in_present_form
from ledger.procedure.named_checkpoint import check_names_one
from ledger.procedure.protocol import (
    COORDINATOR,
    Agency,
    NewerTextError,
    Protocol,
    read_recorded_text,
)
from ledger.procedure.time_zones import AGREED_DAYS_SINCE, agreed_day_begins
from ledger.refusals import Ground, Refusal, unfit_text
from ledger.signing.accession_statement import check_statement
from ledger.signing.signed_action import Mark, SignedAction

AMENDMENT_KINDS = frozenset(
    {"amendment_proposed", "amendment_accepted", "amendment_declined", "accession_accepted"}
)
_ONE_FORM_EDITION = 2
"""The edition from which on a text is proposed in the form that ``text_of`` writes."""
_BEGINNING = datetime.min.replace(tzinfo=UTC)
UNREAD_RULE = "unread-proposal"
"""The refusal to accept a text that this program cannot read."""


class AmendmentState(StrEnum):
    OPEN = "open"
    ADOPTED = "adopted"
    DECLINED = "declined"
    LAPSED = "lapsed"
    """Another text was adopted, or the same party proposed another one."""


@dataclass(frozen=True, slots=True)
class Amendment:
    """A proposed text, and which parties accepted it."""

    proposal: UUID
    """The action that proposed it."""
    version: int
    """The version that the text would be."""
    text: Protocol | None
    """``None``: only a later program reads the text."""
    recorded: Mapping[str, Any]
    """The text as it was signed, of which ``digest`` is."""
    digest: str
    reason: str
    earliest_day: date | None
    """``None``: it applies as soon as it is adopted."""
    by: str
    """The agency that proposed it."""
    party: str
    proposed_at: int
    """The position of the proposal."""
    recorded_at: datetime
    required: frozenset[str]
    """The parties that must accept it, with those that it adds.

    Those that it adds are not among them where this program cannot read the text."""
    accepted: frozenset[str]
    joining: frozenset[str] = frozenset()
    """The parties that it adds, or that join again by it."""
    state: AmendmentState = AmendmentState.OPEN
    closed_at: int | None = None
    """The position of the act that adopted, declined or superseded it."""
    declined_by: str | None = None
    """The party that declined it."""
    declined_because: str | None = None
    """The reason that this party gave."""

    @property
    def missing(self) -> frozenset[str]:
        """Return the parties that have not accepted the amendment."""
        return self.required - self.accepted

    def closed(self, state: AmendmentState, position: int) -> "Amendment":
        """Return the amendment as it is once an act at ``position`` closed it."""
        return replace(self, state=state, closed_at=position)


@dataclass(frozen=True, slots=True)
class Amended:
    """The agreement and its amendments, after an act."""

    agreement: Agreement
    amendments: tuple[Amendment, ...]
    adopted: Amendment | None = None
    """The amendment that the act adopted."""


@dataclass(frozen=True, slots=True)
class KnownKeys:
    """The registered keys with which a proposed text must agree."""

    keyed: frozenset[str]
    """The agencies that have a key with which they may sign now."""
    registered: Collection[str]
    """The id of each key that was ever registered."""
    of_policies: Collection[tuple[str | None, bytes]] = ()
    """The public key of each log and witness of the recorded policies, with the witness's name."""


def text_of(protocol: Protocol) -> dict[str, Any]:
    """Return the text of a protocol as it is recorded: a JSON object.

    A part of the text that is empty or false by default is left out.
    """
    whole = protocol.model_dump(mode="json", exclude_none=True)
    used = protocol.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    written: dict[str, Any] = _without_unused(whole, used)
    return written


def _without_unused(whole: Any, used: Any) -> Any:
    """Return a text without the parts that are empty or false by default.

    Otherwise a text would name every part that this program has, and an older program could not
    read even a text that uses none of the new ones. Other defaults stay: they are part of what the
    parties sign.
    """
    if isinstance(whole, dict):
        return {
            name: _without_unused(value, used.get(name, value))
            for name, value in whole.items()
            if name in used or not (value is False or value in ([], {}))
        }
    if isinstance(whole, list):
        return [_without_unused(*pair) for pair in zip(whole, used, strict=True)]
    return whole


def text_digest(text: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a text, in hexadecimal.

    The text is written as JSON with sorted names, without spaces, in UTF-8.
    """
    written = json.dumps(text, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(written.encode()).hexdigest()


def begins(day: date | None, text: Protocol, base: Protocol) -> datetime:
    """Return when the first day of a text begins; the beginning of time without a day.

    It begins once it has begun at the local time of every party of the text; by edition 1 of the
    rules of ``base``, which the text amends, at midnight UTC.
    """
    if day is None:
        return _BEGINNING
    if base.edition < AGREED_DAYS_SINCE:
        return datetime.combine(day, time(), UTC)
    return agreed_day_begins(day, text, text.every_party_code)


def open_amendment(amendments: Iterable[Amendment], proposal: UUID) -> Amendment | None:
    """Return an amendment that still can be accepted or declined; ``None``: there is none."""
    for amendment in amendments:
        if amendment.proposal == proposal and amendment.state is AmendmentState.OPEN:
            return amendment
    return None


def decide(
    agreement: Agreement,
    amendments: Iterable[Amendment],
    action: SignedAction,
    actor: Agency,
    known: KnownKeys,
    at: datetime,
    edition: int,
) -> None:
    """Decide whether ``actor`` may take an act of ``AMENDMENT_KINDS``. Raises ``Refusal``.

    ``at`` is the time that is stored with the act. ``edition`` is that of the rules that judge the
    act.
    """
    if actor.role != COORDINATOR:
        raise Refusal(
            Ground.NOT_ALLOWED,
            "coordinators-only",
            "Amendments are proposed, accepted and declined by the parties' coordinators.",
            "iss",
        )
    if action.kind == "amendment_proposed":
        _decide_proposal(agreement, amendments, action, known, at)
        return
    amendment = open_amendment(amendments, UUID(action.fields["proposal"]))
    if amendment is None:
        raise unknown_amendment()
    if action.fields["digest"] != amendment.digest:
        raise Refusal(
            Ground.INVALID,
            "amendment-digest",
            "The digest is not that of the proposed text; read the text again before you sign.",
            "act.digest",
        )
    if actor.party not in amendment.required:
        raise Refusal(
            Ground.NOT_ALLOWED,
            "amendment-parties",
            f"{actor.party} is no party of the version that this proposal amends.",
            "iss",
        )
    if action.kind == "amendment_declined":
        return
    party = actor.party
    if action.kind == "accession_accepted":
        party = action.fields["party"]
        _check_accession(amendment, readable(amendment), action, agreement.protocol_id)
    if party in amendment.accepted:
        raise Refusal(
            Ground.CONFLICT,
            "amendment-accepted",
            f"{party} accepted this amendment already; another party's word is missing.",
            "act.proposal",
        )
    check_names_one(action, edition, least=amendment.proposed_at)
    text = readable(amendment)
    if _missing(amendment, agreement.without_say_next(at)) == {party}:
        _check_text(agreement, text, amendment.earliest_day, known, at)


def unknown_amendment() -> Refusal:
    """Make the refusal of an answer to a proposal that is not open."""
    return Refusal(
        Ground.UNKNOWN,
        "unknown-amendment",
        "No amendment is open under this id; it may be adopted, declined or superseded.",
        "act.proposal",
    )


def readable(amendment: Amendment) -> Protocol:
    """Return the text of an amendment.

    Raises ``Refusal`` (``unread-proposal``) if this program cannot read the text.
    """
    if amendment.text is None:
        raise Refusal(
            Ground.OUT_OF_PROCEDURE,
            UNREAD_RULE,
            "This program cannot read the proposed text. Update the program before you accept it;"
            " to decline it is possible.",
            "act.proposal",
        )
    return amendment.text


def is_recorded_unread(action: SignedAction, refusal: Refusal) -> bool:
    """Return whether a recorded act concerns a text that this program cannot read, and stands.

    A later program decided on the act by the text. The act puts nothing into force here: the fold
    stops at an act that adopts such a text.
    """
    return (action.kind, refusal.rule) in (
        ("amendment_proposed", Mark.UNKNOWN_VERSION.value),
        ("amendment_accepted", UNREAD_RULE),
    )


def _check_accession(
    amendment: Amendment, text: Protocol, action: SignedAction, protocol: str
) -> None:
    """Check the statement by which a joining party accepts ``text``. Raises ``Refusal``."""
    party = action.fields["party"]
    if party not in amendment.joining:
        raise Refusal(
            Ground.INVALID,
            "not-joining",
            f"{party} does not join by this text; a party accepts it by an act of its own.",
            "act.party",
        )
    check_statement(
        action.fields["statement"],
        coordinators_keys(text, party),
        protocol=protocol,
        proposal=amendment.proposal,
        digest=amendment.digest,
        party=party,
    )


def _missing(amendment: Amendment, without_say: frozenset[str]) -> frozenset[str]:
    """Return the parties whose word is missing. A party that left meanwhile has no say."""
    return amendment.missing - (without_say - amendment.joining)


def evolve(
    agreement: Agreement,
    amendments: tuple[Amendment, ...],
    action: SignedAction,
    party: str,
    position: int,
    recorded_at: datetime,
) -> Amended:
    """Fold one accepted act of ``AMENDMENT_KINDS``, signed by the coordinator of ``party``.

    Raises ``KeyError`` or ``ValueError`` for an act that does not fit, and ``NewerTextError`` for
    one that may adopt a text that this program cannot read.
    """
    fields = action.fields
    if action.kind == "amendment_proposed":
        day = fields.get("earliest_day")
        text, base = _read_or_none(fields["protocol"]), agreement.latest.protocol
        joining = frozenset() if text is None else joining_parties(base, text)
        without_say = agreement.without_say_at(position, recorded_at)
        proposed = Amendment(
            proposal=action.id,
            version=base.version + 1 if text is None else text.version,
            text=text,
            recorded=fields["protocol"],
            digest=fields["digest"],
            reason=fields["reason"],
            earliest_day=date.fromisoformat(day) if day is not None else None,
            by=action.agency,
            party=party,
            proposed_at=position,
            recorded_at=recorded_at,
            required=(base.party_codes - without_say) | joining,
            accepted=frozenset({party}),
            joining=joining,
        )
        kept = tuple(
            one.closed(AmendmentState.LAPSED, position)
            if one.state is AmendmentState.OPEN and one.party == party
            else one
            for one in amendments
        )
        return _settled(agreement, (*kept, proposed), proposed, position, recorded_at)
    amendment = open_amendment(amendments, UUID(fields["proposal"]))
    if amendment is None or fields["digest"] != amendment.digest:
        raise KeyError(fields["proposal"])
    if action.kind == "amendment_declined":
        declined = amendment.closed(AmendmentState.DECLINED, position)
        declined = replace(declined, declined_by=party, declined_because=fields.get("reason"))
        return Amended(agreement, _replaced(amendments, declined))
    if action.kind == "accession_accepted":
        _read(amendment)  # the statement is judged by the keys that the text names
        party = fields["party"]
        if party not in amendment.joining:
            raise KeyError(party)
    accepted = replace(amendment, accepted=amendment.accepted | {party})
    return _settled(agreement, _replaced(amendments, accepted), accepted, position, recorded_at)


def _settled(
    agreement: Agreement,
    amendments: tuple[Amendment, ...],
    amendment: Amendment,
    position: int,
    recorded_at: datetime,
) -> Amended:
    """Adopt ``amendment`` if no party's word is missing. Every other open one then lapses."""
    if _missing(amendment, agreement.without_say_at(position, recorded_at)):
        return Amended(agreement, amendments)
    text = _read(amendment)
    base = agreement.latest
    first = begins(amendment.earliest_day, text, base.protocol)
    earliest = max(first, recorded_at, base.earliest)
    version = ProtocolVersion(
        text,
        position,
        earliest,
        amendment.proposal,
        amendment.recorded,
        amendment.joining,
    )
    settled = tuple(
        one.closed(
            AmendmentState.ADOPTED if one.proposal == amendment.proposal else AmendmentState.LAPSED,
            position,
        )
        if one.state is AmendmentState.OPEN
        else one
        for one in amendments
    )
    return Amended(agreement.followed_by(version), settled, amendment)


def _read(amendment: Amendment) -> Protocol:
    """Return the text of an amendment. Raises ``NewerTextError`` if only a later program reads it.

    A text that cannot be read may add parties, whose word it needs as well. This program cannot
    tell, so the text counts as adopted once every party of the version before it accepted it.
    """
    if amendment.text is None:
        return read_recorded_text(amendment.recorded)
    return amendment.text


def _read_or_none(text: Mapping[str, Any]) -> Protocol | None:
    """Return a proposed text; ``None`` if only a later program reads it. Raises ``ValueError``."""
    try:
        return read_recorded_text(text)
    except NewerTextError:
        return None


def _replaced(amendments: tuple[Amendment, ...], changed: Amendment) -> tuple[Amendment, ...]:
    return tuple(changed if one.proposal == changed.proposal else one for one in amendments)


def _decide_proposal(
    agreement: Agreement,
    amendments: Iterable[Amendment],
    action: SignedAction,
    known: KnownKeys,
    at: datetime,
) -> None:
    fields = action.fields
    if text_digest(fields["protocol"]) != fields["digest"]:
        raise Refusal(
            Ground.INVALID,
            "amendment-digest",
            "The digest is not that of the proposed text.",
            "act.digest",
        )
    day = fields.get("earliest_day")
    earliest = date.fromisoformat(day) if day is not None else None
    check_proposal(agreement, amendments, fields["protocol"], earliest, known, at)


def check_proposal(
    agreement: Agreement,
    amendments: Iterable[Amendment],
    proposed: Mapping[str, Any],
    earliest: date | None,
    known: KnownKeys,
    at: datetime,
) -> None:
    """Check that a text may be proposed at the time ``at``.

    ``earliest`` is the first day on which the text is to be in force. Raises ``Refusal`` with the
    field at fault.
    """
    try:
        text = read_recorded_text(proposed)
        if text.edition >= _ONE_FORM_EDITION:
            text.check_zone_names()
    except NewerTextError as error:
        raise Refusal(
            Ground.INVALID, Mark.UNKNOWN_VERSION.value, f"{error}.", "act.protocol"
        ) from error
    except ValueError as error:
        raise Refusal(
            Ground.INVALID, "protocol", f"The protocol does not hold: {error}", "act.protocol"
        ) from error
    if text.edition >= _ONE_FORM_EDITION:
        _check_form(_with_present_forms(proposed), text_of(text))
    _check_text(agreement, text, earliest, known, at)
    digest = text_digest(proposed)
    for one in amendments:
        if one.state is AmendmentState.OPEN and one.digest == digest:
            raise Refusal(
                Ground.CONFLICT,
                "amendment-known",
                f"This text is proposed already ({one.proposal}); accept that proposal.",
                "act.protocol",
            )


def _with_present_forms(proposed: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a text with the marks of its forms as this program writes them.

    Ledgers have recorded texts with the earlier words, which mean the same.
    """
    forms = proposed.get("forms")
    if not isinstance(forms, list):
        return proposed
    return {**proposed, "forms": [_as_now(form) for form in forms]}


def _as_now(form: Any) -> Any:
    return in_present_form(form) if isinstance(form, Mapping) else form


def _check_form(proposed: Mapping[str, Any], written: Mapping[str, Any]) -> None:
    """Check that a proposed text is written in the one form of its content.

    Otherwise two readers of the text could take it for two contents: ``"2"`` is no number for one
    of them, and another spelling of a time is another accession. Raises ``Refusal``.
    """
    names = sorted({*proposed, *written})
    told, kept = (
        {name: text_digest({name: one[name]}) for name in names if name in one}
        for one in (proposed, written)
    )
    if other := [name for name in names if told.get(name) != kept.get(name)]:
        raise Refusal(
            Ground.INVALID,
            "protocol",
            f"The protocol is not in its one form: {', '.join(other)}. Write numbers as numbers,"
            " times in UTC with Z, and leave out what is empty; `case-ledger protocol propose`"
            " does this.",
            f"act.protocol.{other[0]}",
        )


def _check_text(
    agreement: Agreement,
    text: Protocol,
    earliest: date | None,
    known: KnownKeys,
    at: datetime,
) -> None:
    base, left = agreement.latest, agreement.without_say_next(at)
    named = max(begins(earliest, text, base.protocol), at)
    first = max(named, base.earliest)
    check_amends(base.protocol, text, known, left, first)
    check_fits(agreement, text)
    if named < base.earliest:
        raise Refusal(
            Ground.INVALID,
            "amendment-day",
            f"Version {base.protocol.version} is adopted and applies from {base.earliest:%Y-%m-%d}"
            " on: name that day or a later one.",
            "act.earliest_day",
        )


def check_amends(
    base: Protocol, text: Protocol, known: KnownKeys, left: Collection[str], begins: datetime
) -> None:
    """Check that ``text`` may follow ``base``.

    ``left`` are the parties that left by now and that ``base`` does not admit again. ``begins`` is
    the earliest time at which the text is in force. Raises ``Refusal`` with the field at fault if
    the text may not follow.
    """
    if text.id != base.id:
        raise unfit_text("id", f"A protocol keeps its id: {base.id}.")
    if text.version != base.version + 1:
        raise unfit_text(
            "version", f"The text amends version {base.version}: set version = {base.version + 1}."
        )
    if text_of(text) | {"version": 0} == text_of(base) | {"version": 0}:
        raise unfit_text("version", f"The text says the same as version {base.version}.")
    if text.edition < base.edition:
        raise unfit_text(
            "edition", f"Rules do not go back: name edition {base.edition} or a later one."
        )
    if gone := base.party_codes - text.party_codes:
        raise unfit_text("parties", f"{', '.join(sorted(gone))} cannot be removed by an amendment.")
    check_accessions(base, text, left, known.registered, begins, known.of_policies)
    for agency in base.agencies:
        kept = text.agencies_by_id.get(agency.id)
        if kept is None:
            raise unfit_text(
                "agencies",
                f"{agency.id} cannot be removed: cases and keys name it. Its own country retires"
                " it.",
            )
        if kept.party != agency.party:
            raise unfit_text("agencies", f"{agency.id} stays an agency of {agency.party}.")
    if removed := base.actions.keys() - text.actions.keys():
        raise unfit_text(
            "actions",
            f"The rule of {', '.join(sorted(removed))} cannot be removed: name no roles in it, so"
            " that nobody takes the action.",
        )
    joining = joining_parties(base, text)
    remaining = text.party_codes - joining - frozenset(left)
    coordinators = [one for one in text.agencies if one.role == COORDINATOR]
    if mute := remaining - {one.party for one in coordinators if one.id in known.keyed}:
        raise unfit_text(
            "agencies",
            f"{', '.join(sorted(mute))} would have no coordinator with a key. Register a key of"
            " the new coordinator first.",
        )
