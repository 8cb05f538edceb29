"""The agencies that get notices, and their addresses: a TOML file, with secrets in files apart."""

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
from ledger.procedure.protocol import NODE, Protocol
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.types import AgencyId, LanguageTag


class Send(StrEnum):
    """The e-mails on what is due, where the agency chose nothing itself."""

    DIGEST = "digest"
    EACH = "each"
    NONE = "none"


_LEAST_SECRET = 24
"""Bytes, by the Standard Webhooks specification."""


class _Written(LedgerModel):
    """One ``[[subscription]]`` of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    agency: AgencyId
    email: Annotated[str, Field(pattern=r"^[^\s@<>,;]+@[^\s@<>,;]+$", max_length=254)] | None = None
    webhook: Annotated[str, Field(pattern=r"^https?://[^\s@]+$", max_length=2000)] | None = None
    secret_file: Path | None = None
    language: LanguageTag | None = None
    """Of e-mails. Without it: that of the agency's party in the protocol."""
    send: Send | None = None
    """Of e-mails. Without it: a daily digest."""

    @model_validator(mode="after")
    def _has_one_way(self) -> Self:
        if (self.email is None) == (self.webhook is None):
            raise ValueError("a subscription has either an email or a webhook")
        if (self.webhook is None) != (self.secret_file is None):
            raise ValueError("a webhook, and nothing else, has a secret_file")
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
    if written.secret_file is None:
        return Subscription(
            agency.id,
            email=written.email,
            language=written.language,
            send=written.send or Send.DIGEST,
        )
    secret = written.secret_file.read_text(encoding="ascii").strip()
    if not _is_secret(secret):
        raise ValueError(
            f"{written.secret_file}: a secret is whsec_ and base64 of {_LEAST_SECRET} bytes or more"
        )
    return Subscription(agency.id, webhook=written.webhook, secret=SecretStr(secret))


def _is_secret(secret: str) -> bool:
    least = len("whsec_") + _LEAST_SECRET * 4 // 3
    try:
        Webhook(secret)
    except Exception:
        return False
    return secret.startswith("whsec_") and len(secret) >= least
