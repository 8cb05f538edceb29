"""The witnesses of the countries whose node this is, and how to reach those of others."""

import hashlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median_low
from typing import Protocol

import httpx

from api.client.bounded_answers import bounded_client
from api.keys.log_keys import own_parties, witness_keys
from api.runtime.settings import Settings
from api.runtime.status import StatusCache
from ledger.application import Ledger
from ledger.log.checkpoint import Checkpoint
from ledger.log.note import Note, VerifierKey, verify
from ledger.log.policy import TrustedWitness
from ledger.publication.dated_checkpoints import freshest
from ledger.publication.publisher import PolicyAt, published
from ledger.publication.witness import Copy, Witness, WitnessAnswer, WitnessClient
from ledger.replication.mirror import unsettled
from ledger.store.database import Database
from ledger.system.directory_watch import Reread

LATEST = 2**62
"""A size beyond all others, at which the policy is the one in force now."""
_ANSWER_BYTES = 64 * 1024
_ANSWER_SECONDS = 10.0
_COPY_SECONDS = 4.0
_LOOK_SECONDS = 0.25


FirstNewer = Callable[[], int | None]
"""Returns the position of the first event here that needs a later program, if there is one."""


class HttpWitness:
    """A witness at its submission prefix."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._http = bounded_client(timeout=8.0, limit=_ANSWER_BYTES, seconds=_ANSWER_SECONDS)

    def add_checkpoint(self, request: bytes) -> WitnessAnswer:
        response = self._ask("POST", "add-checkpoint", request)
        media_type = response.headers.get("content-type", "")
        return WitnessAnswer(response.status_code, response.text, media_type)

    def latest(self, origin_hash: str) -> str | None:
        response = self._ask("GET", f"{origin_hash}/checkpoint")
        return response.text if response.status_code == httpx.codes.OK else None

    def _ask(self, method: str, path: str, content: bytes | None = None) -> httpx.Response:
        try:
            return self._http.request(method, f"{self._url}/{path}", content=content)
        except httpx.TransportError as error:
            raise ConnectionError(type(error).__name__) from error

    def close(self) -> None:
        self._http.close()


class CopiedRoots:
    """The events that a country's node has copied, which its witnesses compare with."""

    def __init__(
        self, ledger: Ledger, database: Database, told: StatusCache, newer: FirstNewer
    ) -> None:
        self._rows = ledger.rows
        self._database = database
        self._told = told
        self._newer = newer

    def root_at(self, size: int) -> bytes | None:
        """Return the root of the first ``size`` events, and wait a little for these events.

        Returns ``None`` if the events do not come, if one of them needs a later program, or if the
        copied log contradicts itself: its roots vouch for nothing more.
        """
        deadline = time.monotonic() + _COPY_SECONDS
        while (tree := self._rows.tree()).size < size and time.monotonic() < deadline:
            self._told.wait(_LOOK_SECONDS)
        if size > tree.size or unsettled(self._database) is not None:
            return None
        return tree.root(size) if _is_understood(size, self._newer()) else None


def _is_understood(size: int, newer: int | None) -> bool:
    """Return whether none of the first ``size`` events needs a later program."""
    return newer is None or size < newer


class LedgerHistory(Protocol):
    """The takeovers and policies that this node has recorded."""

    @property
    def is_taken_over(self) -> bool:
        """Return whether the parties made another node the ledger node."""


class RecordedRoots:
    """The events of the ledger node itself: its witnesses cosign none that it has not recorded."""

    def __init__(self, ledger: Ledger, history: LedgerHistory, newer: FirstNewer) -> None:
        self._rows = ledger.rows
        self._history = history
        self._newer = newer

    def root_at(self, size: int) -> bytes | None:
        """Return the root of the first ``size`` events, or ``None`` if there are fewer.

        A submission of more was signed with this log's key elsewhere. It is also ``None`` after a
        takeover by another node: nothing of this ledger is cosigned any more. And it is ``None`` if
        one of these events needs a later program.
        """
        if self._history.is_taken_over or not _is_understood(size, self._newer()):
            return None
        tree = self._rows.tree()
        return tree.root(size) if size <= tree.size else None


@dataclass(frozen=True, slots=True)
class _Own:
    """The witnesses of this node."""

    of_party: Mapping[str, Sequence[Witness]]
    by_key: Mapping[VerifierKey, Witness]


class Witnesses:
    """One witness for each key of each own party; the policy in force says which one counts."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        policy_at: PolicyAt,
        copy: Copy | None = None,
    ) -> None:
        self._database = database
        self._policy_at = policy_at
        self._copy = copy
        # A key whose file is gone from a running node stays in use: the node's troubles name the
        # file (``key-files-changed``), and the next start refuses without it.
        self._own = Reread(settings.key_directory, lambda: self._read(settings))
        self._remote: dict[str, HttpWitness] = {}

    def _read(self, settings: Settings) -> "_Own":
        """Return a witness for each key file; each party's first key is made at a first start."""
        of_party = {
            party: [
                Witness(self._database, party, signer, self._trusted, self._copy)
                for signer in witness_keys(settings, party)
            ]
            for party in own_parties(settings)
        }
        return _Own(of_party, {w.signer.verifier: w for own in of_party.values() for w in own})

    def of(self, party: str) -> Witness | None:
        """Return the witness of a party, with the key that the policy in force names for it."""
        own = self._own.current.of_party.get(party)
        if own is None:
            return None
        named = {trusted.key for trusted in self._policy_at(LATEST).witnesses.values()}
        return next((witness for witness in own if witness.signer.verifier in named), own[0])

    def size(self, party: str, origin: str) -> int:
        """Return the last size of a log that a party's own witness cosigned."""
        witness = self.of(party)
        note = witness and witness.latest(hashlib.sha256(origin.encode()).hexdigest())
        return Checkpoint.parse(Note.parse(note).text).size if note else 0

    def cosigned_elsewhere_at(self) -> datetime | None:
        """Return when witnesses of other machines cosigned the last published checkpoint.

        It is the median of their times, the earlier of two: no clock may be before it, and one
        witness whose clock is ahead must stop nobody. Returns ``None`` if none of them cosigned.
        """
        found = published(self._database)
        if found is None:
            return None
        note, checkpoint = found
        # Cosigned again since, maybe: by a witness whose clock was put right.
        note = freshest(self._database, checkpoint.size) or note
        trusted = self._policy_at(checkpoint.size).witnesses.values()
        elsewhere = [one.key for one in trusted if not self.is_here(one)]
        times = [at.timestamp() for at in verify(note, elsewhere).values() if at is not None]
        return datetime.fromtimestamp(median_low(times), UTC) if times else None

    def is_here(self, trusted: TrustedWitness) -> bool:
        """Return whether a witness of the policy is in this process."""
        return trusted.key in self._own.current.by_key

    def client(self, _name: str, trusted: TrustedWitness) -> WitnessClient | None:
        """Return the client of a witness of the policy: in this process, or at its address."""
        here = self._own.current.by_key.get(trusted.key)
        if here is not None or trusted.url is None:
            return here
        if trusted.url not in self._remote:
            self._remote[trusted.url] = HttpWitness(trusted.url)
        return self._remote[trusted.url]

    def close(self) -> None:
        for remote in self._remote.values():
            remote.close()

    def _trusted(self, origin: str) -> Collection[VerifierKey]:
        return [key for key in self._policy_at(LATEST).logs if key.name == origin]
