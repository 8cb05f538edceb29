"""Case actions as SD-JWTs: how an agency signs them, and how the signed part is read back."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import OKPKey
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from ledger.refusals import Ground, Refusal
from ledger.signing import approval, sd_jwt
from ledger.signing.approval import Approval
from ledger.signing.keys import key_id
from ledger.signing.packed_text import packed, unpacked
from ledger.signing.sd_jwt import Disclosure, SdJwt, SdJwtError
from ledger.system.identifiers import new_id
from ledger.vocabulary import (
    ALL_ACTIONS,
    CASE_ACTIONS,
    NOT_UNDERSTOOD,
    REGISTRY_ACTIONS,
    Action,
)
from ledger.vocabulary.action import LedgerModel, field_adapter, ledger_part
from ledger.vocabulary.canonical import CanonicalUuid, check_canonical, moments_normalised
from ledger.vocabulary.expected_forms import in_words
from ledger.vocabulary.registration import KeyId
from ledger.vocabulary.types import RECORDED, AgencyId, UnixTime, format_utc
from ledger.vocabulary.upcasting import Upcasters, upcasters

TYPE = "case-action+sd-jwt"
_DIGEST = re.compile(r"[A-Za-z0-9_-]{43}")
_UNKNOWN = "(unknown)"  # the name of a field that there is not could be anything
_MODEL, _NOT_CANONICAL = "model", "not-canonical"
_UNKNOWN_KIND, _UNKNOWN_VERSION = "unknown-kind", "unknown-version"
_NEVER = datetime.fromtimestamp(0, UTC)
_KEPT_ACTIONS, _KEPT_CHARACTERS = 1024, 8192
"""So many actions that were read are kept in memory, none with a longer text."""
_CLAIMED: Mapping[str, TypeAdapter[Any]] = {
    "jti": TypeAdapter(UUID),
    "case": TypeAdapter(UUID),
    "iss": TypeAdapter(AgencyId),
    "kid": TypeAdapter(KeyId),
}
_random = random.SystemRandom()
M = TypeVar("M", bound=LedgerModel)


class ActionClaims(LedgerModel):
    """The payload that an agency signs, in canonical form, by RFC 7519 names if there are any.

    A claim that is left out is absent, not null.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, strict=True)

    iss: AgencyId
    iat: UnixTime
    jti: CanonicalUuid
    protocol: str
    case: CanonicalUuid | None = None
    kind: str
    version: Annotated[int, Field(ge=2)] | None = None
    """Of the kind's schema; left out for the first."""
    act: dict[str, Any]
    sd_alg: Literal["sha-256"] = Field(alias="_sd_alg")


