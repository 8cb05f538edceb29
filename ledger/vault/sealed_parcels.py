"""Parcels: the contents that travel between countries, sealed to the receiving country's key.

A presentation is one action's fields: an SD-JWT (RFC 9901) as its agency signed it, with only the
disclosures that the receiver may have. The sealing proves nothing about the content; the digests in
the ledger do. The other contents serve to find duplicates
(``ledger/vault/duplicates/messages.py``).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any, Literal
from uuid import UUID, uuid5

from pydantic import Discriminator, Tag, TypeAdapter, ValidationError

from ledger.events.act import Act
from ledger.procedure.case import Case
from ledger.procedure.protocol import Protocol
from ledger.refusals import Refusal
from ledger.signing import signed_action
from ledger.signing.country_key import CountryKey, CountryPublicKey, SealError
from ledger.signing.sd_jwt import Disclosure, SdJwt
from ledger.signing.signed_action import SignedAction
from ledger.vault.completion_messages import FieldsAnswered, FieldsAsked
from ledger.vault.documents.content_messages import (
    ContentAsked,
    ContentHeld,
    ContentPart,
    ContentRefused,
)
from ledger.vault.duplicates.messages import (
    DoubledCase,
    DoubledEvidence,
    DuplicateAssessed,
    DuplicateFound,
    DuplicateWithdrawn,
    MaskedCase,
    MaskedEvidence,
    TokensWithdrawn,
)
from ledger.vault.required_disclosures import released_digests
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.documents import contradiction
from ledger.vocabulary.levels import Level


class ParcelError(ValueError):
    """A parcel is not what it should be; nothing of it is taken in.

    ``reason`` is the stable name of the rule. The acknowledgement tells it to the sender.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class DamagedParcelError(ParcelError):
    """A parcel does not open with the receiver's keys."""


class UnknownKindError(ParcelError):
    """A parcel holds a kind of content that this program does not have."""


class NotHereYetError(Exception):
    """The receiver's copy of the ledger lacks what a parcel rests on.

    ``actions`` and ``cases`` have the ids that the copy must have before the parcel is looked at
    again.
    """

    def __init__(self, *, actions: Iterable[UUID] = (), cases: Iterable[UUID] = ()) -> None:
        super().__init__("the copy of the ledger lacks what the parcel rests on")
        self.actions = frozenset(actions)
        self.cases = frozenset(cases)


@dataclass(frozen=True, slots=True)
class Parcel:
    """A parcel as the mailbox of the ledger node sees it."""

    id: UUID
    sender: str
    recipient: str
    sealed: bytes


class Presentation(LedgerModel):
    """Fields of one action."""

    kind: Literal["presentation"] = "presentation"
    presentation: str
    """An SD-JWT without key binding: any verifier checks it with the agency's public key."""
    release: UUID | None = None
    """The release that personal fields stand on; ``case`` fields need none."""
    in_part: Literal[True] | None = None
    """Whether the action may have further ``case`` fields, which the sender does not hold.

    Without it, a presentation has all of them; none, if the action has none. It is left out then,
    as in the parcels of earlier programs."""


def _kind(content: Any) -> Any:
    # Parcels that were sealed before there were other kinds do not name theirs.
    if isinstance(content, dict):
        return content.get("kind", "presentation")
    return getattr(content, "kind", None)


Content = Annotated[
    Annotated[Presentation, Tag("presentation")]
    | Annotated[MaskedCase, Tag("masked_case")]
    | Annotated[DoubledCase, Tag("doubled_case")]
    | Annotated[MaskedEvidence, Tag("masked_evidence")]
    | Annotated[DoubledEvidence, Tag("doubled_evidence")]
    | Annotated[TokensWithdrawn, Tag("tokens_withdrawn")]
    | Annotated[DuplicateFound, Tag("duplicate_found")]
    | Annotated[DuplicateWithdrawn, Tag("duplicate_withdrawn")]
    | Annotated[DuplicateAssessed, Tag("duplicate_assessed")]
    | Annotated[FieldsAsked, Tag("fields_asked")]
    | Annotated[FieldsAnswered, Tag("fields_answered")]
    | Annotated[ContentAsked, Tag("content_asked")]
    | Annotated[ContentPart, Tag("content_part")]
    | Annotated[ContentRefused, Tag("content_refused")]
    | Annotated[ContentHeld, Tag("content_held")],
    Discriminator(_kind),
]
"""The content that only the receiver sees."""
_CONTENT: TypeAdapter[Content] = TypeAdapter(Content)


def pack(
    content: Content,
    about: UUID | None,
    protocol: Protocol,
    sender: str,
    recipient: str,
    key: CountryPublicKey,
) -> Parcel:
    """Seal ``content``, fields of the action ``about`` or a message, to ``recipient``.

    The same content has the same id each time. The id does not reveal the content.
    """
    text = content.model_dump_json(exclude_none=True).encode()
    if isinstance(content, Presentation):
        parcel_id = presentation_id(protocol, sender, recipient, about, content.release)
    else:
        name = f"{sender} {recipient} {key.id} {sha256(text).hexdigest()}"
        parcel_id = _of_sender(sender, uuid5(protocol.ledger_id, name))
    context = _context(protocol, parcel_id, sender, recipient)
    return Parcel(parcel_id, sender, recipient, key.seal(text, context))


