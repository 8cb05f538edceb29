"""Certificates of an authority of the tests, for nodes that end TLS themselves."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Authority:
    """A certification authority that lives as long as a test."""

    directory: Path
    name: str

    def __post_init__(self) -> None:
        self.issue(None)

    @property
    def roots(self) -> Path:
        return self.directory / f"{self.name}.pem"

    def issue(self, subject: str | None, *, over: bool = False) -> tuple[Path, Path]:
        """A certificate and its key, as files; its own for no subject, an expired one if asked."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject or self.name)])
        where = self.directory / f"{self.name}{'-' + subject if subject else ''}"
        paths = where.with_suffix(".pem"), where.with_suffix(".key")
        signer = key
        if subject is not None:
            loaded = load_pem_private_key((self.directory / f"{self.name}.key").read_bytes(), None)
            assert isinstance(loaded, ec.EllipticCurvePrivateKey)
            signer = loaded
        addresses = [x509.IPAddress(IPv4Address("127.0.0.1")), x509.DNSName("localhost")]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(named)
            .issuer_name(own)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=2))
            .not_valid_after(now + timedelta(days=-1 if over else 1))
            .add_extension(x509.BasicConstraints(ca=subject is None, path_length=None), True)
            .add_extension(x509.SubjectAlternativeName(addresses), False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False
            )
            .sign(signer, SHA256())
        )
        paths[0].write_bytes(certificate.public_bytes(Encoding.PEM))
        paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return paths

    def context(self, certificate: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        """A client that believes this authority, and shows a certificate if it has one."""
        context = ssl.create_default_context(cafile=self.roots)
        if certificate is not None:
            context.load_cert_chain(*certificate)
        return context
