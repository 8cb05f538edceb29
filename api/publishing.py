"""A node's part in publication: the log's key, its witnesses here and elsewhere, the loop."""

import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import httpx
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from api.settings import Settings
from ledger import keys
from ledger.application import Ledger
from ledger.store.database import Database
from ledger.transparency.note import SignatureType, SignerKey, VerifierKey
from ledger.transparency.policy import Policy, TrustedWitness
from ledger.transparency.publication import (
    AnotherKeyError,
    HistoryChangedError,
    Publication,
    Standing,
)
from ledger.transparency.witness import Answer, Witness, WitnessClient

_EVERY_SECONDS = 1.0
_log = structlog.get_logger(__name__)


class HttpWitness:
    """A witness at its submission prefix."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/") + "/add-checkpoint"
        self._http = httpx.Client(timeout=5.0)

    def add_checkpoint(self, request: bytes) -> Answer:
        try:
            response = self._http.post(self._url, content=request)
        except httpx.TransportError as error:
            raise ConnectionError(type(error).__name__) from error
        media_type = response.headers.get("content-type", "")
        return Answer(response.status_code, response.text, media_type)

    def close(self) -> None:
        self._http.close()


def log_key(settings: Settings) -> SignerKey:
    """The key that signs this ledger's checkpoints; made where there is none yet."""
    path = settings.key_directory / "log.jwk"
    return SignerKey(settings.origin, SignatureType.ED25519, _private(path))


def witness_key(settings: Settings, party: str) -> SignerKey:
    """The key that a party's witness cosigns with; made where there is none yet."""
    code = party.lower()
    path = settings.key_directory / f"witness-{code}.jwk"
    name = f"{settings.origin}/witness-{code}"
    return SignerKey(name, SignatureType.COSIGNATURE, _private(path))


def trusted_policy(settings: Settings) -> Policy:
    """The policy that the settings name, or else this node's own keys: every one is needed."""
    if settings.policy is not None:
        return Policy.parse(settings.policy.read_text(encoding="utf-8"))
    witnesses = {
        party: TrustedWitness(witness_key(settings, party).verifier)
        for party in _own_parties(settings)
    }
    return Policy.of(log_key(settings).verifier, witnesses)


@dataclass
class Publisher:
    """Takes a step of publication whenever the ledger may have grown."""

    settings: Settings
    ledger: Ledger
    database: Database
    local: Mapping[str, Witness] = field(init=False)
    publication: Publication = field(init=False)
    trouble: HistoryChangedError | AnotherKeyError | None = None
    """Why nothing more is signed, if so."""

    def __post_init__(self) -> None:
        policy = trusted_policy(self.settings)
        signer = log_key(self.settings)
        trusted = {signer.name: [signer.verifier]}
        self.local = local_witnesses(self.settings, self.database, trusted)
        by_key = {witness.signer.verifier: witness for witness in self.local.values()}
        self._remote: list[HttpWitness] = []
        clients: dict[str, WitnessClient] = {}
        for name, trusted_witness in policy.witnesses.items():
            here = by_key.get(trusted_witness.key)
            if here is not None:
                clients[name] = here
            elif trusted_witness.url is not None:
                remote = HttpWitness(trusted_witness.url)
                self._remote.append(remote)
                clients[name] = remote
        self.publication = Publication(self.ledger.rows, self.database, signer, clients, policy)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publish")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join()
        for remote in self._remote:
            remote.close()

    def standing(self) -> Standing:
        return self.publication.standing()

    def _run(self) -> None:
        done: tuple[int, int] | None = None
        while not self._stopping.is_set():
            try:
                head = self.ledger.rows.max_notification_id() or 0
                if done != (head, head):
                    standing = self.publication.step()
                    done = (standing.signed, standing.published)
                self.trouble = None
            except (HistoryChangedError, AnotherKeyError) as error:
                self.trouble = error
                _log.error("nothing more is signed", why=type(error).__name__)
            except Exception as error:
                _log.warning("publication interrupted", error=type(error).__name__)
            self._stopping.wait(_EVERY_SECONDS)


def local_witnesses(
    settings: Settings, database: Database, logs: Mapping[str, list[VerifierKey]]
) -> Mapping[str, Witness]:
    """The witnesses of the parties whose node this is."""
    parties = _own_parties(settings)
    return {p: Witness(database, p, witness_key(settings, p), logs) for p in parties}


def _own_parties(settings: Settings) -> tuple[str, ...]:
    return settings.countries or tuple(sorted(settings.load_protocol().party_codes))


def _private(path: Path) -> Ed25519PrivateKey:
    if not path.exists():
        with suppress(FileExistsError):  # another process may be first
            keys.save(keys.generate(), path)
    return cast("Ed25519PrivateKey", keys.load(path).private_key)
