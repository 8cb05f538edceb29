"""An agency's webhooks for cases: how far they are, and a replay by position."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Path

from api.client.schemas.webhooks import WebhookDocument, WebhookPage, WebhookReplay
from api.http.access import TheCaller, TheNode
from api.http.declared_parameters import DeclaredParametersRoute
from api.http.error_handlers import responses
from api.notifying.case_hook_rows import CaseHook, CaseHookRows
from ledger.refusals import Ground, Refusal

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], route_class=DeclaredParametersRoute)


@router.get("", response_model=WebhookPage, responses=responses(401, 403, 422, 503))
def list_webhooks(node: TheNode, caller: TheCaller) -> WebhookPage:
    """List the webhooks of the caller's agency for cases, without their addresses."""
    found = CaseHookRows(node.database).of_agency(caller.agency.id)
    return WebhookPage(webhooks=tuple(map(_document, found)))


@router.post(
    "/{webhook}/replay",
    response_model=WebhookDocument,
    responses=responses(401, 403, 404, 413, 422, 503),
)
def replay_webhook(
    node: TheNode,
    caller: TheCaller,
    webhook: Annotated[UUID, Path()],
    asked: Annotated[WebhookReplay, Body()],
) -> WebhookDocument:
    """Send a webhook everything after a position again, and enable it if it was disabled."""
    after = min(asked.after, node.ledger.head())
    found = CaseHookRows(node.database).replay(webhook, caller.agency.id, after)
    if found is None:
        raise Refusal(
            Ground.UNKNOWN,
            "unknown-webhook",
            "The agency has no such webhook for cases; list them to see their ids.",
            "webhook",
        )
    return _document(found)


def _document(hook: CaseHook) -> WebhookDocument:
    return WebhookDocument(
        id=hook.subscription,
        position=hook.position,
        attempts=hook.attempts,
        next_attempt_at=hook.next_attempt_at,
        failing_since=hook.failing_since,
        disabled_at=hook.disabled_at,
    )
