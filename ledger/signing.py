"""Case actions as SD-JWTs: what an agency signs, and how the signed part is read back."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID, uuid4

from joserfc.jwk import OKPKey
from pydantic import ConfigDict, Field, ValidationError

from ledger import sd_jwt
from ledger.keys import key_id
from ledger.refusals import Ground, Refusal
from ledger.sd_jwt import Disclosure, SdJwt, SdJwtError
from ledger.upcasting import upcasters
from ledger.vocabulary import ALL_ACTIONS, CASE_ACTIONS, Action
from ledger.vocabulary.action import LedgerModel, field_adapter, ledger_part
from ledger.vocabulary.registration import KeyId
from ledger.vocabulary.types import AgencyId, UnixTime

TYPE = "case-action+sd-jwt"
_DIGEST = re.compile(r"[A-Za-z0-9_-]{43}")
_UNKNOWN = "(unknown)"  # the name of a field that there is not could be anything
_random = random.SystemRandom()
M = TypeVar("M", bound=LedgerModel)


class ActionClaims(LedgerModel):
    """The payload that an agency signs (RFC 7519 names where there are any)."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    iss: AgencyId
    iat: UnixTime
    jti: UUID
    protocol: str
    case: UUID | None = None
    kind: str
    version: Annotated[int, Field(ge=2, strict=True)] | None = None
    """Of the kind's schema; left out for the first."""
    act: dict[str, Any]
    sd_alg: Literal["sha-256"] = Field(alias="_sd_alg")


class ActionHeader(LedgerModel):
    """The protected header of a signed action."""

    alg: Literal["Ed25519"]
    typ: Literal["case-action+sd-jwt"]
    kid: KeyId


@dataclass(frozen=True, slots=True)
class SignedAction:
    """An action as signed, with its ``ledger`` fields and nothing that they do not tell."""

    sd_jwt: str
    """The issuer-signed JWT without disclosures, ending in ``~``."""
    algorithm: str
    id: UUID
    agency: str
    key_id: str
    signed_at: datetime
    protocol: str
    case_id: UUID | None
    kind: str
    fields: Mapping[str, Any]
    """The ``ledger`` fields as JSON values, in today's version of the kind's schema."""
    digests: Sequence[str]
    version: int = 1
    """The version that was signed."""

    @property
    def model(self) -> type[Action]:
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
    act = action.ledger_claims() | ({"_sd": digests} if digests else {})
    version = upcasters().version(action.kind)
    claims = ActionClaims(
        iss=agency,
        iat=int((signed_at or datetime.now(UTC)).timestamp()),
        jti=action_id or uuid4(),
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


def parse(text: str) -> SdJwt:
    """Parse what an agency sent. Raises ``Refusal`` (``malformed-sd-jwt``)."""
    try:
        return sd_jwt.parse(text)
    except SdJwtError as error:
        raise Refusal(
            Ground.INVALID, "malformed-sd-jwt", f"The action is not an SD-JWT: it {error}."
        ) from error


def read(parsed: SdJwt) -> SignedAction:
    """Read the signed part. Raises ``Refusal`` naming the claim that is wrong.

    The signature is not checked here; see :func:`verify`.
    """
    header = _validate(ActionHeader, parsed.header, "header")
    claims = _validate(ActionClaims, parsed.payload, "payload")
    model = ALL_ACTIONS.get(claims.kind)
    if model is None:
        known = ", ".join(sorted(CASE_ACTIONS))
        raise Refusal(
            Ground.INVALID, "unknown-kind", f"There is no such action. Known: {known}.", "kind"
        )
    fields = dict(claims.act)
    version = claims.version or 1
    if version > upcasters().version(claims.kind):
        raise Refusal(
            Ground.INVALID,
            "unknown-version",
            f"{claims.kind} is of version {version}; this node knows "
            f"{upcasters().version(claims.kind)}, and must be updated.",
            "version",
        )
    digests = fields.pop("_sd", [])
    count = upcasters().digests(claims.kind, version)
    if count is None:
        count = len(model.disclosable_fields())
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
    todays = _todays(claims.kind, version, fields)
    canonical = _validate(ledger_part(model), todays, "act").model_dump(
        mode="json", exclude_none=True
    )
    _check_canonical(todays, canonical)
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
        fields=canonical,
        digests=tuple(digests),
        version=version,
    )


