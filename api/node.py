"""What one running node holds: the ledger or its copy of it, its vaults, and the views."""

import threading
from contextlib import ExitStack
from datetime import timedelta
from types import TracebackType
from typing import Self

import structlog
from joserfc.jwk import OKPKey

from api.agency_keys import own_key
from api.anchoring import Anchoring
from api.assertions import Assertions
from api.client import LedgerClient
from api.country_keys import country_keys, pair_shares, parcel_keys, person_keys
from api.disclosing import Disclosing
from api.documents import Following
from api.erasing import Erasing
from api.following import Follower, HttpSource
from api.forwarding import Forwarder
from api.log_keys import log_keys, own_parties, policy_at, trusted_policy
from api.mailing import HttpPostOffice, PostOffice
from api.matching import Matching
from api.notifying.notifier import Notifier, check_notifications
from api.outcomes import Outcomes
from api.publishing import Publisher
from api.rates import Rate
from api.recording import DirectRecording, OutboxRecording, Recording
from api.sessions import Sessions
from api.settings import Settings
from api.sharing import Sharing
from api.sign_in import Relying, SignIn
from api.timestamping import Stamper, trusted_roots
from api.witnessing import Witnesses
from ledger.application import Ledger, environment
from ledger.mailbox import Mailbox
from ledger.mirror import Mirror
from ledger.outbox import Outbox
from ledger.protocol import NODE, Agency
from ledger.store.database import Database
from ledger.transparency.policy import Policy
from ledger.transparency.publication import Publication, Standing, sizes
from ledger.vault.disclosures import Vaults
from projections.reading import ViewReader
from projections.runner import Followers

_ORPHAN_AGE = timedelta(minutes=10)
_DECIDED_AGE = timedelta(days=30)
_SWEEP_EVERY = timedelta(minutes=10)
_log = structlog.get_logger(__name__)


