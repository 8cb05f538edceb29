"""Authenticate agencies by short-lived JWT assertions (RFC 7519, after RFC 7523)."""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Literal, TypeVar
from uuid import UUID

from joserfc.jwk import OKPKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.authentication.members import member_disabled
from api.authentication.replay_guard import LATEST, Use, Used, Using
from api.runtime.problem import problem
from ledger.procedure.protocol import Agency
from ledger.procedure.registry import Registry
from ledger.refusals import Ground, Refusal
from ledger.signing import sd_jwt
from ledger.signing.sd_jwt import SdJwt, SdJwtError
from ledger.store.database import Database
from ledger.system import clock
from ledger.vocabulary.registration import KeyId
from ledger.vocabulary.types import AgencyId, UnixTime

MAX_LIFETIME = timedelta(minutes=5)
CLOCK_SKEW = LATEST
_MAX_BYTES = 4096
T = TypeVar("T")


class _Header(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    alg: Literal["Ed25519"]
    typ: Literal["agency-assertion+jwt"]
    kid: KeyId


class _AssertionClaims(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    iss: AgencyId
    aud: Annotated[str, Field(max_length=200)]
    iat: UnixTime
    exp: UnixTime
    jti: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{16,64}$")]


@dataclass(frozen=True, slots=True)
class Assertion:
    """An assertion as it reads. Reading verifies nothing; see :meth:`Assertions.check`."""

    signed: SdJwt
    agency: str
    key_id: str
    audience: str
    jti: str
    issued_at: datetime
    expires_at: datetime

    def using(self, ledger_id: UUID, member: UUID | None) -> Using:
        """Return the use to remember for as long as the assertion could be accepted."""
        # With the skew on both sides.
        keep_until = self.expires_at + 2 * CLOCK_SKEW
        return Using(self.agency, self.jti, self.issued_at, keep_until, ledger_id, member)


class Assertions:
    """Verifies assertions. That each is used once is :mod:`api.authentication.replay_guard`'s."""

    def __init__(
        self,
        database: Database,
        audience: str,
        moments: Callable[[], Sequence[datetime]] = lambda: (clock.now(),),
    ) -> None:
        """Prepare the check of assertions.

        ``moments`` returns the times that it may be now: more than one if clocks differ.
        """
        self._database = database
        self._audience = audience
        self._moments = moments

    def check(self, assertion: Assertion, registry: Registry) -> Agency:
        """Return the agency that made an assertion.

        Raises ``Refusal`` (unauthentic) if the assertion is not accepted.
        """
        moments = self._moments()
        key = _at_any(moments, partial(self._key, assertion, registry))
        try:
            sd_jwt.verify(assertion.signed, key)
        except SdJwtError:
            raise _refused("assertion-signature", "The signature does not verify.") from None
        _at_any(moments, partial(self._check_claims, assertion))
        agency = registry.protocol_today(max(moments)).agencies_by_id.get(assertion.agency)
        if agency is None:
            raise _refused("unknown-agency", "This is no agency of the protocol.")
        return agency

    def member_of_revoked(self, assertion: Assertion, registry: Registry) -> UUID | None:
        """Return the member whose key made an assertion, if the key was revoked since.

        The assertion is refused all the same. Its signature and its times are checked, so that
        nobody else learns what follows from the member.
        """
        key = registry.keys.get(assertion.key_id)
        if key is None or key.revoked_position is None or key.agency != assertion.agency:
            return None
        try:
            sd_jwt.verify(assertion.signed, key.key)
            _at_any(self._moments(), partial(self._check_claims, assertion))
        except (SdJwtError, Refusal):
            return None
        return key.member

    def check_key(self, assertion: Assertion, registry: Registry) -> None:
        """Check that the key of an accepted assertion is still valid by a later registry.

        Raises ``Refusal`` if the key is not valid any more.
        """
        _at_any(self._moments(), partial(self._key, assertion, registry))

    def _key(self, assertion: Assertion, registry: Registry, now: datetime) -> OKPKey:
        try:
            return registry.signing_key(assertion.key_id, assertion.agency, now)
        except Refusal as refusal:
            raise _refused(refusal.rule, refusal.message) from None

    def _check_claims(self, assertion: Assertion, now: datetime) -> None:
        if assertion.audience != self._audience:
            raise _refused("assertion-audience", "The assertion is meant for another ledger.")
        issued, expires = assertion.issued_at, assertion.expires_at
        if expires <= now - CLOCK_SKEW:
            raise _refused("assertion-expired", "The assertion has expired; make a new one.")
        if issued > now + CLOCK_SKEW:
            raise _refused("assertion-early", "The assertion was issued in the future.")
        if not timedelta() < expires - issued <= MAX_LIFETIME:
            raise _refused(
                "assertion-lifetime",
                f"An assertion lives at most {int(MAX_LIFETIME.total_seconds())} seconds.",
            )

    def forget_expired(self) -> int:
        """Remove the used assertions that can no longer be replayed, and return their number."""
        with self._database.connection() as connection:
            return connection.execute(
                "DELETE FROM access.used_assertions WHERE expires_at < now()"
            ).rowcount


def _at_any(moments: Sequence[datetime], check: Callable[[datetime], T]) -> T:
    """Return the result of ``check`` at the first of the moments that it does not refuse.

    So a node whose clock differs from others still answers callers whose clocks are right. Raises
    the first moment's ``Refusal`` if ``check`` refuses at each.
    """
    first, *others = moments
    try:
        return check(first)
    except Refusal:
        for moment in others:
            with suppress(Refusal):
                return check(moment)
        raise


def check_used(used: Used) -> None:
    """Check that an assertion was not used before, and that its member is not disabled.

    Raises ``Refusal`` (``assertion-replayed``) if it was used, (``member-disabled``) if the member
    is disabled, and a problem (503) if a crash lost the record of whether it was used.
    """
    if used.is_disabled:
        raise member_disabled()
    match used.use:
        case Use.REPLAYED:
            raise _refused("assertion-replayed", "This assertion was used; make a new one.")
        case Use.UNSURE:
            wait = math.ceil((used.refused_until - clock.now()).total_seconds())
            wait = min(wait, int(CLOCK_SKEW.total_seconds()))
            raise problem(
                503,
                "Not available now",
                "assertion-before-crash",
                "The store has recovered from a crash, and whether an assertion of before was used "
                "is not known; make a new one.",
                {"Retry-After": str(max(1, wait))},
            )


def read(token: str) -> Assertion:
    """Read an assertion. Raises ``Refusal`` (``assertion-malformed``)."""
    if len(token) > _MAX_BYTES:
        raise _refused("assertion-malformed", "The assertion is too long.")
    try:
        parsed = sd_jwt.parse(f"{token}~")  # JSON and base64url in their one reading alone
        if parsed.disclosures:
            raise SdJwtError("an assertion discloses nothing")
        header = _Header.model_validate(parsed.header)
        claims = _AssertionClaims.model_validate(parsed.payload)
    except ValidationError as error:
        known = {*_Header.model_fields, *_AssertionClaims.model_fields}
        wrong = sorted({str(part) for e in error.errors() for part in e["loc"]} & known)
        named = ", ".join(wrong) or "a name that has no place here"
        raise _refused("assertion-malformed", f"Wrong or missing: {named}.") from None
    except SdJwtError:
        raise _refused("assertion-malformed", "It is no JWT (RFC 7519).") from None
    return Assertion(
        signed=parsed,
        agency=claims.iss,
        key_id=header.kid,
        audience=claims.aud,
        jti=claims.jti,
        issued_at=datetime.fromtimestamp(claims.iat, UTC),
        expires_at=datetime.fromtimestamp(claims.exp, UTC),
    )


def _refused(rule: str, message: str) -> Refusal:
    return Refusal(Ground.UNAUTHENTIC, rule, message, "Authorization")