def _check_canonical(signed: Mapping[str, Any], canonical: Mapping[str, Any]) -> None:
    """Raises ``Refusal`` (``not-canonical``) for values written in another way than models write.

    Whoever reads the event later takes what was signed as it stands: a number for a time, or a text
    for yes or no, would be one thing to the rules and another to a reader.
    """
    for name in (*canonical, *signed):
        value, written = signed.get(name), canonical.get(name)
        if name not in signed or name not in canonical or not _is_same(value, written):
            raise Refusal(
                Ground.INVALID,
                "not-canonical",
                f"Write {name} as the models do: times as RFC 3339 in UTC with a Z and no zeros at"
                " the end, yes and no as true and false, numbers as numbers, and no null.",
                f"act.{name}",
            )


def _is_same(value: Any, written: Any) -> bool:
    """Whether two JSON values are equal, and of the same types: ``true`` is not 1."""
    if isinstance(value, dict) and isinstance(written, dict):
        return value.keys() == written.keys() and all(
            _is_same(part, written[name]) for name, part in value.items()
        )
    if isinstance(value, list) and isinstance(written, list):
        return len(value) == len(written) and all(map(_is_same, value, written))
    return type(value) is type(written) and value == written


def read_recorded(text: str) -> SignedAction:
    """Read back an action that the ledger accepted before, without validating it again."""
    parsed = sd_jwt.parse(text)
    payload = parsed.payload
    act = dict(payload["act"])
    digests = act.pop("_sd", ())
    case = payload.get("case")
    version = payload.get("version", 1)
    return SignedAction(
        sd_jwt=text,
        algorithm=parsed.header["alg"],
        id=UUID(payload["jti"]),
        agency=payload["iss"],
        key_id=parsed.header["kid"],
        signed_at=datetime.fromtimestamp(payload["iat"], UTC),
        protocol=payload["protocol"],
        case_id=UUID(case) if case else None,
        kind=payload["kind"],
        fields=upcasters().upcast(payload["kind"], version, act),
        digests=tuple(digests),
        version=version,
    )


def verify(action: SignedAction, key: OKPKey) -> None:
    """Check the agency's signature. Raises ``Refusal`` (``signature``)."""
    try:
        if action.algorithm == sd_jwt.ALGORITHM and sd_jwt.verifies(action.sd_jwt, key):
            return
    except SdJwtError:
        pass
    raise Refusal(Ground.UNAUTHENTIC, "signature", "The signature of the action does not verify.")


def check_disclosures(
    action: SignedAction, disclosures: Sequence[Disclosure], *, partial: bool = False
) -> Action | None:
    """Check each disclosure against its digest and its field's model.

    Returns the whole action; ``None`` for a ``partial`` one, of which some fields may have been
    left out on purpose. Raises ``Refusal`` that names the field and never
    repeats its value.
    """
    try:
        sd_jwt.check_disclosures(disclosures, action.digests)
    except SdJwtError as error:
        raise Refusal(Ground.INVALID, "disclosure", f"A disclosure is refused: {error}.") from error
    model = action.model
    values: dict[str, Any] = {}
    for disclosure in disclosures:
        field = disclosure.name
        if field not in model.disclosable_fields():
            raise Refusal(
                Ground.INVALID, "disclosure", f"{model.kind} has no such field.", _UNKNOWN
            )
        try:
            field_adapter(model, field).validate_python(disclosure.value)
        except ValidationError as error:
            raise _refusal(error, field) from None
        values[field] = disclosure.value
    if partial:
        return None
    try:
        return model.model_validate({**action.fields, **values})
    except ValidationError as error:
        raise _refusal(error, None) from None


def _todays(kind: str, version: int, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields as today's model has them; what an upcaster cannot read is refused as well."""
    try:
        return upcasters().upcast(kind, version, fields)
    except (KeyError, TypeError, ValueError) as error:
        raise Refusal(
            Ground.INVALID, "model", f"act is not {kind} of version {version}.", "act"
        ) from error


def _validate(model: type[M], content: object, where: str) -> M:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise _refusal(error, where) from None


def _refusal(error: ValidationError, where: str | None) -> Refusal:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    named = [*([where] if where else []), *map(str, first["loc"])]
    if first["type"] == "extra_forbidden":
        named[-1] = _UNKNOWN
    path = ".".join(named)
    return Refusal(Ground.INVALID, "model", f"{path}: {first['msg']}.", path)


def _is_digest(item: object) -> bool:
    return isinstance(item, str) and _DIGEST.fullmatch(item) is not None
