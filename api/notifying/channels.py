"""The ways by which a notice goes: e-mail, and webhooks signed as Standard Webhooks are."""

import json
import smtplib
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import httpx
from pydantic import SecretStr
from standardwebhooks import Webhook

from api.client.bounded_answers import bounded_client
from api.notifying.subscriptions import Subscription
from api.runtime.settings import Settings
from ledger.system import clock

_SECONDS = 10.0
_MAIL_SECONDS = 60.0
_MAX_ANSWER = 64 * 1024


class NotReceivedError(Exception):
    """It was not received; the message says what is wrong, and no address."""


class Channel(Protocol):
    def send(self, subscription: Subscription, notice_id: UUID, message: Mapping[str, Any]) -> None:
        """Hand a notice over. Raises ``NotReceivedError``."""


class WebhookChannel:
    """Posts to the subscriber's address, which is the operator's own choice."""

    def __init__(self) -> None:
        # A redirect would lead where nobody chose: it counts as not received.
        self._http = bounded_client(timeout=_SECONDS, limit=_MAX_ANSWER, seconds=_SECONDS)

    def send(self, subscription: Subscription, notice_id: UUID, message: Mapping[str, Any]) -> None:
        if subscription.webhook is None or subscription.secret is None:
            raise NotReceivedError("the subscription has no webhook")
        body = json.dumps(message, separators=(",", ":"), sort_keys=True)
        now = clock.now()
        signature = Webhook(subscription.secret.get_secret_value()).sign(str(notice_id), now, body)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": str(notice_id),
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signature,
        }
        try:
            answer = self._http.post(subscription.webhook, content=body, headers=headers)
        except httpx.HTTPError as error:
            raise NotReceivedError(type(error).__name__) from None
        if not answer.is_success:
            raise NotReceivedError(f"status {answer.status_code}")

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

    def send(self, subscription: Subscription, notice_id: UUID, message: Mapping[str, Any]) -> None:
        if subscription.email is None:
            raise NotReceivedError("the subscription has no e-mail address")
        letter = email_of(self._server.sender, subscription.email, notice_id, message)
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


def email_of(
    sender: str, recipient: str, notice_id: UUID, message: Mapping[str, Any]
) -> EmailMessage:
    """Return a notice as an e-mail in plain words, whose ``Message-ID`` stays the same."""
    data = message["data"]
    match message["type"]:
        case "key.ending":
            subject, content = _of_key(data)
        case "retention.announced":
            subject, content = _of_erasure(data)
        case "actions.waiting":
            subject, content = _of_waiting(data)
        case kind:
            subject, content = _of_obligation(kind, data)
    letter = EmailMessage()
    letter["From"], letter["To"] = sender, recipient
    letter["Subject"] = f"[case ledger] {subject}"
    letter["Message-ID"] = f"<{notice_id}@{sender.rpartition('@')[2]}>"
    letter["Date"] = datetime.fromisoformat(message["timestamp"])
    letter["Auto-Submitted"] = "auto-generated"
    letter["X-Webhook-Id"] = str(notice_id)
    letter.set_content(f"{content}Nobody reads answers to this message.\n")
    return letter


def _of_key(data: Mapping[str, Any]) -> tuple[str, str]:
    return f"A key ends: {data['agency']}, {data['ends'][:10]}", (
        f"A key of {data['agency']} ends on {data['ends'][:10]}. After that it signs nothing.\n\n"
        f"Key        {data['key_id']}\n"
        f"Ends       {data['ends']}\n\n"
        "Make another key, let the coordinator register it, and revoke this one. "
    )


def _of_erasure(data: Mapping[str, Any]) -> tuple[str, str]:
    return f"Erasure announced: {data['erase_from'][:10]}", (
        f"What is held on the person of a case will be erased from {data['erase_from']} on: the "
        f"period of retention of {data['kept_days']} days ends.\n\n"
        f"Case       {data['case_id']}\n"
        f"By         {data['announced_by']}\n"
        f"Action     {data['announcement']}\n\n"
        "A hold by a court or prosecutor stops it; a coordinator may announce a later time. "
        "case-ledger retention list shows all. "
    )


def _of_waiting(data: Mapping[str, Any]) -> tuple[str, str]:
    return f"{data['actions']} actions wait for the ledger node", (
        f"Actions of your country have had no outcome since {data['since']}. They are kept, and "
        "sent again.\n\n"
        f"Actions    {data['actions']}\n"
        f"Others'    {data['others_recorded_since']} of other countries were recorded since\n\n"
        "Ask the operators of your node and of the ledger node. The page /waiting shows more. "
    )


def _of_obligation(kind: str, data: Mapping[str, Any]) -> tuple[str, str]:
    is_overdue = kind == "obligation.overdue"
    said = "Overdue" if is_overdue else "Due soon"
    what = data["action"].replace("_", " ")
    return f"{said}: {what}, {data['due'][:10]}", (
        f"{said}: {what}\n\n"
        f"Owed by    {data['debtor_agency'] or data['debtor'] or 'any party to the case'}\n"
        f"Due        {data['due']}\n"
        f"Kind       {data['kind'].replace('_', ' ')}\n"
        f"Case       {data['case_id']}\n"
        f"Obligation {data['obligation_id']}\n\n"
        "It is discharged by recording the action in the case ledger. "
    )
