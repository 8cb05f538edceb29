"""Check links between cases."""

from collections.abc import Mapping
from uuid import UUID

from ledger.procedure.checks.proposal import (
    Check,
    Proposal,
)
from ledger.refusals import invalid, not_allowed


def check_told(p: Proposal, *others: str) -> None:
    """Check that the countries that get an action's ``case`` fields are of the case.

    The agency's own country and ``others`` are among them.
    """
    told = set(p.act.fields["told"])
    if not told <= {*p.state.parties, *others}:
        raise invalid("told", "Name countries that are party to this case.", "told")
    if not told >= {p.agency.party, *others}:
        named = ", ".join(sorted({p.agency.party, *others}))
        raise invalid("told", f"Name {named} among the countries that are told.", "told")


def _unlinked(p: Proposal) -> None:
    link = p.state.links.get(UUID(p.act.fields["link"]))
    if link is None:
        raise invalid("no-such-link", "No such link is in force in this case.", "link")
    if link.party != p.agency.party:
        raise not_allowed("own-link", "The country that linked the cases ends the link.")


CHECKS: Mapping[str, Check] = {
    "cases_linked": check_told,
    "cases_unlinked": _unlinked,
}