def presentation_id(
    protocol: Protocol, sender: str, recipient: str, action: UUID | None, release: UUID | None
) -> UUID:
    """Return the id of the parcel with an action's fields for one recipient.

    ``release`` is the release that personal fields are sent for; ``None`` for ``case`` fields.
    """
    return _of_sender(sender, uuid5(protocol.ledger_id, f"{sender} {recipient} {action} {release}"))


def _of_sender(party: str, parcel_id: UUID) -> UUID:
    """Put the party's code before a parcel's id.

    Other nodes can compute the id of a parcel. The mailbox takes the id from no other party.
    """
    return UUID(bytes=party.encode("ascii") + parcel_id.bytes[len(party) :])


def is_of_another(parcel: Parcel, protocol: Protocol) -> bool:
    """Return whether a parcel's id begins with the code of another party than its sender.

    Earlier programs gave ids without a code.
    """
    codes = {code for code in protocol.party_codes if code != parcel.sender}
    return any(parcel.id.bytes.startswith(code.encode("ascii")) for code in codes)


def unpack(parcel: Parcel, protocol: Protocol, key: CountryKey) -> Content:
    """Open a parcel.

    Raises ``DamagedParcelError`` if the parcel was altered or is sealed to another key,
    ``UnknownKindError`` if this program does not have its kind, and otherwise ``ParcelError``.
    """
    context = _context(protocol, parcel.id, parcel.sender, parcel.recipient)
    try:
        text = key.open(parcel.sealed, context)
    except SealError as error:
        raise DamagedParcelError("does-not-open", "it does not open") from error
    try:
        return _CONTENT.validate_json(text)
    except ValidationError as error:
        if any(one["type"] == "union_tag_invalid" for one in error.errors()):
            raise UnknownKindError("unknown-kind", "its kind is not known here") from error
        raise ParcelError("malformed", "its content is malformed") from error


def read(content: Presentation) -> tuple[SignedAction, SdJwt]:
    """Return the action whose fields a parcel carries, and its parsed SD-JWT.

    Raises ``ParcelError`` if the fields do not verify.
    """
    try:
        parsed = signed_action.parse(content.presentation)
        action = signed_action.read(parsed)
        signed_action.check_disclosures(action, parsed.disclosures, partial=True)
    except Refusal as refusal:
        raise ParcelError("fields", f"its fields do not verify ({refusal.rule})") from refusal
    return action, parsed


def check(
    content: Presentation,
    action: SignedAction,
    disclosures: Collection[Disclosure],
    parcel: Parcel,
    case: Case,
    protocol: Protocol,
) -> None:
    """Check that the receiver may keep these fields of a recorded action of the case.

    Each country of the case may hand on ``case`` fields, and give back fields that the receiver's
    own agencies disclosed: the digests prove the content. Raises ``ParcelError`` if the fields are
    not the sender's to give, or if no release covers one.
    """
    origin = protocol.agencies_by_id[action.agency].party
    if parcel.recipient not in case.state.parties:
        raise ParcelError("not-a-party", "the receiver is not party to the case")
    if parcel.sender != origin and (
        content.release is not None or parcel.sender not in case.state.parties
    ):
        raise ParcelError("not-the-senders", "it is not the sender's to give")
    if origin == parcel.recipient:
        return
    if content.release is None:
        if any(action.model.level(d.name).level is not Level.CASE for d in disclosures):
            raise ParcelError("no-release", "personal fields came without a release")
        return
    release = case.history.get(content.release)
    if release is None or not _covers(release, parcel, protocol):
        raise ParcelError("not-released-to-us", "it names no release to the receiver")
    released = released_digests(release).get(action.id, frozenset())
    for disclosure in disclosures:
        group = action.model.level(disclosure.name).group
        if disclosure.digest not in released or group not in release.fields["groups"]:
            raise ParcelError("not-released", "a field is not covered by the release")


def check_together(
    disclosures: Collection[Disclosure], held: Mapping[str, Collection[str]]
) -> None:
    """Check that fields of an action do not contradict each other, or those that are held here.

    ``held`` has the digests of each field that came before. A country gets some of the fields of an
    action, and others later. So its own node cannot check the action as a whole, and another
    country's agency could sign two values of a field or two documents in one action. Raises
    ``ParcelError``.
    """
    named = {one.name for one in disclosures if one.value is not None}
    for one in disclosures:
        if set(held.get(one.name, ())) - {one.digest}:
            raise ParcelError("contradictory", f"{one.name} has another value here")
    if (wrong := contradiction(named | held.keys())) is not None:
        raise ParcelError("contradictory", f"the action {wrong}")


def _covers(release: Act, parcel: Parcel, protocol: Protocol) -> bool:
    return (
        release.kind == "information_released"
        and release.fields["recipient"] == parcel.recipient
        and protocol.agencies_by_id[release.agency].party == parcel.sender
    )


def _context(protocol: Protocol, parcel_id: UUID, sender: str, recipient: str) -> bytes:
    return f"case-ledger parcel 1\n{protocol.id}\n{parcel_id}\n{sender}\n{recipient}\n".encode()
