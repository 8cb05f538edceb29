"""Send signed actions, and keep those without an outcome."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import NoReturn
from uuid import UUID

import httpx

from api.cli.output import OUTCOME_UNKNOWN, err, fail, out, print_json
from api.cli.steps.kept_decisions import keep_decision
from api.cli.steps.unsent import UnsentAction, UnsentActions
from api.client import LedgerClient, RefusedError, WaitingError
from api.client.errors import UNREADABLE
from api.runtime.settings import Settings
from ledger.log.signed_decision import DecisionError
from ledger.vocabulary import Action


def present_version(client: LedgerClient, case: UUID) -> int:
    """Return the version of a case. One that was opened just now may not be in the views yet."""
    try:
        return client.case(case).view.version
    except RefusedError as error:
        if error.problem.rule != "unknown-case":
            raise
    head = client.ready().head
    return client.case(case, at_least=head).view.version


def resend_all(client: LedgerClient, url: str, as_json: bool) -> None:
    """Send each kept action of the client's agency to its node, the first kept first."""
    kept = UnsentActions(Settings().data_directory)
    with client:
        waiting = kept.of(client.agency, url)
        if not waiting and not as_json:
            out.print(f"Nothing of {client.agency} waits to be sent to {url}.", soft_wrap=True)
        for unsent in waiting:
            send_kept(client, kept, unsent, as_json)


def send_together(
    client: LedgerClient,
    url: str,
    case_id: UUID,
    case_version: int,
    acts: Sequence[tuple[UUID, Action]],
    as_json: bool,
) -> int:
    """Sign acts that follow one another on a case, keep them all, and send them in turn.

    An act that is not sent, because the one before it was refused, is not kept. Returns the
    position of the last one.
    """
    kept = UnsentActions(Settings().data_directory)
    unsent = [
        UnsentAction(
            action_id=action_id,
            kind=action.kind,
            agency=client.agency,
            url=url,
            case_id=case_id,
            case_version=case_version + number,
            signed=str(client.sign(action, case_id, action_id)),
        )
        for number, (action_id, action) in enumerate(acts)
    ]
    for one in unsent:
        kept.keep(one)
    position = 0
    for number, one in enumerate(unsent):
        try:
            position = send_kept(client, kept, one, as_json)
        except RefusedError:
            if not kept.has(one):  # refused for good
                for other in unsent[number + 1 :]:
                    kept.forget(other)
                if number:
                    err.print(
                        f"The action {unsent[0].action_id} is recorded. Its further documents from"
                        f" number {number + 1} on are not: add them with `case-ledger document add"
                        f" --belongs-to {unsent[0].action_id}`.",
                        soft_wrap=True,
                    )
            raise
    return position


def send_kept(
    client: LedgerClient, kept: UnsentActions, unsent: UnsentAction, as_json: bool
) -> int:
    """Send a kept action, and return its position. Its file is removed once the node answers.

    The decision that the ledger node signed is kept. One that the log's key did not sign is none.
    """
    settings = Settings()
    try:
        answered = unsent.send(client)
        receipt = answered.receipt
        decision = keep_decision(settings, client, unsent.signed, answered.decision)
    except RefusedError as error:
        problem = error.problem
        if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR or problem.rule == UNREADABLE:
            _say_not_known(unsent, f"it answered {problem.status}")
        try:
            keep_decision(settings, client, unsent.signed, error.decision)
        except DecisionError as wrong:
            _say_not_known(unsent, str(wrong))
        kept.forget(unsent)
        raise
    except DecisionError as wrong:
        _say_not_known(unsent, str(wrong))
    except WaitingError:
        kept.forget(unsent)  # the node has it in its outbox
        raise
    except httpx.TransportError as error:
        _say_not_known(unsent, type(error).__name__)
    kept.forget(unsent)
    if as_json:
        print_json(receipt)
    else:
        out.print(
            f"[green]Recorded[/] {unsent.kind} at position {receipt.position}: "
            f"case {receipt.case_id}, version {receipt.case_version}",
            soft_wrap=True,
        )
        if decision is not None:
            out.print(f"[dim]signed receipt[/] {decision}", soft_wrap=True)
    return receipt.position


def _say_not_known(unsent: UnsentAction, why: str) -> NoReturn:
    fail(
        f"{unsent.url} gave no receipt ({why}). {unsent.kind} (action {unsent.action_id}, "
        f"case {unsent.case_id}) may be recorded or not. The signed action is kept: complete it "
        f"with `case-ledger act --resend -a {unsent.agency}`, which records it once.",
        OUTCOME_UNKNOWN,
    )