class _EarlierClaims(ActionClaims):
    """The claims in every form that earlier programs recorded.

    These forms are: other texts of an id, a number as text, null for a claim that is left out, and
    a case in an act on the protocol.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, strict=False)

    jti: UUID
    case: UUID | None = None
    version: Annotated[int, Field(ge=2, strict=True)] | None = None


class ActionHeader(LedgerModel):
    """The protected header of a signed action."""

    alg: Literal["Ed25519"]
    typ: Literal["case-action+sd-jwt"]
    kid: KeyId


class Mark(StrEnum):
    """A remark on how a recorded event can be read."""

    NOT_CANONICAL = "not-canonical"
    """It is understood, and written in another form than the canonical one.

    Programs of edition 1 recorded such events."""
    NOT_UNDERSTOOD = "not-understood"
    """Its bytes are not those of a signed action. The event has no effect."""
    UNKNOWN_KIND = "unknown-kind"
    """It is an action of a kind that this program does not have. The event has no effect here."""
    UNKNOWN_VERSION = "unknown-version"
    """It follows a version of its kind that this program does not have, and has no effect here."""
    NO_EFFECT = "no-effect"
    """It is understood, and cannot be applied to the case or protocol as it stood."""

    @property
    def has_effect(self) -> bool:
        """Return whether an event with this mark changed the case or protocol all the same."""
        return self is Mark.NOT_CANONICAL

    @property
    def is_newer(self) -> bool:
        """Return whether a later program may understand the event that has this mark."""
        return self in (Mark.UNKNOWN_KIND, Mark.UNKNOWN_VERSION)


@dataclass(frozen=True, slots=True)
class SignedAction:
    """An action as signed: its ``ledger`` fields, and nothing that they do not reveal."""

    sd_jwt: str
    """The issuer-signed JWT without disclosures, ending in ``~``; an approval follows, if any."""
    algorithm: str
    id: UUID
    agency: str
    key_id: str
    signed_at: datetime
    protocol: str
    case_id: UUID | None
    kind: str
    fields: Mapping[str, Any]
    """The ``ledger`` fields as JSON values, in today's version of the kind's schema.

    Times are as ``format_utc`` writes them, however they were signed."""
    digests: Sequence[str]
    version: int = 1
    """The version that was signed."""
    mark: Mark | None = None
    """How the action was read back; ``None`` for one in canonical form."""
    approval: Approval | None = None
    """The second signature, of a member who approved the action. It is not verified here."""

    @property
    def is_understood(self) -> bool:
        """Return whether this program has an action of the kind and with the fields."""
        return self.kind != NOT_UNDERSTOOD

    @property
    def model(self) -> type[Action]:
        """Return the model of the action's kind.

        Raises ``KeyError`` if the action is not understood.
        """
        return ALL_ACTIONS[self.kind]

    @property
    def acted_at(self) -> datetime:
        return datetime.fromisoformat(self.fields["acted_at"])


def sign(
    action: Action,
    *,
    agency: str,
    key: OKPKey,
    protocol: str,
    case_id: UUID | None,
    action_id: UUID | None = None,
    signed_at: datetime | None = None,
) -> SdJwt:
    """Issue ``action`` as an SD-JWT: ``ledger`` fields in the clear, the rest as digests.

    Digests of decoys make up for fields left out, so that the ledger does not tell
    how many ``case`` and ``personal`` fields were filled in.
    """
    disclosures = [sd_jwt.make_disclosure(n, v) for n, v in action.disclosable_claims().items()]
    decoys = len(action.disclosable_fields()) - len(disclosures)
    digests = [d.digest for d in disclosures] + [sd_jwt.decoy_digest() for _ in range(decoys)]
    _random.shuffle(digests)
    signed = packed(action.kind, action.ledger_claims())
    act = signed | ({"_sd": digests} if digests else {})
    version = upcasters().version(action.kind)
    claims = ActionClaims(
        iss=agency,
        iat=int((signed_at or datetime.now(UTC)).timestamp()),
        jti=action_id or new_id(),
        protocol=protocol,
        case=case_id,
        kind=action.kind,
        version=version if version > 1 else None,
        act=act,
        sd_alg="sha-256",
    )
    header = {"typ": TYPE, "kid": key_id(key)}
    payload = claims.model_dump(mode="json", by_alias=True, exclude_none=True)
    return sd_jwt.issue(header, payload, disclosures, key)


def own_action_id(key: OKPKey, name: str) -> UUID:
    """Return the same id each time for ``name``; only the holder of ``key`` can compute it.

    If another could compute it, that one could record an action under it first.
    """
    private = key.private_key
    if not isinstance(private, Ed25519PrivateKey):
        raise ValueError("the key has no private part for Ed25519")
    signature = private.sign(f"case-ledger action id\n{name}".encode())
    return UUID(bytes=sha256(signature).digest()[:16], version=4)


def parse(text: str) -> SdJwt:
    """Parse the text that an agency sent.

    Raises ``Refusal`` (``malformed-sd-jwt``) if it is no SD-JWT.
    """
    try:
        return sd_jwt.parse(text, may_be_approved=True)
    except SdJwtError as error:
        raise Refusal(
            Ground.INVALID, "malformed-sd-jwt", f"The action is not an SD-JWT: it {error}."
        ) from error


def read(parsed: SdJwt) -> SignedAction:
    """Read the signed part, which must be in canonical form.

    The signature is not checked here; see :func:`verify`. Raises ``Refusal``, which names the wrong
    claim, if the signed part is in another form.
    """
    try:
        return _read_canonical(parsed)
    except Refusal as refusal:
        if refusal.rule != _NOT_CANONICAL:
            raise
        try:
            _read_earlier(parsed)
        except Refusal as earlier:  # it has no meaning in any form
            if earlier.rule == _MODEL:
                raise Refusal(refusal.ground, _MODEL, refusal.message, refusal.field) from None
            raise
        raise


def read_recorded(text: str, recorded_at: datetime = _NEVER) -> SignedAction:
    """Read back the signed text of a recorded event; this is the one definition of its meaning.

    Every text is read: ``mark`` is the remark on it. A text that is not understood becomes an
    action of kind ``not_understood`` without fields, of the time of recording.
    """
    if len(text) <= _KEPT_CHARACTERS:
        known = _canonical_or_none(text, upcasters())
        if known is not None and known.kind in ALL_ACTIONS:
            return replace(known, fields=_copied(known.fields))
    try:
        parsed = sd_jwt.parse(text, may_be_approved=True)
    except SdJwtError:
        return _not_understood(text, Mark.NOT_UNDERSTOOD, {}, {}, recorded_at)
    if parsed.disclosures:
        return _not_understood(
            text, Mark.NOT_UNDERSTOOD, parsed.header, parsed.payload, recorded_at
        )
    try:
        return _read_canonical(parsed)
    except Refusal as refusal:
        mark = _MARKS.get(refusal.rule, Mark.NOT_UNDERSTOOD)
        if refusal.rule == _NOT_CANONICAL:
            try:
                return replace(_read_earlier(parsed), mark=Mark.NOT_CANONICAL)
            except Refusal as earlier:
                mark = _MARKS.get(earlier.rule, Mark.NOT_UNDERSTOOD)
    return _not_understood(text, mark, parsed.header, parsed.payload, recorded_at)


_MARKS = {_UNKNOWN_KIND: Mark.UNKNOWN_KIND, _UNKNOWN_VERSION: Mark.UNKNOWN_VERSION}


@lru_cache(maxsize=_KEPT_ACTIONS)
def _canonical_or_none(text: str, _: Upcasters) -> SignedAction | None:
    """Return the action of a text in canonical form, and keep it; ``None`` for any other text.

    A node reads each event several times soon after it was recorded: its copy, its registry, each
    view and each exchange with other countries read it. What is kept depends on the upcasters.
    """
    try:
        parsed = sd_jwt.parse(text, may_be_approved=True)
        return None if parsed.disclosures else _read_canonical(parsed)
    except (SdJwtError, Refusal):
        return None


def _copied(value: Any) -> Any:
    """Return a JSON value in containers of its own: a caller may change it."""
    if isinstance(value, dict):
        return {name: _copied(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_copied(one) for one in value]
    return value


def _read_canonical(parsed: SdJwt) -> SignedAction:
    header = _canonical_header(parsed.jwt.partition(".")[0])
    claims = _canonical(ActionClaims, parsed.payload, "payload")
    if claims.case is not None and claims.kind in REGISTRY_ACTIONS:
        raise Refusal(
            Ground.INVALID,
            _NOT_CANONICAL,
            "payload.case: An act on the protocol is on no case; leave this claim out.",
            "payload.case",
        )
    model, version, fields, digests = _split(claims)
    try:
        check_canonical(model, fields)
    except ValidationError as error:
        raise _not_canonical(error, "act") from None
    except ValueError:
        raise Refusal(
            Ground.INVALID, _NOT_CANONICAL, "A text has a NUL character; leave it out.", "act"
        ) from None
    fields = moments_normalised(model, fields)
    return _signed(header, claims, parsed, version, fields, digests)


@lru_cache(maxsize=4096)
def _canonical_header(encoded: str) -> ActionHeader:
    """Return the header of a signed action, read from its encoded text.

    All actions of an agency have the same header. Raises ``Refusal`` if the header is not
    canonical.
    """
    return _canonical(ActionHeader, sd_jwt.header_of(encoded), "header")


def _read_earlier(parsed: SdJwt) -> SignedAction:
    """Read an action in any form that an earlier program recorded.

    Raises ``Refusal`` if the action is in no such form.
    """
    header = _validate(ActionHeader, parsed.header, "header")
    claims = _validate(_EarlierClaims, parsed.payload, "payload")
    if claims.kind in REGISTRY_ACTIONS:  # earlier programs recorded it whatever case it named
        claims = claims.model_copy(update={"case": None})
    model, version, fields, digests = _split(claims)
    fields = _validate(model, fields, "act").model_dump(mode="json", exclude_none=True)
    return _signed(header, claims, parsed, version, fields, digests)


def _split(claims: ActionClaims) -> tuple[type[LedgerModel], int, dict[str, Any], tuple[str, ...]]:
    """Return the ``ledger`` model, the schema version, the ``ledger`` fields and the digests.

    The fields are brought to today's version. Raises ``Refusal`` for an unknown kind or version,
    and for another number of digests than the kind carries.
    """
    kind = ALL_ACTIONS.get(claims.kind)
    if kind is None:
        known = ", ".join(sorted(CASE_ACTIONS))
        raise Refusal(
            Ground.INVALID, _UNKNOWN_KIND, f"There is no such action. Known: {known}.", "kind"
        )
    try:
        fields = unpacked(claims.kind, dict(claims.act))
    except ValueError as error:
        raise Refusal(Ground.INVALID, _MODEL, f"act: {error}.", "act") from None
    version = claims.version or 1
    if version > upcasters().version(claims.kind):
        raise Refusal(
            Ground.INVALID,
            _UNKNOWN_VERSION,
            f"{claims.kind} is of version {version}; this node knows "
            f"{upcasters().version(claims.kind)}, and must be updated.",
            "version",
        )
    digests = fields.pop("_sd", [])
    count = upcasters().digests(claims.kind, version)
    if count is None:
        count = len(kind.disclosable_fields())
    if not isinstance(digests, list) or len(digests) != count:
        raise Refusal(
            Ground.INVALID,
            "digest-count",
            f"{claims.kind} carries exactly {count} digests, with "
            "decoys (RFC 9901 section 4.2.5) for fields left out.",
            "act._sd",
        )
    if not all(map(_is_digest, digests)) or len(set(digests)) != len(digests):
        raise Refusal(
            Ground.INVALID, "digest-form", "Digests are distinct base64url SHA-256.", "act._sd"
        )
    return ledger_part(kind), version, _todays(claims.kind, version, fields), tuple(digests)


def _signed(
    header: ActionHeader,
    claims: ActionClaims,
    parsed: SdJwt,
    version: int,
    fields: Mapping[str, Any],
    digests: tuple[str, ...],
) -> SignedAction:
    """Return the action as signed. Raises ``Refusal`` for an approval that is not canonical."""
    return SignedAction(
        sd_jwt=parsed.without_disclosures(),
        algorithm=header.alg,
        id=claims.jti,
        agency=claims.iss,
        key_id=header.kid,
        signed_at=datetime.fromtimestamp(claims.iat, UTC),
        protocol=claims.protocol,
        case_id=claims.case,
        kind=claims.kind,
        fields=fields,
        digests=digests,
        version=version,
        approval=approval.read(parsed.approval) if parsed.approval else None,
    )


def _not_understood(
    text: str,
    mark: Mark,
    header: Mapping[str, Any],
    payload: Mapping[str, Any],
    recorded_at: datetime,
) -> SignedAction:
    """Return the action that stands for a text that this program does not understand.

    It keeps each claim that has the expected form.
    """
    claimed: dict[str, Any] = {}
    for name, adapter in _CLAIMED.items():
        try:
            claimed[name] = adapter.validate_python((header if name == "kid" else payload)[name])
        except (KeyError, ValidationError):
            claimed[name] = None
    return SignedAction(
        sd_jwt=text,
        algorithm=str(header.get("alg", "")),
        id=claimed["jti"] or UUID(bytes=sha256(text.encode()).digest()[:16]),
        agency=claimed["iss"] or "",
        key_id=claimed["kid"] or "",
        signed_at=recorded_at,
        protocol="",
        case_id=claimed["case"],
        kind=NOT_UNDERSTOOD,
        fields={"acted_at": format_utc(recorded_at)},
        digests=(),
        mark=mark,
    )


def signed_in_clear(action: SignedAction) -> dict[str, Any]:
    """Return the ``case`` fields that an older version of the kind's schema signed in the clear.

    An action of today's version has none.
    """
    if not upcasters().signs_in_clear(action.kind, action.version):
        return {}
    act = sd_jwt.parse(action.sd_jwt, may_be_approved=True).payload["act"]
    return upcasters().in_clear(action.kind, action.version, act)


def verify(action: SignedAction, key: OKPKey) -> None:
    """Check the agency's signature.

    Raises ``Refusal`` (``signature``) if it does not hold.
    """
    try:
        if action.algorithm == sd_jwt.ALGORITHM and sd_jwt.verifies(action.sd_jwt, key):
            return
    except SdJwtError:
        pass
    raise Refusal(Ground.UNAUTHENTIC, "signature", "The signature of the action does not verify.")


def check_disclosures(
    action: SignedAction, disclosures: Sequence[Disclosure], *, partial: bool = False
) -> Action | None:
    """Check each disclosure against its digest and its field's model, and return the whole action.

    The result is ``None`` for a ``partial`` action, of which some fields may have been left out on
    purpose. Raises ``Refusal``, which names the field and never repeats its value.
    """
    try:
        sd_jwt.check_disclosures(disclosures, action.digests)
    except SdJwtError as error:
        raise Refusal(Ground.INVALID, "disclosure", f"A disclosure is refused: {error}.") from error
    model = action.model
    for disclosure in disclosures:
        if disclosure.name not in model.disclosable_fields():
            raise Refusal(
                Ground.INVALID, "disclosure", f"{model.kind} has no such field.", _UNKNOWN
            )
    if partial:
        # Another country's node took it in before, perhaps by an earlier program.
        _check_each(model, disclosures, RECORDED)
        return None
    values = {disclosure.name: disclosure.value for disclosure in disclosures}
    try:
        return model.model_validate({**action.fields, **signed_in_clear(action), **values})
    except ValidationError as error:
        _check_each(model, disclosures, None)  # so that the first wrong field is named
        raise _refusal(error, None) from None


def _check_each(
    model: type[Action], disclosures: Sequence[Disclosure], context: Mapping[str, bool] | None
) -> None:
    """Check each disclosed value by itself. Raises ``Refusal`` that names the first wrong field."""
    for disclosure in disclosures:
        try:
            field_adapter(model, disclosure.name).validate_python(disclosure.value, context=context)
        except ValidationError as error:
            raise _refusal(error, disclosure.name) from None


def _todays(kind: str, version: int, fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields as today's model has them.

    Raises ``Refusal`` if an upcaster cannot read them or a field in clear is invalid.
    """
    try:
        in_clear = upcasters().in_clear(kind, version, fields)
        todays = upcasters().upcast(kind, version, fields)
    except (KeyError, TypeError, ValueError) as error:
        raise Refusal(
            Ground.INVALID, _MODEL, f"act is not {kind} of version {version}.", "act"
        ) from error
    for name, value in in_clear.items():
        try:
            field_adapter(ALL_ACTIONS[kind], name).validate_python(value)
        except ValidationError as error:
            raise _refusal(error, f"act.{name}") from None
    return todays


