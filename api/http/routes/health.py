"""Health and readiness of the node. No key is needed."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from api.client.schemas import Health, Readiness, ReadinessTrouble
from api.client.schemas.health import Effect
from api.http.access import TheNode
from api.http.documents import parcels_waiting
from api.http.error_handlers import responses
from api.node.metrics import metrics
from api.runtime.problem import problem
from api.runtime.readiness import worst
from ledger.system.version import program_version
from projections.tables.all_views import VIEWS

router = APIRouter(tags=["health"])


@router.get("/health", response_model=Health)
async def health() -> Health:
    """Answer that the process runs."""
    return Health(status="alive", version=program_version())


@router.get("/ready", response_model=Readiness, responses=responses(503))
def ready(node: TheNode) -> Readiness:
    """Answer that the node is ready to serve.

    It is ready if the store answers, a protocol is adopted, and the ledger's history is the one
    that was signed. A node that is not ready states its progress all the same, beside its troubles.
    """
    registry = node.ledger.registry()
    if registry is None:
        raise problem(
            503, "Not available now", "not-adopted", "No protocol is adopted; adopt one first."
        )
    troubles = node.troubles
    standing = node.standing()
    found = Readiness(
        status="ready",
        protocol=registry.protocol_id,
        head=node.ledger.head(),
        views={name: node.views.position(name) for name in VIEWS},
        published=standing.published,
        witnesses=standing.witnesses,
        following=node.following(),
        worked_at=node.told.said_at(),
        parcels=tuple(map(parcels_waiting, node.parcels_standing())),
        troubles=tuple(
            ReadinessTrouble(rule=t.rule, effect=t.effect, message=t.message) for t in troubles
        ),
    )
    if (trouble := worst(troubles, at_least=Effect.NOT_READY)) is not None:
        raise trouble.problem(503, **found.model_dump(mode="json", exclude={"status"}))
    return found


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **responses(503)},
)
def get_metrics(node: TheNode, request: Request) -> Response:
    """Return sizes, delays and durations of requests, for a collector; nothing of any case."""
    return Response(metrics(node, request.app.state.requests), media_type=CONTENT_TYPE_LATEST)
