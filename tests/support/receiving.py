"""Receivers of notifications: a webhook that checks signatures, and a mail server with TLS."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage, Message
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from standardwebhooks import Webhook

from api.demo.node_process import free_port

SECRET = "whsec_" + "c2VjcmV0IG9mIGEgdGVzdCwgbm90aGluZyBlbHNl"
OTHER_SECRET = "whsec_" + "YW5vdGhlciBzZWNyZXQgb2YgYSB0ZXN0LCBub25l"


@dataclass
class Hook:
    """The messages that came to a webhook with a valid signature, each with its id."""

    url: str = ""
    came: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    when_it_comes: Callable[[], None] = lambda: None

    @property
    def ids(self) -> list[str]:
        return [notice_id for notice_id, _ in self.came]


@contextmanager
def webhook() -> Iterator[Hook]:
    """A subscriber's server, which answers as the hook says."""
    hook = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            message = Webhook(SECRET).verify(body, dict(self.headers))
            hook.came.append((self.headers["webhook-id"], message))
            hook.when_it_comes()
            self.send_response(hook.status)
            for name, value in hook.headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    hook.url = f"http://127.0.0.1:{server.server_port}/hook?token=not-to-be-logged"
    try:
        yield hook
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Post:
    """A mail server, and what was handed in."""

    port: int
    letters: list[Message] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    refuses: bool = False

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.refuses:
            return "451 try again, nobody@example.org"
        content = envelope.content
        assert isinstance(content, bytes)
        self.letters.append(message_from_bytes(content, policy=default))
        self.encrypted.append(session.ssl is not None or server.transport.get_extra_info("cipher"))
        return "250 OK"


@contextmanager
def mail_server(
    directory: Path, *, security: str = "starttls", password: str = ""
) -> Iterator[Post]:
    """A real SMTP server on this machine, whose certificate is in ``directory/roots.pem``."""
    context = _tls(directory)
    post = Post(0)

    def authenticate(*arguments: object) -> AuthResult:
        given = arguments[-1]
        assert isinstance(given, LoginPassword)
        post.users.append(given.login.decode())
        return AuthResult(success=given.password.decode() == password, handled=False)

    options: dict[str, Any] = {"hostname": "127.0.0.1", "port": free_port()}
    if security == "starttls":
        options |= {"tls_context": context, "require_starttls": True}
    elif security == "tls":
        options |= {"ssl_context": context, "auth_require_tls": False}
    if password:
        options |= {"authenticator": authenticate, "auth_required": True}
    post.port = options["port"]
    controller = _Controller(post, **options)
    controller.start()
    try:
        yield post
    finally:
        controller.stop()


class _Controller(Controller):
    def _trigger_server(self) -> None:
        """Makes the server answer once, as it is waited for: with TLS it would check its own."""
        with socket.create_connection((self.hostname, self.port), 5) as connection:
            if self.ssl_context is None:
                connection.recv(1024)
            else:
                context = ssl._create_unverified_context()
                with context.wrap_socket(connection) as encrypted:
                    encrypted.recv(1024)


def _tls(directory: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.example")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    roots, private = directory / "roots.pem", directory / "mail.key"
    roots.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(roots, private)
    return context


def text_of(letter: Message) -> str:
    """The body of a letter of one part."""
    assert isinstance(letter, EmailMessage)
    return str(letter.get_content())
