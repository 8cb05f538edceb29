"""Check corrections: who corrects an action, and which actions can be annulled."""

from collections.abc import Mapping
from uuid import UUID

from ledger.events.act import Act
from ledger.procedure import condition_checks
from ledger.procedure.case_fold import told_countries
from ledger.procedure.checks.lasting_acts import is_lasting
from ledger.procedure.checks.proposal import (
    Check,
    Proposal,
    acts_for,
)
from ledger.procedure.checks.protection import check_exit_approved
from ledger.refusals import invalid, not_allowed, out_of_procedure
from ledger.vocabulary import NOT_UNDERSTOOD


def _correction(p: Proposal) -> None:
    mistaken = p.history.get(UUID(p.act.fields["corrects"]))
    if mistaken is None:
        raise invalid("unknown-action", "No such action in this case.", "corrects")
    if mistaken.kind == NOT_UNDERSTOOD:
        raise out_of_procedure(
            "not-understood", "This event had no effect: there is nothing to correct.", "corrects"
        )
    if not acts_for(p, mistaken.agency):
        raise not_allowed(
            "own-action", "An action is corrected by its agency or that country's coordinator."
        )
    annuls_opening = p.act.fields["effect"] == "annulled" and mistaken.kind == "case_opened"
    if annuls_opening and p.protocol.edition >= 2 and p.state.opening == mistaken.id:
        _opening_alone(p, mistaken)
    elif p.act.fields["effect"] == "annulled" and is_lasting(mistaken, p):
        raise out_of_procedure(
            "not-annullable", f"{mistaken.kind} cannot be annulled; clarify it instead."
        )
    if any(_annuls(earlier, mistaken.id) for earlier in p.history.values()):
        raise out_of_procedure(
            "already-annulled", "This action is annulled already.", "act.corrects"
        )
    if p.act.fields["effect"] == "annulled":
        _lowers_nothing_alone(p, mistaken)


def _lowers_nothing_alone(p: Proposal, mistaken: Act) -> None:
    """Check that an annulment does nothing alone that several bodies do. Raises ``Refusal``."""
    condition_checks.check_annulment(p.act, mistaken, p.agency, p.state, p.history, p.protocol)
    sheltered = p.state.facts.get("sheltered")
    if sheltered is not None and sheltered.action == mistaken.id and p.protocol.edition >= 2:
        check_exit_approved(p)


def _opening_alone(p: Proposal, opening: Act) -> None:
    """Check that nobody but the agency that opened the case has acted in it or was told of it.

    A country that the opening or a later action named has received fields of the case and may have
    acted outside it. It counts too if the action that named it is annulled. Nor may anything have
    been done that lasts. Raises ``Refusal`` (``others-acted``).
    """
    own = p.protocol.agencies_by_id[opening.agency].party
    earlier = [act for act in p.history.values() if act.id != opening.id]
    if told_countries(p.history.values(), p.protocol) - {own} or any(
        act.agency != opening.agency or (act.kind != "correction" and is_lasting(act, p))
        for act in earlier
    ):
        raise out_of_procedure(
            "others-acted",
            "Other agencies have acted in this case, another country was told of it, or something"
            " was released or opened: close it as opened in error, by agreement"
            " (error_closing_proposed).",
            "act.corrects",
        )


def _annuls(act: Act, action: UUID) -> bool:
    return (
        act.kind == "correction"
        and act.fields["effect"] == "annulled"
        and UUID(act.fields["corrects"]) == action
    )


CHECKS: Mapping[str, Check] = {
    "correction": _correction,
}
