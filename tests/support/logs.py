"""A ledger with a log of its own, which copies can be made of, and which can be made to lie."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.application import Ledger
from ledger.log.checkpoint import Checkpoint
from ledger.log.note import Note, SignatureType, SignerKey
from ledger.log.policy import Policy, TrustedWitness
from ledger.procedure.registry import Registry
from ledger.publication.publisher import Publication, published, signed_after
from ledger.publication.witness import Witness
from ledger.signing import keys, signed_action
from ledger.store.database import Database
from ledger.store.event_rows import RecordedRow
from ledger.vocabulary import Action
from ledger.vocabulary.registration import KeyRegistered, LogPolicyAdopted, NamedCheckpoint
from tests.support.actions import START, opening
from tests.support.agencies import PAST, Agencies

ORIGIN = "ledger.example/logs"
PARTIES = ("AL", "ME", "XK")


def signer(name: str = ORIGIN, kind: SignatureType = SignatureType.ED25519) -> SignerKey:
    return SignerKey(name, kind, Ed25519PrivateKey.generate())


@dataclass
class Log:
    """One ledger, its log's key, and every party's witness in the same database."""

    ledger: Ledger
    database: Database
    agencies: Agencies
    key: SignerKey = field(default_factory=signer)
    witness_keys: dict[str, SignerKey] = field(
        default_factory=lambda: {
            p: signer(f"{ORIGIN}/{p}", SignatureType.COSIGNATURE) for p in PARTIES
        }
    )
    later_keys: list[SignerKey] = field(default_factory=list)
    threshold: int | None = None
    """So many witnesses are a quorum: all unless said."""
    away: set[str] = field(default_factory=set)
    """The parties whose witnesses do not answer."""

    @property
    def policy(self) -> Policy:
        """Return the first trusted policy."""
        return self.policy_of(self.key)

    def policy_of(self, key: SignerKey) -> Policy:
        witnesses = {p: TrustedWitness(k.verifier) for p, k in self.witness_keys.items()}
        return Policy.of(key.verifier, witnesses, self.threshold)

    def policy_at(self, size: int) -> Policy:
        registry = self.ledger.registry()
        return (registry and registry.policy_at(size)) or self.policy

    @property
    def publication(self) -> Publication:
        def trusted(origin: str) -> list[object]:
            return [k for k in self.policy_at(2**62).logs if k.name == origin]

        witnesses = {
            p: Witness(self.database, p, k, trusted)  # type: ignore[arg-type]
            for p, k in self.witness_keys.items()
        }
        return Publication(
            self.ledger.rows,
            self.database,
            [self.key, *self.later_keys],
            lambda name, _: None if name in self.away else witnesses[name],
            self.policy_at,
        )

    def registry(self) -> Registry:
        return self.ledger.adopted()

    def open_case(self) -> UUID:
        case_id = uuid4()
        self.act("xk-dhtqnj", opening(("XK", "ME")), case_id)
        return case_id

    def act(self, agency: str, action: Action, case_id: UUID) -> int:
        case = self.ledger.case(case_id)
        signed = self.agencies.sign(agency, action, case_id)
        version = case.version if case else 0
        return self.ledger.append(signed_action.read(signed), case_id, version).position

    def register(self, agency: str, action: Action | None = None) -> int:
        """An act on the protocol; a new key for an agency unless told otherwise."""
        grant = self.agencies.grant("xk-dhtqnj", keys.generate())
        act = action or KeyRegistered(acted_at=PAST, grant=grant)
        return self.ledger.append_to_registry(
            signed_action.read(self.agencies.sign(agency, act, None))
        ).position

    def record(self, agency: str, action: Action) -> RecordedRow:
        """Record an act on the protocol."""
        signed = signed_action.read(self.agencies.sign(agency, action, None))
        return self.ledger.append_to_registry(signed)

    def named(self, size: int | None = None) -> NamedCheckpoint:
        """The checkpoint of the first events, or of all, as a vote names it."""
        tree = self.ledger.rows.tree()
        of = tree.size if size is None else size
        return NamedCheckpoint(size=of, root=tree.root(of).hex())

    def decisions(
        self,
        policy: Policy,
        coordinators: Sequence[str] = (),
        *without: str,
        size: int | None = None,
    ) -> list[str]:
        """The coordinators' signed adoptions of a policy, in the ledger of the first events."""
        adopted = self.vote(policy, *without, size=size)
        names = coordinators or ("xk-nac", "me-nac", "al-nac")
        return [str(self.agencies.sign(name, adopted, None)) for name in names]

    def vote(
        self, policy: Policy | str, *without: str, size: int | None = None
    ) -> LogPolicyAdopted:
        """A vote for a policy, which names the checkpoint of the first events, or of all."""
        return LogPolicyAdopted(
            acted_at=START,
            policy=str(policy),
            without=without or None,
            checkpoint=self.named(size),
        )

    def adopt(self, policy: Policy) -> None:
        for decision in self.decisions(policy):
            self.ledger.append_to_registry(signed_action.read(signed_action.parse(decision)))

    def note(self, size: int, root: bytes | None = None, key: SignerKey | None = None) -> Note:
        """Whatever the log's key is made to sign."""
        tree = self.ledger.rows.tree()
        text = str(Checkpoint(ORIGIN, size, tree.root(size) if root is None else root))
        return Note(text, ((key or self.key).sign(text),))


@dataclass
class LogSource:
    """A log to copy from, each of whose answers can be replaced."""

    log: Log
    name: str = "test"
    is_down: bool = False
    head_instead: Note | None = None
    entries_instead: Sequence[bytes] | None = None

    def head(self, after: int, upto: int | None = None) -> str | None:
        self._check_up()
        if self.head_instead is not None:
            return str(self.head_instead)
        self.log.publication.sign()
        found = signed_after(self.log.database, after, upto)
        return str(found[0]) if found else None

    def entries(self, after: int, upto: int) -> Sequence[bytes]:
        self._check_up()
        if self.entries_instead is not None:
            return self.entries_instead
        return [row.state for row in self.log.ledger.rows.select_rows(after, upto - after)]

    def published(self) -> str | None:
        self._check_up()
        found = published(self.log.database)
        return str(found[0]) if found else None

    def lying(self, head: Note, entries: Sequence[bytes] | None = None) -> "LogSource":
        return replace(self, head_instead=head, entries_instead=entries)

    def _check_up(self) -> None:
        if self.is_down:
            raise ConnectionError("down")