def _canonical(model: type[M], content: Mapping[str, Any], where: str) -> M:
    """Return the content as a model.

    Raises ``Refusal`` (``not-canonical``) for content in any other form than the canonical one.
    """
    for name, value in content.items():
        if value is None:
            named = name if name in model.model_fields else _UNKNOWN
            raise Refusal(
                Ground.INVALID,
                _NOT_CANONICAL,
                f"{where}.{named}: Leave out what has no value; do not write null.",
                f"{where}.{named}",
            )
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise _not_canonical(error, where) from None


def _not_canonical(error: ValidationError, where: str) -> Refusal:
    refusal = _refusal(error, where)
    return Refusal(refusal.ground, _NOT_CANONICAL, refusal.message, refusal.field)


def _validate(model: type[M], content: object, where: str) -> M:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise _refusal(error, where) from None


def _refusal(error: ValidationError, where: str | None) -> Refusal:
    first = error.errors(include_url=False, include_input=False)[0]
    named = [*([where] if where else []), *map(str, first["loc"])]
    if first["type"] == "extra_forbidden":
        named[-1] = _UNKNOWN
    path = ".".join(named)
    said = in_words(first)
    # A rule on several fields together names no path.
    return Refusal(Ground.INVALID, _MODEL, f"{path or 'The action'}: {said}.", path)


def _is_digest(item: object) -> bool:
    return isinstance(item, str) and _DIGEST.fullmatch(item) is not None
