"""The parts from which a node answers requests: the ledger or its copy, the vaults, the views."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Self

from api.authentication.assertions import Assertions
from api.authentication.members import Members
from api.authentication.sessions import Sessions
from api.authentication.sign_in import RelyingParty, SignIn
from api.background_jobs.clock_watch import ClockWatch
from api.background_jobs.timestamper import trusted_roots
from api.background_jobs.view_checker import malformed_rows
from api.client import LedgerClient
from api.client.schemas import Following
from api.continuity.history_guard import HistoryGuard, mark_file
from api.continuity.lost_keys import check_none_lost
from api.exchange.parcel_standing import ParcelsStanding, parcels_standing
from api.exchange.takeover_watch import TakeoverWatch
from api.exchange.waiting_times import WaitingComparison
from api.exchange.witness_clients import LATEST, CopiedRoots, RecordedRoots, Witnesses
from api.keys.agency_keys import own_key
from api.keys.country_keys import country_keys, parcel_keys, person_keys, search_keys
from api.keys.log_keys import OwnLogKeys, own_parties, policy_at, trusted_policy
from api.node.joined_parties import restart_troubles
from api.node.newer_events import newer_troubles
from api.notifying.mail_choices import MailChoices
from api.notifying.notifier import check_notifications, mailed_agencies
from api.paper.languages.catalogue import check_named_languages
from api.runtime.clamd import ClamdScanner
from api.runtime.disk import Room
from api.runtime.document_store import ObjectStoreCheck, document_chunks
from api.runtime.rate_limit import Rate
from api.runtime.readiness import Checks
from api.runtime.settings import Settings
from api.runtime.status import StatusCache
from api.runtime.trouble import Trouble
from api.services.access_log_audit import AccessLogAudit
from api.services.action_status import Outcomes
from api.services.agency_files import AgencyFiles
from api.services.append_service import (
    AppendService,
    DirectAppend,
    GuardedAppend,
    OutboxAppend,
)
from api.services.arrived import ArrivedLists
from api.services.breach_report import BreachReports
from api.services.case_search import CaseSearch
from api.services.decisions import Decisions, ForwardedDecisions, SignedDecisions
from api.services.document_previews import UploadPreviews
from api.services.document_uploads import DocumentUploads
from api.services.drafts import Drafts
from api.services.person_search import PersonSearch
from api.services.personal_data_access import PersonalDataAccess
from api.services.settling import Settling
from api.services.statistics_records import StatisticsRecords
from ledger.application import Ledger, environment
from ledger.log.cosigned_times import CosignedTimes
from ledger.log.note import VerifierKey
from ledger.procedure.case import Case
from ledger.procedure.erasures import ErasedData, erased_data
from ledger.procedure.protocol import NODE, Agency, Protocol
from ledger.procedure.registry import Registry
from ledger.publication import publisher
from ledger.publication.dated_checkpoints import KEPT_AN_HOUR, cosigned_times
from ledger.publication.publisher import LogProgress, sizes
from ledger.replication.false_decisions import FalseDecisions
from ledger.replication.mailbox import Mailbox
from ledger.replication.outbox import Outbox
from ledger.replication.submissions import Submissions
from ledger.store.database import Database
from ledger.system import clock
from ledger.system.periodic_worker import stop_together
from ledger.vault.vault import Vaults
from projections.tables.view_queries import ViewReader

_DAYS_BESIDE_GRACE = 30


class Node:
    """Opens everything on entry and closes it on exit.

    It does nothing of itself: what goes on without being asked is :mod:`api.processes.worker`'s, in
    this process or in another.
    """

    def __init__(self, settings: Settings, conninfo: str) -> None:
        self.settings = settings
        self.conninfo = conninfo
        self.parties = own_parties(settings)
        check_none_lost(settings, conninfo, own_key_names(settings, leads=self.leads))
        self.database = Database(conninfo, max_size=settings.pool_size)
        self.ledger = Ledger(environment(conninfo, pool_size=settings.pool_size))
        self.country_keys = country_keys(settings, self.parties)
        self.scanner = ClamdScanner.of(settings)
        data_keys = person_keys(settings, self.country_keys)
        self.vaults = Vaults(
            self.database,
            data_keys,
            self.ledger.unread,
            document_chunks(settings),
            self.scanner,
            search_keys(settings, self.country_keys),
        )
        self.outbox = Outbox(self.database)
        self.false_decisions = FalseDecisions(self.database)
        self.submissions = Submissions(self.database)
        self.waiting = WaitingComparison(self.ledger, self.outbox, self.parties)
        self.clock = ClockWatch.of(
            settings, self.database, lambda: self.witnesses.cosigned_elsewhere_at()
        )
        self.disclosing = PersonalDataAccess(
            self.ledger, self.vaults, self.outbox, self.clock.moments
        )
        self.audit = AccessLogAudit(self.ledger, self.vaults, self.disclosing)
        self.finding = PersonSearch(self.ledger, self.vaults, self.clock.moments)
        self.statistics = StatisticsRecords(self.ledger, self.vaults)
        self.views = ViewReader(self.database)
        self.breaches = BreachReports(self.ledger, self.views, self.audit)
        self.agency_files = AgencyFiles(self.ledger, self.vaults)
        self.case_search = CaseSearch(self.views, self.agency_files, self.finding)
        self.mail_choices = MailChoices(self.database)
        self.mailed = mailed_agencies(settings)
        self.arrived = ArrivedLists(self.database, self.views.documents)
        self.assertions = Assertions(self.database, settings.audience, self.clock.moments)
        self.sessions = Sessions(self.database)
        self.members = Members(self.database, data_keys)
        self.sign_in = SignIn.of(settings, self.database)
        self.asked = Rate(settings.requests_per_minute, "requests")
        self.policy_at = policy_at(self.ledger, settings)
        self.mailbox = Mailbox(self.database, parcel_keys(settings))
        self.outcomes = Outcomes(self.ledger, self.outbox)
        self.drafts = Drafts(self.ledger, self.vaults, self.outcomes, self.members.active_among)
        self.settling = Settling(self.ledger)
        self.told = StatusCache(self.database)
        self.room = Room(settings)
        self.uploads = DocumentUploads(self.ledger, self.vaults, self.room.look)
        self.upload_previews = UploadPreviews(self.uploads)
        self.checks = Checks()
        """The faults of the node that this process itself finds."""
        self.checks.add(self.clock.check)
        self.history = HistoryGuard(self.ledger, mark_file(settings), settings)
        self.checks.add(self.history.look)
        self.checks.add(lambda: newer_troubles(self.ledger))
        self.checks.add(
            lambda: restart_troubles(
                self.ledger.registry(), self.parties, plays_every_party=settings.countries is None
            ),
            is_seldom=True,
        )
        if self.scanner is not None:
            self.checks.add(self.scanner.troubles, is_seldom=True)
        if (object_store := ObjectStoreCheck.of(settings)) is not None:
            self.checks.add(object_store.troubles, is_seldom=True)
        self.checks.add(lambda: malformed_rows(self.views.documents))
        self.decisions: Decisions
        append_service: AppendService
        if self.leads:
            signed = SignedDecisions(self.ledger, OwnLogKeys(settings), trusted_policy(settings))
            self.decisions = signed
            append_service = DirectAppend(self.ledger, self.vaults, signed)
        else:
            self.decisions = ForwardedDecisions(self.outbox)
            append_service = OutboxAppend(
                self.ledger, self.vaults, self.outbox, self.outcomes, self.told
            )
        self.append_service: AppendService = GuardedAppend(
            self.ledger,
            self.history,
            append_service,
            lambda: self.troubles,
            self.drafts.approving,
        )
        self.witnesses = Witnesses(
            settings,
            self.database,
            self.policy_at,
            RecordedRoots(self.ledger, self.history, self.first_newer)
            if self.leads
            else CopiedRoots(self.ledger, self.database, self.told, self.first_newer),
        )
        self.takeover = TakeoverWatch(
            settings, self.policy_at, self._earlier_log_keys, self.witnesses, self.history
        )
        self._stack = ExitStack()

    def _earlier_log_keys(self) -> set[VerifierKey]:
        """Return the log keys of recorded policies that count no more."""
        registry = self.ledger.registry()
        recorded = registry.policies if registry else ()
        policies = [self.policy_at(0), *(agreed.policy for agreed in recorded)]
        return {key for policy in policies for key in policy.logs} - set(policies[-1].logs)

    def first_newer(self) -> int | None:
        """Return the position of the first event here that needs a later program, if any."""
        found = (self.ledger.newer, self.told.now.newer)
        return min((position for position in found if position is not None), default=None)

    @property
    def leads(self) -> bool:
        """Return whether this is the ledger node, and no country's alone."""
        return self.settings.ledger_url is None

    @property
    def signed(self) -> int:
        """Return the last signed size that this node has, as this process saw it last."""
        return self.told.now.size

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """Return the troubles of this node that its background jobs and this process found."""
        told = (*self.history.now, *self.told.now.troubles)
        own = [trouble for trouble in self.checks.now if trouble not in told]
        rules = {trouble.rule for trouble in (*told, *own)}
        at_once = (trouble for trouble in self.clock.at_once() if trouble.rule not in rules)
        return tuple(dict.fromkeys((*self.room.look(), *told, *own, *at_once)))

    def serves(self, agency: Agency) -> bool:
        """Return whether an agency may ask here: a country's node serves its own agencies.

        Other nodes may ask too: they copy from here if the ledger node is lost.
        """
        return self.leads or agency.party in self.parties or agency.role == NODE

    def serves_people(self, agency: Agency) -> bool:
        """Return whether people may act for an agency here; no person acts for a node."""
        return agency.role != NODE and self.serves(agency)

    def standing(self) -> LogProgress:
        """Return how far the log is signed, cosigned and published, as this node sees it."""
        if self.leads:
            return publisher.standing(self.database, self.policy_at)
        signed, published = sizes(self.database)
        origin = self.policy_at(signed).logs[0].name
        witnesses = {party: self.witnesses.size(party, origin) for party in self.parties}
        return LogProgress(signed, published, witnesses)

    def parcels_standing(self) -> tuple[ParcelsStanding, ...]:
        """Return the parcels that wait between countries, as this node sees them."""
        return parcels_standing(self.vaults, self.mailbox if self.leads else None)

    def cosigned_times(self) -> CosignedTimes:
        """Return the times that witnesses cosigned, as many as the longest days of grace need."""
        registry = self.ledger.registry()
        rules = registry.protocol_today(clock.now()).retention if registry is not None else ()
        days = max((rule.grace_days for rule in rules), default=0) + _DAYS_BESIDE_GRACE
        own = [
            name
            for name, trusted in self.policy_at(LATEST).witnesses.items()
            if self.witnesses.is_here(trusted)
        ]
        return cosigned_times(self.database, self.policy_at, own, latest=days * 24 * KEPT_AN_HOUR)

    def erased_data(self, case: Case, party: str) -> ErasedData | None:
        """Return when and why a country's vault erased a case's data, if it did."""
        if not self.vaults.has(party):
            return None
        return erased_data(case.state, self.vaults.of(party).erased_at(case.id))

    def following(self) -> Following | None:
        """Return this node's progress behind the ledger node.

        Returns ``None`` if this is the ledger node.
        """
        if self.settings.ledger_url is None:
            return None
        heard, waiting = self.told.now.heard, self.waiting.now()
        return Following(
            ledger_url=self.settings.ledger_url,
            reachable=heard is not None and heard.reachable,
            heard_at=heard.heard_at if heard is not None else None,
            trouble=heard.trouble if heard is not None else None,
            waiting=waiting.actions,
            waiting_since=waiting.oldest_at,
            own_seconds=waiting.own_seconds,
            others_seconds=waiting.others_seconds,
            others_recorded_since=waiting.others_since,
        )

    def __enter__(self) -> Self:
        self._stack.callback(self.witnesses.close)
        if self.sign_in is not None:
            self._stack.callback(self.sign_in.close)
        self._stack.enter_context(self.database)
        self._stack.enter_context(self.ledger)
        # Nothing is recorded before it is known who leads, and clocks and history are compared.
        if self.leads:
            self.takeover.look()
            self.checks.add(self.takeover.claims)
        else:
            self.history.follows()
        self.checks.look()
        self._stack.callback(stop_together, [self.checks], self.let_go)
        self.checks.start()
        return self

    def let_go(self) -> None:
        """Close the pools of connections at once: no step waits for a database that is away."""
        self.database.let_go()
        self.ledger.let_go()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()


