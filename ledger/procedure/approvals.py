"""The second pair of eyes: a second member of an agency approves what the protocol names.

The author signs the action. Another member of the same agency signs an approval of that exact text
(:mod:`ledger.signing.approval`), and the event has both. So every party can check that two members
stand behind the action. Their names stay at home: a key names a member by a pseudonym.
"""

from datetime import datetime, timedelta
from uuid import UUID

from ledger.procedure.checks.proposal import CLOCK_SKEW
from ledger.procedure.protocol import Protocol
from ledger.procedure.registry import RegisteredKey, Registry
from ledger.refusals import Ground, Refusal
from ledger.signing import approval as approvals
from ledger.signing.approval import Approval
from ledger.signing.signed_action import SignedAction

MISSING = "approval-missing"
_FIELD = "approval"


def check_approval(
    action: SignedAction, registry: Registry, protocol: Protocol, at: datetime
) -> None:
    """Check that a second member approved an action on a case, where the protocol asks for it.

    ``protocol`` is the version that judges the action, and ``at`` the time that is stored with it.
    A revocation counts from its position: every one in ``registry`` came before. Raises
    ``Refusal``.
    """
    asked, given = protocol.approval_of(action.kind, action.agency), action.approval
    if asked is None:
        check_unapproved(action)
        return
    if given is None:
        raise Refusal(
            Ground.NOT_ALLOWED,
            MISSING,
            f"A second member of the agency approves {action.kind} before it is recorded: send it"
            " as a draft.",
            _FIELD,
        )
    _check_text(given, action)
    _check_members(_key(given, action, registry, at), registry.keys.get(action.key_id))
    check_age(asked.within_days, action.signed_at, at)
    check_age(asked.within_days, given.signed_at, at)
    if given.signed_at > at + CLOCK_SKEW:
        raise _refused("approval-in-future", "The approval is of the future; check the clock.")


def check_unapproved(action: SignedAction) -> None:
    """Check that nobody approved an action that needs no approval.

    Otherwise programs that have no approvals would read an event that no text prepared them for.
    Raises ``Refusal`` (``approval-not-asked``).
    """
    if action.approval is not None:
        raise _refused(
            "approval-not-asked",
            "The protocol in force asks for no approval of this action; send it without one.",
        )


def check_age(within_days: int, signed_at: datetime, at: datetime) -> None:
    """Check that an action or an approval is not older than the protocol lets it be.

    Raises ``Refusal`` (``approval-too-old``).
    """
    if at - signed_at > timedelta(days=within_days):
        raise _refused(
            "approval-too-old",
            f"An action and its approval are recorded within {within_days} days after they were"
            " signed; sign the action again.",
        )


def member_of(key_id: str, agency: str, registry: Registry, at: datetime) -> UUID:
    """Return the member whose key may sign now for an agency.

    Raises ``Refusal``: of the key, or ``approval-without-member`` if no member holds it.
    """
    registry.signing_key(key_id, agency, at)
    return _member(registry.keys[key_id])


def _check_text(given: Approval, action: SignedAction) -> None:
    is_of_action = (
        given.action == action.id
        and given.protocol == action.protocol
        and given.digest == approvals.digest_of(action.sd_jwt)
    )
    if not is_of_action:
        raise _refused(
            "approval-of-another-action",
            "The approval is of another action, or the action was changed after it; let the"
            " colleague approve it as it is.",
        )
    if given.agency != action.agency:
        raise _refused(
            "approval-of-another-agency", "Another agency approved this; a colleague has to."
        )


def _key(given: Approval, action: SignedAction, registry: Registry, at: datetime) -> RegisteredKey:
    """Return the key of an approval. Raises ``Refusal`` if it does not count or did not sign."""
    registered = registry.keys.get(given.key_id)
    if registered is None:
        raise _refused("approval-key", "The key of the approval is not registered.")
    if registered.agency != action.agency:
        raise _refused(
            "approval-of-another-agency", "Another agency approved this; a colleague has to."
        )
    if registered.revoked_position is not None or not registered.lasts_at(at):
        raise _refused(
            "approval-key", "The key of the approval ended; let another colleague approve it."
        )
    if not approvals.verifies(given, registered.key):
        raise _refused("approval-signature", "The signature of the approval does not verify.")
    return registered


def _check_members(approver: RegisteredKey, author: RegisteredKey | None) -> None:
    if author is None:
        raise _refused("approval-key", "The key of the action is not registered.")
    if _member(approver) == _member(author):
        raise _refused(
            "approval-by-author",
            "The member who signed the action approved it too, with this key or another one; a"
            " colleague has to.",
        )


def _member(key: RegisteredKey) -> UUID:
    if key.member is None:
        raise _refused(
            "approval-without-member",
            "Two members stand behind this action, and the key of a system is no member's: sign"
            " with a key that was registered for a member.",
        )
    return key.member


def _refused(rule: str, message: str) -> Refusal:
    return Refusal(Ground.NOT_ALLOWED, rule, message, _FIELD)
