"""A real timestamp authority: certificates made here, answers made by the openssl program."""

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_CONFIGURATION = """
[tsa]
default_tsa = authority
[authority]
serial = {directory}/serial
signer_cert = {directory}/authority.pem
signer_key = {directory}/authority.key
signer_digest = sha256
default_policy = 1.3.6.1.4.1.99999.1
digests = {digests}
accuracy = secs:1
ess_cert_id_alg = sha256
{more}
"""


class Authority:
    """Answers requests as RFC 3161 says, unless made to lie.

    ``before`` alters the request that it reads, ``after`` the answer that it gives.
    """

    def __init__(
        self,
        directory: Path,
        *,
        digests: str = "sha256",
        valid: timedelta = timedelta(days=1),
        more: str = "",
    ) -> None:
        directory.mkdir()
        self.directory = directory
        self.answered: list[bytes] = []
        self.is_down = False
        self.before: Callable[[bytes], bytes] = bytes
        self.after: Callable[[bytes], bytes] = bytes
        root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        self.root = _certificate("root", root_key, "root", root_key, valid, None)
        usage = ExtendedKeyUsageOID.TIME_STAMPING
        certificate = _certificate("authority", key, "root", root_key, valid, usage)
        self.roots_file = directory / "roots.pem"
        self.roots_file.write_bytes(_pem(self.root))
        (directory / "authority.pem").write_bytes(_pem(certificate))
        (directory / "authority.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        (directory / "serial").write_text("01")
        (directory / "configuration").write_text(
            _CONFIGURATION.format(
                directory=directory, digests=digests, more=more.format(directory=directory)
            )
        )

    def answer(self, request: bytes) -> bytes:
        if self.is_down:
            raise ConnectionError("down")
        query, reply = self.directory / "query", self.directory / "reply"
        query.write_bytes(self.before(request))
        config = ("-config", str(self.directory / "configuration"))
        openssl("ts", "-reply", *config, "-queryfile", str(query), "-out", str(reply))
        self.answered.append(reply.read_bytes())
        return self.after(self.answered[-1])

    def verifies(self, token: bytes, text: str) -> bool:
        """Return whether the openssl program accepts a timestamp too."""
        data, reply = self.directory / "data", self.directory / "token"
        data.write_bytes(text.encode())
        reply.write_bytes(token)
        words = ("-data", str(data), "-in", str(reply), "-CAfile", str(self.roots_file))
        return "Verification: OK" in openssl("ts", "-verify", *words, check=False)


def openssl(*words: str, check: bool = True) -> str:
    """Return the output of the openssl program."""
    done = subprocess.run(["openssl", *words], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout + done.stderr


def of_another_text(request: bytes) -> bytes:
    """The same request, nonce and all, but of another hash."""
    assert request[22:24] == b"\x04\x20"  # what follows is the SHA-256
    return request[:24] + bytes(32) + request[56:]


Respond = Callable[[BaseHTTPRequestHandler, bytes], None]


@contextmanager
def serving_authority(respond: Authority | Respond, port: int = 0) -> Iterator[str]:
    """Serve an authority for as long as the block runs, or whatever answers in its place."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = self.rfile.read(int(self.headers["content-length"]))
            if not isinstance(respond, Authority):
                respond(self, request)
            elif self.headers["content-type"] != "application/timestamp-query":
                self.send_error(415)
            else:
                send(self, respond.answer(request))

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/tsa"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def send(
    handler: BaseHTTPRequestHandler,
    content: bytes,
    status: int = 200,
    media_type: str = "application/timestamp-reply",
) -> None:
    """A whole answer."""
    handler.send_response(status)
    handler.send_header("Content-Type", media_type)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    valid: timedelta,
    usage: x509.ObjectIdentifier | None,
) -> x509.Certificate:
    now = datetime.now(UTC)
    issuing = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + valid)
        .add_extension(x509.BasicConstraints(ca=usage is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(issuing, critical=False)
    )
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
