"""The state of a node as metrics in the Prometheus text format. They hold nothing of any case."""

from collections.abc import Iterator
from datetime import timedelta

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.client.schemas.health import Effect
from api.keys.key_ends import TLS, certificate_end, counting_keys
from api.node.node import Node
from api.runtime.readiness import worst
from ledger.system import clock
from ledger.system.version import program_version
from projections.tables.all_views import VIEWS
from projections.upkeep.continuous_check import check_standing, differing_rows


def metrics(node: Node, requests: CollectorRegistry) -> bytes:
    """Return the node's gauges now, and the counts of ``requests``."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Standing(node))
    return generate_latest(registry) + generate_latest(requests)


class _Standing(Collector):
    def __init__(self, node: Node) -> None:
        self._node = node

    def collect(self) -> Iterator[Metric]:
        node = self._node
        standing = node.standing()
        head = node.ledger.head()
        program = _gauge("program", "1 for the version that runs", labels=("version",))
        program.add_metric((program_version(),), 1.0)
        yield program
        yield _gauge("head", "Position of the last event", head)
        yield _gauge("signed", "Events that the log signed", standing.signed)
        yield _gauge("published", "Events that a quorum of witnesses cosigned", standing.published)
        yield _gauge(
            "unpublished_seconds",
            "Since when the oldest event without a published checkpoint has waited",
            self._waited(standing.published),
        )
        cosigned = _gauge("cosigned", "Events that a witness cosigned", labels=("witness",))
        for witness, size in standing.witnesses.items():
            cosigned.add_metric((witness,), size)
        yield cosigned
        views = _gauge("view_position", "Position that a view stands at", labels=("view",))
        for name in VIEWS:
            views.add_metric((name,), node.views.position(name))
        yield views
        yield from self._checked_views()
        yield _gauge(
            "not_to_be_relied_on",
            "1 where a trouble makes the node not ready",
            float(worst(node.troubles, at_least=Effect.NOT_READY) is not None),
        )
        troubles = _gauge("trouble", "1 for each thing that is wrong", labels=("rule", "effect"))
        for trouble in node.troubles:
            troubles.add_metric((trouble.rule, trouble.effect.value), 1.0)
        yield troubles
        yield self._missing()
        yield self._contents()
        free = _gauge("disk_free_mebibytes", "Free space for the node", labels=("where",))
        for name, mebibytes in node.room.free_mebibytes().items():
            free.add_metric((name,), mebibytes)
        yield free
        yield self._key_ends()
        yield from self._parcels()
        if (worked_at := node.told.said_at()) is not None:
            yield _gauge(
                "work_silent_seconds",
                "Since when the process that follows, publishes and folds has said nothing",
                max(0.0, (clock.now() - worked_at).total_seconds()),
            )
        yield from self._workers()
        if (following := node.following()) is not None:
            yield _gauge("outbox_waiting", "Actions without an outcome", following.waiting)
            if (since := following.waiting_since) is not None:
                waited = max(0.0, (clock.now() - since).total_seconds())
            else:
                waited = 0.0
            yield _gauge("outbox_oldest_seconds", "How long the first of them has waited", waited)
            yield _gauge(
                "outbox_own_seconds",
                "Median time until an own action of the last day was in the copy",
                following.own_seconds or 0.0,
            )
            yield _gauge(
                "outbox_others_seconds",
                "Median time from signing to recording of other countries' last actions",
                following.others_seconds or 0.0,
            )
            yield _gauge("ledger_reachable", "1 where it answers", float(following.reachable))

    def _workers(self) -> Iterator[Metric]:
        """Yield how many steps of each worker of the worker process succeeded and failed."""
        steps = CounterMetricFamily(
            "case_ledger_worker_steps", "Steps that ended without a failure", labels=("worker",)
        )
        failures = _gauge(
            "worker_failures", "Steps that failed since the last success", labels=("worker",)
        )
        for one in self._node.told.workers():
            steps.add_metric((one.name,), one.steps)
            failures.add_metric((one.name,), one.failures)
        yield steps
        yield failures

    def _parcels(self) -> Iterator[Metric]:
        labels = ("side", "sender", "recipient")
        waiting = _gauge("parcels_waiting", "Parcels that were not acknowledged", labels=labels)
        oldest = _gauge("parcel_oldest_seconds", "Since when the oldest one waits", labels=labels)
        now = clock.now()
        for one in self._node.parcels_standing():
            pair = (one.side.value, one.sender, one.recipient)
            waiting.add_metric(pair, one.parcels)
            oldest.add_metric(pair, max(0.0, (now - one.oldest_at).total_seconds()))
        yield waiting
        yield oldest

    def _checked_views(self) -> Iterator[Metric]:
        differing = differing_rows(self._node.database)
        rows = _gauge("view_rows_differing", "Rows not as the ledger says", labels=("view",))
        for name in sorted({*VIEWS, *differing}):
            rows.add_metric((name,), differing.get(name, 0))
        yield rows
        finished_at = check_standing(self._node.database).finished_at
        if finished_at is not None:
            yield _gauge(
                "views_checked_seconds",
                "Since when the last check of all rows is over",
                max(0.0, (clock.now() - finished_at).total_seconds()),
            )

    def _missing(self) -> Metric:
        """Return the number of parts of actions' fields that the vaults must hold and lack."""
        missing = _gauge(
            "missing_parts",
            "Parts of actions' fields that a vault must hold and lacks",
            labels=("vault", "part", "origin", "lost"),
        )
        patience = timedelta(seconds=self._node.settings.missing_after_seconds)
        for vault in self._node.vaults:
            for one in vault.missing.counts(patience=patience):
                labels = (vault.party, one.part.value, one.origin, str(one.is_lost).lower())
                missing.add_metric(labels, one.parts)
        return missing

    def _contents(self) -> Metric:
        """Return the number of contents that other countries give, by state."""
        contents = _gauge(
            "contents",
            "Contents of other countries' documents, by state",
            labels=("vault", "origin", "state", "refused"),
        )
        patience = timedelta(seconds=self._node.settings.missing_after_seconds)
        for vault in self._node.vaults:
            for one in vault.contents.counts(patience=patience):
                labels = (vault.party, one.origin or vault.party, one.state, one.refused or "")
                contents.add_metric(labels, one.contents)
        return contents

    def _key_ends(self) -> Metric:
        """Return when the next key of each agency ends, which is announced months before."""
        now, registry = clock.now(), self._node.ledger.registry()
        ends = _gauge(
            "key_ends_seconds", "Until the next key of an agency ends", labels=("agency",)
        )
        first: dict[str, float] = {}
        for key in counting_keys(registry, self._node.parties, now) if registry else ():
            seconds = (key.valid_until - now).total_seconds()
            first[key.agency] = min(seconds, first.get(key.agency, seconds))
        certificate = certificate_end(self._node.settings.tls_certificate)
        if certificate is not None:
            first[TLS] = (certificate - now).total_seconds()
        for agency, seconds in sorted(first.items()):
            ends.add_metric((agency,), seconds)
        return ends

    def _waited(self, published: int) -> float:
        rows = self._node.ledger.rows_at([published + 1])
        if not rows:
            return 0.0
        return max(0.0, (clock.now() - rows[0].recorded_at).total_seconds())


def _gauge(
    name: str, says: str, value: float | None = None, labels: tuple[str, ...] = ()
) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"case_ledger_{name}", says, value=value, labels=labels or None)
