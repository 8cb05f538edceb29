"""Check the sharing of personal fields: decisions, releases, access in danger to life."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from ledger.procedure.case_fold import annulled_ids
from ledger.procedure.checks.proposal import (
    Check,
    Proposal,
    check_matrix,
)
from ledger.procedure.legal_basis import Basis, release_bases
from ledger.procedure.protocol import Operation
from ledger.refusals import Ground, Refusal, invalid, not_allowed, out_of_procedure
from ledger.vocabulary import NOT_UNDERSTOOD
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import LegalBasis

BREAK_GLASS_LASTS = timedelta(hours=24)


def check_whereabouts_apart(p: Proposal) -> None:
    """Check that whereabouts leave the country apart from other groups. Raises ``Refusal``."""
    groups = p.act.fields.get("groups") or ()
    if FieldGroup.WHEREABOUTS in groups and p.act.fields.get("recipients") and len(groups) > 1:
        raise invalid(
            "whereabouts-apart",
            "Whereabouts leave the country on a basis of their own; record them apart.",
            "groups",
        )


def _sharing_decided(p: Proposal) -> None:
    if not p.state.is_child:
        raise out_of_procedure(
            "adults-consent", "For an adult, ask for consent; this is a child's safeguard."
        )
    check_whereabouts_apart(p)


def _sharing_ended(p: Proposal) -> None:
    decision = p.state.sharing.get(UUID(p.act.fields["decision"]))
    if decision is None:
        raise invalid("no-such-decision", "No such decision on sharing is in force.", "decision")
    if decision.party != p.agency.party:
        raise not_allowed("own-decision", "The country that decided on sharing ends it.")


def _released(p: Proposal) -> None:
    fields, recipient = p.act.fields, p.act.fields["recipient"]
    if recipient == p.agency.party or recipient not in p.state.parties:
        raise invalid(
            "recipient", "A release is to another country that is party to the case.", "recipient"
        )
    if "request" in fields:
        request = p.state.open_requests.get(UUID(fields["request"]))
        if request is None:
            raise invalid("no-such-request", "No such request is open in this case.", "request")
        if p.protocol.agencies_by_id[request.by].party != recipient:
            raise invalid("recipient", "Another country asked for this.", "recipient")
    check_matrix(p, Operation.RELEASE)
    named = Basis(LegalBasis(fields["basis"]), UUID(fields["basis_action"]))
    for group in map(FieldGroup, fields["groups"]):
        # When it was done is the agency's word: a basis that is over by now is over.
        times = (p.act.acted_at, p.not_before)
        if any(
            named
            not in release_bases(p.state, p.protocol, p.agency, recipient, group, at, p.history)
            for at in times
        ):
            raise Refusal(
                Ground.NOT_ALLOWED,
                "no-legal-basis",
                f"The basis named does not allow to release {group} to {recipient}.",
                "act.basis_action",
            )
    annulled = annulled_ids(p.history.values())
    for index, released in enumerate(fields["released"]):
        action = p.history.get(UUID(released["action"]))
        where = f"released.{index}"
        if action is None or action.id in annulled or action.kind == NOT_UNDERSTOOD:
            raise invalid("unknown-action", "No such action in this case.", where)
        if p.protocol.agencies_by_id[action.agency].party != p.agency.party:
            raise not_allowed("own-country", "A country releases what its own agencies recorded.")
        if not action.digests.issuperset(released["digests"]):
            raise invalid("unknown-digest", "The action did not sign such a digest.", where)


def _break_glass_opened(p: Proposal) -> None:
    check_matrix(p, Operation.BREAK_GLASS)
    until = datetime.fromisoformat(p.act.fields["until"])
    if not timedelta() < until - p.act.acted_at <= BREAK_GLASS_LASTS:
        hours = int(BREAK_GLASS_LASTS.total_seconds() // 3600)
        raise invalid("break-glass-time", f"It lasts at most {hours} hours.", "until")


def _break_glass_reviewed(p: Proposal) -> None:
    access = p.state.break_glass.get(UUID(p.act.fields["access"]))
    if access is None:
        raise invalid("no-such-access", "No such access waits for a review.", "access")
    if p.agency.party in access.to_review:
        return
    # An oversight body also reviews what its own country opened, where others owe the review.
    reviews = [act for act in p.history.values() if act.kind == "break_glass_reviewed"]
    has_reviewed = any(
        act.fields["access"] == p.act.fields["access"]
        and p.protocol.agencies_by_id[act.agency].party == p.agency.party
        for act in reviews
    )
    opener = p.protocol.agencies_by_id[access.by]
    if has_reviewed or opener.party != p.agency.party:
        raise out_of_procedure(
            "already-reviewed", "This country has reviewed this access.", "act.access"
        )


CHECKS: Mapping[str, Check] = {
    "consent_given": check_whereabouts_apart,
    "sharing_decided": _sharing_decided,
    "sharing_ended": _sharing_ended,
    "information_released": _released,
    "break_glass_opened": _break_glass_opened,
    "break_glass_reviewed": _break_glass_reviewed,
}
