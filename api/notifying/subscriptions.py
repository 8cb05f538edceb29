"""The agencies that get notices, and their addresses: a TOML file, with secrets in files apart."""

import base64
import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import ConfigDict, Field, SecretStr, ValidationError, model_validator
from standardwebhooks import Webhook

from api.authentication.sign_in import is_safe
from api.keys.log_keys import own_parties
from api.runtime.settings import Settings
from ledger.procedure.protocol import NODE, Protocol
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.types import AgencyId, LanguageTag


class Send(StrEnum):
    """The e-mails on what is due, where the agency chose nothing itself."""

    DIGEST = "digest"
    EACH = "each"
    NONE = "none"


class Events(StrEnum):
    """The sorts of messages that a webhook gets."""

    OBLIGATIONS = "obligations"
    """Obligations that are due, ends of keys, announced erasures, dangers and handovers."""
    CASES = "cases"
    """Each action that is recorded in a case that the agency sees."""


_ONLY_OBLIGATIONS = frozenset({Events.OBLIGATIONS})
_LEAST_SECRET = 24
"""Bytes, by the Standard Webhooks specification."""
_KEY_BYTES = 32
"""Of an Ed25519 private key."""


class _Written(LedgerModel):
    """One ``[[subscription]]`` of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    agency: AgencyId
    email: Annotated[str, Field(pattern=r"^[^\s@<>,;]+@[^\s@<>,;]+$", max_length=254)] | None = None
    webhook: Annotated[str, Field(pattern=r"^https?://[^\s@]+$", max_length=2000)] | None = None
    secret_file: Path | None = None
    previous_secret_file: Path | None = None
    """The secret before, while the receiver changes to the new one: both sign."""
    signing_key_file: Path | None = None
    """An Ed25519 key, in place of the secret: the receiver has only the public part."""
    events: Annotated[frozenset[Events], Field(min_length=1)] = _ONLY_OBLIGATIONS
    language: LanguageTag | None = None
    """Of e-mails. Without it: that of the agency's party in the protocol."""
    send: Send | None = None
    """Of e-mails. Without it: a daily digest."""

    @model_validator(mode="after")
    def _has_one_way(self) -> Self:
        if (self.email is None) == (self.webhook is None):
            raise ValueError("a subscription has either an email or a webhook")
        signs = (self.secret_file, self.signing_key_file) != (None, None)
        if (self.webhook is not None) != signs:
            raise ValueError("a webhook, and nothing else, has a secret_file or a signing_key_file")
        if self.previous_secret_file is not None and self.secret_file is None:
            raise ValueError("a previous_secret_file goes with a secret_file")
        if self.webhook is None and self.events != _ONLY_OBLIGATIONS:
            raise ValueError("events are for a webhook: e-mail has its own choice")
        if self.webhook is not None and self.send is not None:
            raise ValueError("a webhook gets each notice: send is for e-mail")
        if self.webhook is not None and not is_safe(self.webhook):
            raise ValueError("a webhook is https, or http on this machine")
        return self


class _File(LedgerModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    subscription: tuple[_Written, ...]


@dataclass(frozen=True, slots=True)
class Subscription:
    """The address for one agency's notices: e-mail, or a webhook with its secret."""

    agency: str
    email: str | None = None
    webhook: str | None = None
    secret: SecretStr | None = None
    language: str | None = None
    send: Send = Send.DIGEST
    """Of e-mails."""
    previous_secret: SecretStr | None = None
    """A secret that signs too, while the receiver changes."""
    signing_key: SecretStr | None = None
    """An Ed25519 key: ``whsk_`` and base64 of 32 bytes."""
    events: frozenset[Events] = _ONLY_OBLIGATIONS

    @property
    def id(self) -> UUID:
        """Return an id that stays while agency and address are the same, and that tells neither."""
        return uuid5(NAMESPACE_URL, f"{self.agency} {self.email or self.webhook}")


def read_subscriptions(
    file: Path, protocol: Protocol, parties: Collection[str]
) -> tuple[Subscription, ...]:
    """Read the subscriptions in a file, of agencies of these parties.

    Raises ``OSError``, and ``ValueError`` that names the fault but no address and no secret.
    """
    try:
        content: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
        written = _File.model_validate(content).subscription
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{file}: {error}") from None
    except ValidationError as error:
        wrong = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ValueError(f"{file}: {'; '.join(wrong)}") from None
    found = tuple(_subscription(one, file, protocol, parties) for one in written)
    if len({one.id for one in found}) != len(found):
        raise ValueError(f"{file}: an agency has the same address twice")
    return found


def _subscription(
    written: _Written, file: Path, protocol: Protocol, parties: Collection[str]
) -> Subscription:
    agency = protocol.agencies_by_id.get(written.agency)
    if agency is None or agency.party not in parties or agency.role == NODE:
        raise ValueError(f"{file}: {written.agency} is no agency of this node's countries")
    if written.webhook is None:
        return Subscription(
            agency.id,
            email=written.email,
            language=written.language,
            send=written.send or Send.DIGEST,
        )
    if Events.CASES in written.events and agency.international:
        raise ValueError(f"{file}: an international body follows no cases by webhook")
    return Subscription(
        agency.id,
        webhook=written.webhook,
        secret=_secret(written.secret_file),
        previous_secret=_secret(written.previous_secret_file),
        signing_key=_signing_key(written.signing_key_file),
        events=written.events,
    )


def subscriptions_of(settings: Settings) -> tuple[Subscription, ...]:
    """Return the subscriptions of the settings' file; none without a file.

    Raises as :func:`read_subscriptions` does.
    """
    if settings.notifications is None:
        return ()
    return read_subscriptions(
        settings.notifications, settings.load_protocol(), own_parties(settings)
    )


def _secret(file: Path | None) -> SecretStr | None:
    if file is None:
        return None
    secret = file.read_text(encoding="ascii").strip()
    if not _is_secret(secret):
        raise ValueError(f"{file}: a secret is whsec_ and base64 of {_LEAST_SECRET} bytes or more")
    return SecretStr(secret)


def _signing_key(file: Path | None) -> SecretStr | None:
    if file is None:
        return None
    key = file.read_text(encoding="ascii").strip()
    try:
        is_key = len(base64.b64decode(key.removeprefix("whsk_"), validate=True)) == _KEY_BYTES
    except ValueError:
        is_key = False
    if not is_key or not key.startswith("whsk_"):
        raise ValueError(f"{file}: a signing key is whsk_ and base64 of {_KEY_BYTES} bytes")
    return SecretStr(key)


def _is_secret(secret: str) -> bool:
    least = len("whsec_") + _LEAST_SECRET * 4 // 3
    try:
        Webhook(secret)
    except Exception:
        return False
    return secret.startswith("whsec_") and len(secret) >= least
