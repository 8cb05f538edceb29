"""The ways by which a notice goes: e-mail, and webhooks signed as Standard Webhooks are."""

import base64
import json
import smtplib
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import SecretStr
from standardwebhooks import Webhook

from api.client.bounded_answers import bounded_client
from api.notifying.letters import email_of, words_for
from api.notifying.subscriptions import Subscription
from api.paper.languages.found import SOURCE
from api.paper.subject_access.wording import wording
from api.runtime.settings import Settings
from ledger.procedure.protocol import Protocol as Agreed
from ledger.system import clock

_SECONDS = 10.0
_MAIL_SECONDS = 60.0
_MAX_ANSWER = 64 * 1024
_GONE = 410


class NotReceivedError(Exception):
    """It was not received; the message says what is wrong, and no address."""

    def __init__(self, why: str, *, is_gone: bool = False) -> None:
        """``is_gone``: whether the receiver wants no more messages (410)."""
        super().__init__(why)
        self.is_gone = is_gone


class Channel(Protocol):
    def send(
        self,
        subscription: Subscription,
        notice_id: UUID,
        message: Mapping[str, Any],
        protocol: Agreed | None = None,
    ) -> None:
        """Hand a notice over. Raises ``NotReceivedError``.

        ``protocol`` has the languages and the words of the message, where it is for people.
        """


def signatures(subscription: Subscription, notice_id: UUID, at: datetime, body: str) -> str:
    """Return every signature of a message, by Standard Webhooks.

    Two secrets make two signatures (``v1``), an Ed25519 key makes one (``v1a``).
    """
    secrets = (subscription.secret, subscription.previous_secret)
    found = [
        Webhook(one.get_secret_value()).sign(str(notice_id), at, body)
        for one in secrets
        if one is not None
    ]
    if subscription.signing_key is not None:
        seed = base64.b64decode(subscription.signing_key.get_secret_value().removeprefix("whsk_"))
        signed = f"{notice_id}.{int(at.timestamp())}.{body}".encode()
        made = Ed25519PrivateKey.from_private_bytes(seed).sign(signed)
        found.append(f"v1a,{base64.b64encode(made).decode('ascii')}")
    return " ".join(found)


class WebhookChannel:
    """Posts to the subscriber's address, which is the operator's own choice."""

    def __init__(self) -> None:
        # A redirect would lead where nobody chose: it counts as not received.
        self._http = bounded_client(timeout=_SECONDS, limit=_MAX_ANSWER, seconds=_SECONDS)

    def send(
        self,
        subscription: Subscription,
        notice_id: UUID,
        message: Mapping[str, Any],
        protocol: Agreed | None = None,  # noqa: ARG002  # a program reads the message
    ) -> None:
        if subscription.webhook is None:
            raise NotReceivedError("the subscription has no webhook")
        body = json.dumps(message, separators=(",", ":"), sort_keys=True)
        now = clock.now()
        headers = {
            "Content-Type": "application/json",
            "webhook-id": str(notice_id),
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signatures(subscription, notice_id, now, body),
        }
        try:
            answer = self._http.post(subscription.webhook, content=body, headers=headers)
        except httpx.HTTPError as error:
            raise NotReceivedError(type(error).__name__) from None
        if not answer.is_success:
            raise NotReceivedError(
                f"status {answer.status_code}", is_gone=answer.status_code == _GONE
            )

    def close(self) -> None:
        self._http.close()


@dataclass(frozen=True, slots=True)
class MailServer:
    """The server that sends e-mail."""

    host: str
    port: int
    security: str
    sender: str
    user: str | None = None
    password: SecretStr | None = None
    roots: Path | None = None

    @classmethod
    def of(cls, settings: Settings) -> "MailServer | None":
        """Return the mail server of the settings, or ``None`` if they name none.

        Raises ``OSError``, and ``ValueError`` if the settings do not fit together.
        """
        if settings.smtp_host is None:
            return None
        if settings.smtp_from is None:
            raise ValueError("CASE_LEDGER_SMTP_HOST needs CASE_LEDGER_SMTP_FROM")
        if (settings.smtp_user is None) != (settings.smtp_password_file is None):
            raise ValueError("CASE_LEDGER_SMTP_USER and CASE_LEDGER_SMTP_PASSWORD_FILE go together")
        if settings.smtp_security == "none" and settings.smtp_user is not None:
            raise ValueError("no password goes over SMTP without TLS")
        password = settings.smtp_password_file
        return cls(
            host=settings.smtp_host,
            port=settings.smtp_port,
            security=settings.smtp_security,
            sender=settings.smtp_from,
            user=settings.smtp_user,
            password=SecretStr(password.read_text("utf-8").strip()) if password else None,
            roots=settings.smtp_roots,
        )


class MailChannel:
    """Hands in at a mail server, a connection for each: they are few."""

    def __init__(self, server: MailServer) -> None:
        self._server = server
        self._tls = ssl.create_default_context(
            cafile=str(server.roots) if server.roots is not None else None
        )

    def send(
        self,
        subscription: Subscription,
        notice_id: UUID,
        message: Mapping[str, Any],
        protocol: Agreed | None = None,
    ) -> None:
        if subscription.email is None:
            raise NotReceivedError("the subscription has no e-mail address")
        words = words_for(subscription, protocol) if protocol is not None else wording(SOURCE)
        letter = email_of(self._server.sender, subscription.email, notice_id, message, words)
        try:
            with self._connected() as smtp:
                if self._server.user is not None and self._server.password is not None:
                    smtp.login(self._server.user, self._server.password.get_secret_value())
                smtp.send_message(letter)
        except (OSError, smtplib.SMTPException) as error:
            # What a server says may repeat the address.
            code = getattr(error, "smtp_code", None)
            raise NotReceivedError(f"{type(error).__name__} {code or ''}".strip()) from None

    def _connected(self) -> smtplib.SMTP:
        server = self._server
        if server.security == "tls":
            return _TimedSMTPS(server.host, server.port, timeout=_SECONDS, context=self._tls)
        smtp = _TimedSMTP(server.host, server.port, timeout=_SECONDS)
        if server.security == "starttls":
            try:
                smtp.starttls(context=self._tls)
            except BaseException:
                smtp.close()
                raise
        return smtp


class _TimedSMTP(smtplib.SMTP):
    """Ends the connection after ``_MAIL_SECONDS``: ``smtplib`` limits each single wait alone."""

    def __init__(self, host: str, port: int, **more: Any) -> None:
        self.sock = None
        self._end = threading.Timer(_MAIL_SECONDS, self._shut_down)
        self._end.daemon = True
        self._end.start()
        try:
            super().__init__(host, port, **more)
        except BaseException:
            self._end.cancel()
            raise

    def close(self) -> None:
        self._end.cancel()
        super().close()

    def _shut_down(self) -> None:
        if self.sock is not None:
            with suppress(OSError):
                # Not the TLS socket's own method, after which a write would go out in clear.
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


class _TimedSMTPS(_TimedSMTP, smtplib.SMTP_SSL):
    """The same with TLS from the first byte."""