class Node:
    """Opens everything on entry and closes it on exit."""

    def __init__(self, settings: Settings, conninfo: str) -> None:
        self.settings = settings
        self.conninfo = conninfo
        self.parties = own_parties(settings)
        self.database = Database(conninfo, max_size=settings.pool_size)
        self.ledger = Ledger(environment(conninfo, pool_size=settings.pool_size))
        self.country_keys = country_keys(settings, self.parties)
        self.vaults = Vaults(self.database, person_keys(settings, self.country_keys))
        self.outbox = Outbox(self.database)
        self.disclosing = Disclosing(self.ledger, self.vaults, self.outbox)
        self.views = ViewReader(self.database)
        self.assertions = Assertions(self.database, settings.audience)
        self.sessions = Sessions(self.database)
        self.sign_in = SignIn.of(settings, self.database)
        self.asked = Rate(settings.requests_per_minute)
        trusted = trusted_policy(settings)
        self.policy_at = policy_at(self.ledger, trusted)
        self.publisher: Publisher | None = None
        self.follower: Follower | None = None
        self.mailbox = Mailbox(self.database, parcel_keys(settings))
        self.outcomes = Outcomes(self.ledger, self.outbox)
        self.recording: Recording
        if settings.ledger_url is None:
            self._lead()
        else:
            self._follow(settings.ledger_url, trusted)
        self.erasing = Erasing(self.ledger, self.vaults, self.views, self.recording, self._node_key)
        self.anchoring = Anchoring(self.ledger, self.vaults, self.recording, self._node_key)
        self.stamper = Stamper.of(settings, self.database)
        self.notifier = Notifier.of(settings, self.database)
        self._stopping = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep_regularly, name="sweep")
        self._stack = ExitStack()

    def _lead(self) -> None:
        """Be the ledger node."""
        self.witnesses = Witnesses(self.settings, self.database, self.policy_at)
        self.publication = Publication(
            self.ledger.rows,
            self.database,
            log_keys(self.settings),
            self.witnesses.client,
            self.policy_at,
        )
        self.publisher = Publisher(self.ledger, self.publication)
        self.recording = DirectRecording(self.ledger, self.vaults, self.publisher)
        self._correspond(self.mailbox, "itself")

    def _follow(self, url: str, trusted: Policy) -> None:
        """Be a country's node."""
        client = node_client(self.settings, url)
        adoption = self.settings.adoption
        mirror = Mirror(
            self.ledger,
            self.database,
            trusted,
            adoption=bytes.fromhex(adoption) if adoption else None,
        )
        follower = Follower(mirror, HttpSource(url, client))
        forwarder = Forwarder(
            self.outbox, self.vaults, self.ledger, client, lambda: not follower.diverged
        )
        follower.when_grown = forwarder.copied
        self.follower = follower
        self.forwarder = forwarder
        self._correspond(HttpPostOffice(client), url)
        self._client = client
        self.witnesses = Witnesses(self.settings, self.database, self.policy_at, follower)
        self.recording = OutboxRecording(
            self.ledger, self.vaults, self.outbox, forwarder, follower, self.outcomes
        )

    def _correspond(self, post: PostOffice, via: str) -> None:
        """Exchange parcels with the other countries' nodes, by way of the ledger node ``via``."""
        shares = pair_shares(self.settings, self.country_keys)
        self.matching = Matching(self.ledger, self.vaults, shares, post, via)
        self.sharing = Sharing(
            self.ledger, self.vaults, self.country_keys, post, via, self.matching.take_in
        )

    def _node_key(self, node: Agency) -> OKPKey | None:
        try:
            return own_key(self.settings, node.id, None)
        except ValueError:
            return None

    @property
    def signed(self) -> int:
        """The last signed size that this node has, as this process knows it."""
        if self.publisher is not None:
            return self.publisher.signed
        return self.follower.size if self.follower is not None else 0

    @property
    def diverged(self) -> bool:
        """Whether this node found the log to contradict itself."""
        return self.follower is not None and self.follower.diverged

    @property
    def trouble(self) -> Exception | None:
        """Why nothing more is signed here, if so."""
        return self.publisher.trouble if self.publisher is not None else None

    def serves(self, agency: Agency) -> bool:
        """Whether an agency may ask here: a country's node is for its own country's agencies.

        Other nodes may, which copy from here should the ledger node be lost.
        """
        return self.follower is None or agency.party in self.parties or agency.role == NODE

    def serves_people(self, agency: Agency) -> bool:
        """Whether people may act for an agency here; a node is no person's."""
        return agency.role != NODE and self.serves(agency)

    def standing(self) -> Standing:
        """How far the log is signed, cosigned and published, as this node knows it."""
        if self.publisher is not None:
            return self.publisher.standing()
        signed, published = sizes(self.database)
        origin = self.policy_at(signed).logs[0].name
        witnesses = {party: self.witnesses.size(party, origin) for party in self.parties}
        return Standing(signed, published, witnesses)

    def following(self) -> Following | None:
        """How this node stands to the ledger node, where it is not that itself."""
        if self.follower is None or self.settings.ledger_url is None:
            return None
        return Following(
            ledger_url=self.settings.ledger_url,
            reachable=self.follower.reachable,
            heard_at=self.follower.heard_at,
            trouble=self.follower.trouble,
            waiting=len(self.outbox.undecided()),
        )

    def __enter__(self) -> Self:
        self._stack.callback(self.witnesses.close)
        if self.sign_in is not None:
            self._stack.callback(self.sign_in.close)
        self._stack.enter_context(self.database)
        self._stack.enter_context(self.ledger)
        self._stack.enter_context(Followers(self.conninfo))
        if self.publisher is not None:
            self._stack.enter_context(self.publisher)
        if self.follower is not None:
            self.follower.size = self.ledger.rows.frontier().size
            self._stack.enter_context(self._client)
            self._stack.enter_context(self.forwarder)
            self._stack.enter_context(self.follower)
        self._stack.enter_context(self.sharing)
        self._stack.enter_context(self.erasing)
        self._stack.enter_context(self.anchoring)
        self._stack.enter_context(self.matching)
        if self.stamper is not None:
            self._stack.enter_context(self.stamper)
        if self.notifier is not None:
            self._stack.enter_context(self.notifier)
        self._sweeper.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._sweeper.join()
        self._stack.close()

    def sweep(self) -> int:
        """Remove disclosures of actions that were never recorded, and what is over.

        A crash between taking in disclosures and recording their action leaves such.
        Returns how many actions' disclosures were removed.
        """
        self.assertions.forget_expired()
        self.sessions.forget_expired()
        self.outbox.forget(_DECIDED_AGE)
        removed = 0
        for vault in self.vaults:
            if sealed := vault.seal_stored():
                _log.info("disclosures of an earlier version encrypted", disclosures=sealed)
            held = vault.actions_older_than(_ORPHAN_AGE)
            # In this order: an action that is decided in between is in one or the other.
            waiting = self.outbox.undecided(held)
            orphans = set(held) - waiting - self.ledger.rows.recorded_action_ids(held)
            if orphans:
                vault.discard(sorted(orphans))
                removed += len(orphans)
        return removed

    def _sweep_regularly(self) -> None:
        while not self._stopping.is_set():
            try:
                if removed := self.sweep():
                    _log.info("disclosures of unrecorded actions removed", actions=removed)
            except Exception as error:
                _log.warning("sweep failed", error=type(error).__name__)
            self._stopping.wait(_SWEEP_EVERY.total_seconds())


def check_settings(settings: Settings) -> None:
    """Raises ``ValueError`` for what a node cannot be made of."""
    trusted_policy(settings)
    trusted_roots(settings)
    Relying.of(settings)
    check_notifications(settings)
    if settings.ledger_url is not None:
        if settings.policy is None:
            raise ValueError("a country's node needs CASE_LEDGER_POLICY: whose log it believes")
        node_client(settings, settings.ledger_url).close()


def node_client(settings: Settings, url: str) -> LedgerClient:
    """A client in the name of this country's node. Raises ``ValueError`` without its key."""
    protocol = settings.load_protocol()
    own = [a.id for a in protocol.agencies if a.role == NODE and a.party in own_parties(settings)]
    if not own:
        raise ValueError("the protocol names no node for CASE_LEDGER_COUNTRIES")
    return LedgerClient(
        url,
        agency=own[0],
        key=own_key(settings, own[0], None),
        protocol=protocol.id,
        audience=settings.audience,
        patience=0,
    )
