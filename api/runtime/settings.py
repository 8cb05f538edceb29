"""Configuration, from the environment alone."""

from pathlib import Path
from typing import Annotated, Literal, Self

import platformdirs
from pydantic import Field, PrivateAttr, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from ledger.procedure.protocol import Protocol, load_protocol, shipped_protocol

ORIGIN = r"^https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?$"

_SCANNER = r"^(unix:/[^\s]+|tcp://([a-z0-9.-]+|\[[0-9a-f:]+\]):[0-9]{1,5})$"


class Settings(BaseSettings):
    """Each field is the variable ``CASE_LEDGER_`` and its name in capitals."""

    model_config = SettingsConfigDict(env_prefix="CASE_LEDGER_", env_ignore_empty=True, frozen=True)

    _agreed: Protocol | None = PrivateAttr(None)
    """See :meth:`with_protocol`."""
    database_url: SecretStr | None = None
    """PostgreSQL 16 or newer. Unset: a private one is started under ``data_directory``."""
    owner_database_url: SecretStr | None = None
    """The same database as its owner, for migrations. Unset: ``database_url``."""
    data_directory: Path = Field(default_factory=lambda: platformdirs.user_data_path("case-ledger"))
    protocol: Path | None = None
    """A protocol file, for the adoption. Unset: the trilateral one that ships with this program.

    A ledger that adopted its protocol needs no file; one that is named must say the same."""
    locale: str | None = None
    """Folders of further languages, separated as in ``PATH``. Unset: the languages shipped."""
    countries: tuple[str, ...] | None = None
    """The parties whose vaults and witnesses are here. Unset: every party's; ``[]``: none's."""
    roles: Annotated[tuple[Literal["api", "work"], ...], Field(min_length=1)] = ("api", "work")
    """The roles of ``serve`` here: answer requests, and all the rest. Each has its own process."""
    processes: Annotated[int | None, Field(ge=1, le=64)] = None
    """Request processes of ``serve`` here. Unset: one for each core."""
    audience: str = "case-ledger"
    """The ``aud`` that an agency's assertion must name: this ledger, and no other."""
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8420
    ledger_origin: Annotated[str | None, Field(pattern=r"^[^\s+]+$")] = None
    """The origin line of checkpoints, best a URL without scheme. Unset: audience/protocol."""
    policy: Path | None = None
    """Trusted log and witness keys (C2SP tlog-policy). Unset: this node's own, of all parties."""
    country_key_passphrase: Annotated[SecretStr, Field(min_length=16)] | None = None
    """Opens the files of this node's countries' keys. Unset: one is made and kept beside them."""
    person_keys: Path | None = None
    """Each person's data key: never into a backup of the database. Unset: with the other keys."""
    document_store: Annotated[str | None, Field(pattern=r"^s3://[^\s?#@]+$")] = None
    """The place of the encrypted documents: ``s3://BUCKET/PREFIX``. Unset: the database.

    Credentials and endpoint are those of the environment (``AWS_ENDPOINT`` and others)."""
    scanner: Annotated[str | None, Field(pattern=_SCANNER)] = None
    """The malware scanner of uploads, a ``clamd``: ``unix:/PATH`` or ``tcp://HOST:PORT``.

    Unset: none examines them. Set: no action has a document that it did not examine."""
    scanner_seconds: Annotated[float, Field(ge=1, le=600)] = 60
    """The time in which the scanner must examine one upload."""
    ledger_url: Annotated[str | None, Field(pattern=r"^https?://")] = None
    """Where the ledger node is, for a country's node. Unset: this is the ledger node."""
    adoption: Annotated[str | None, Field(pattern=r"^[0-9a-f]{64}$")] = None
    """The leaf hash of the adoption that the parties compared; a copy begins with no other."""
    timestamp_url: Annotated[str | None, Field(pattern=r"^https?://[^\s@]+$")] = None
    """A timestamp authority (RFC 3161) for published checkpoints. Unset: they have none."""
    timestamp_roots: Path | None = None
    """Root certificates of timestamp authorities that are believed, a PEM bundle."""
    timestamp_every: Annotated[int, Field(ge=1)] = 60
    """At least so many seconds lie between two timestamps."""
    public_url: Annotated[str | None, Field(pattern=ORIGIN)] = None
    """Where browsers find this node: scheme, host and port, and nothing after them."""
    service_worker: bool = True
    """A service worker keeps the pages' files and an offline page in each browser.

    ``off``: browsers remove it at their next visit."""
    oidc_issuer: Annotated[str | None, Field(pattern=r"^https?://[^\s@?#]+$")] = None
    """The OpenID provider that signs people in. Unset: agencies' systems alone ask here."""
    oidc_client_id: str | None = None
    oidc_client_secret: SecretStr | None = None
    oidc_agency_claim: str = "agency"
    """The claim of an ID token that names the person's agency."""
    oidc_acr: str | None = None
    """The ``acr_values`` of a sign-in, so that the provider asks for a second factor."""
    notifications: Path | None = None
    """A TOML file: which agency is told of what it owes, by e-mail or webhook. Unset: none is."""
    notify_days_before: Annotated[int, Field(ge=0, le=365)] = 2
    """So many days before it is due."""
    digest_hour: Annotated[int, Field(ge=0, le=23)] = 7
    """The hour of a country's local time from which on its agencies get the daily digest."""
    smtp_host: str | None = None
    """The mail server for notifications. Unset: there is no e-mail."""
    smtp_port: Annotated[int, Field(ge=1, le=65535)] = 587
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    """``none`` for a server on this machine alone: then nobody signs in there."""
    smtp_user: str | None = None
    smtp_password_file: Path | None = None
    smtp_from: Annotated[str | None, Field(pattern=r"^[^\s@<>,;]+@[^\s@<>,;]+$")] = None
    """The address that notifications come from."""
    smtp_roots: Path | None = None
    """Root certificates of the mail server, a PEM bundle. Unset: the system's."""
    tls_certificate: Path | None = None
    """A PEM chain. Set: this process ends TLS itself. Unset: a proxy does."""
    tls_key: Path | None = None
    tls_client_roots: Path | None = None
    """Root certificates of clients, a PEM bundle. Set: nobody is heard without one of theirs."""
    requests_per_minute: Annotated[int, Field(ge=1)] = 30_000
    """The requests of one agency that the request processes here answer in a minute."""
    failures_per_minute: Annotated[int, Field(ge=1)] = 3_000
    """Requests from one address whose assertion is refused, before all of its are for a while."""
    submissions_per_minute: Annotated[int, Field(ge=1)] = 600
    """Checkpoints that one address may submit to the witnesses here in a minute."""
    connections_per_address: Annotated[int, Field(ge=1)] = 256
    """Connections, and requests under way, of one address. A proxy's own has no such limit."""
    streams: Annotated[int, Field(ge=1)] = 256
    """Streams of events that are open at once, and as many requests that wait for a signed head."""
    streams_per_agency: Annotated[int, Field(ge=1)] = 16
    """The same of one agency."""
    stream_keepalive_seconds: Annotated[float, Field(gt=0, le=30)] = 15
    """A stream of events sends a comment when nothing came for so long, so that proxies keep it."""
    disk_low_mebibytes: Annotated[int | None, Field(ge=0)] = None
    """Nothing new is taken while less is free. Unset: 256, or a twentieth of a small disk."""
    disk_reserve_mebibytes: Annotated[int | None, Field(ge=0)] = None
    """Held in files, and given up when the disk is full. Unset: 64, or an eightieth."""
    disk_directories: tuple[Path, ...] = ()
    """Further directories whose free space counts, such as that of a database on this machine."""
    backup_directory: Path | None = None
    """The backup of the database, where this machine sees it: ``doctor`` reads its age there."""
    clock_tolerance_seconds: Annotated[float, Field(ge=1, le=300)] = 5.0
    """How far clocks may differ: beyond it, this node records nothing, and ``/ready`` says so."""
    streams_reserved: Annotated[int, Field(ge=0)] = 32
    """So many of the streams, half at most, are for oversight bodies and nodes alone."""
    sign_ins_per_minute: Annotated[int, Field(ge=1)] = 120
    """Sign-ins at the OpenID provider and uses of invitations of one address in a minute."""
    prints: Annotated[int, Field(ge=1)] = 2
    """PDFs and figures of the whole ledger that are made at once; the others wait."""
    prints_per_agency: Annotated[int, Field(ge=1)] = 4
    """The same of one agency, made or waited for."""
    previews: Annotated[int, Field(ge=1, le=64)] = 2
    """Documents that are read at once for pictures and metadata, each with up to 1 GiB of memory.

    The others wait."""
    previews_per_agency: Annotated[int, Field(ge=1)] = 8
    """The same of one agency, read or waited for."""
    missing_after_seconds: Annotated[float, Field(ge=0, le=86400)] = 60
    """So long what another country sends may take, before it counts as missing and is asked for."""
    waiting_after_seconds: Annotated[float, Field(ge=1, le=7 * 86400)] = 900
    """So long an action may wait for its outcome before it is a trouble, and stated to others."""
    access_log_days: Annotated[int, Field(ge=365, le=36_500)] = 3650
    """An entry of an access log is kept so long, and as long as the person's data is here."""
    member_name_days: Annotated[int, Field(ge=1, le=36_500)] = 365
    """The name of a member who left is erased after so long."""
    key_request_days: Annotated[int, Field(ge=1, le=3660)] = 30
    """A key that a browser made waits so long for the coordinator to register it."""
    read_mark_days: Annotated[int, Field(ge=30, le=36_500)] = 400
    """An agency's marks of single items end after so long; all that came before counts as read."""
    pool_size: Annotated[int, Field(ge=2, le=200)] = 12

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources of values: no files, which would take as long to look for."""
        return init_settings, env_settings

    def listening_on(
        self, host: str | None, port: int | None, processes: int | None = None
    ) -> Self:
        """Return the same settings with another address, or number of processes, if given."""
        given = {"host": host, "port": port, "processes": processes}
        return self.model_copy(update={k: v for k, v in given.items() if v is not None})

    @property
    def key_directory(self) -> Path:
        """Return the directory of the private keys."""
        return self.data_directory / "keys"

    @property
    def origin(self) -> str:
        """Return the origin, which is the ledger's name in its checkpoints."""
        return self.ledger_origin or f"{self.audience}/{self.load_protocol().id}"

    def with_protocol(self, agreed: Protocol) -> Self:
        """Return the same settings for a ledger whose parties agreed on a protocol."""
        changed = self.model_copy()
        changed._agreed = agreed
        return changed

    def load_protocol(self) -> Protocol:
        """Load the protocol that a new ledger adopts.

        For a ledger that adopted one, it is the version in force at the start of the process. A
        running node decides by the registry instead. Raises ``ValueError``.
        """
        if self._agreed is not None:
            return self._agreed
        return load_protocol(self.protocol) if self.protocol else shipped_protocol()