def own_key_names(settings: Settings, *, leads: bool) -> list[str]:
    """Return the names of the keys that a node makes at its first start and must not lose."""
    own = [f"{kind}-{p.lower()}" for p in own_parties(settings) for kind in ("country", "witness")]
    return [*own, "log"] if leads else own


def check_settings(settings: Settings) -> None:
    """Check that a node can be made of the settings.

    Raises ``ValueError`` if it cannot.
    """
    check_named_languages()
    trusted_policy(settings)
    trusted_roots(settings)
    RelyingParty.of(settings)
    check_notifications(settings)
    if settings.ledger_url is not None:
        if settings.policy is None:
            raise ValueError("a country's node needs CASE_LEDGER_POLICY: whose log it believes")
        node_client(settings, settings.ledger_url).close()


class NodeClient(LedgerClient):
    """A client in the name of this country's node: of the agency that is its node today."""

    def __init__(
        self,
        settings: Settings,
        url: str,
        heard: Callable[[Mapping[str, str]], None] | None,
        registry: Callable[[], Registry | None],
    ) -> None:
        protocol = settings.load_protocol()
        agency = _own_node(protocol, settings)
        if agency is None:
            raise ValueError("the protocol names no node for CASE_LEDGER_COUNTRIES")
        super().__init__(
            url,
            agency=agency,
            key=own_key(settings, agency, None),
            protocol=protocol.id,
            audience=settings.audience,
            patience=0,
            heard=heard,
        )
        self._settings = settings
        self._registry = registry

    def _authorization(self) -> dict[str, str]:
        registry = self._registry()
        if registry is not None:
            agency = _own_node(registry.protocol_today(clock.now()), self._settings)
            if agency not in (None, self.agency):
                with suppress(ValueError):  # its key is not here yet: the earlier one may still do
                    self._key = own_key(self._settings, agency, None)
                    self.agency = agency
        return super()._authorization()


def node_client(
    settings: Settings,
    url: str,
    heard: Callable[[Mapping[str, str]], None] | None = None,
    registry: Callable[[], Registry | None] = lambda: None,
) -> LedgerClient:
    """Return a client in the name of this country's node.

    ``heard`` is called with the headers of each answer. ``registry`` gives the registry of now, so
    that a version which names another node agency counts without a start. Raises ``ValueError``
    without the node's key.
    """
    return NodeClient(settings, url, heard, registry)


def _own_node(protocol: Protocol, settings: Settings) -> str | None:
    """Return the node agency of this node's countries; the first one of several."""
    own = (a.id for a in protocol.agencies if a.role == NODE and a.party in own_parties(settings))
    return next(own, None)
