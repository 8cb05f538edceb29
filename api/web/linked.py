"""The cases that belong together with one, as the reader may see them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from api.http.access import Caller
from api.http.named_cases import seen_case
from api.node.node import Node
from api.web.case_text import case_values
from ledger.procedure.case import Case
from ledger.procedure.merged_cases import OtherCases, joined_cases, with_joined
from ledger.vault.held_fields import Held
from ledger.vocabulary.picklists import CaseRelation
from projections.folds.audit_trail import TrailEntry
from projections.folds.case_view import CaseView


@dataclass(frozen=True, slots=True)
class LinkedCase:
    """A link to another case in which the reader's agency has part."""

    case: UUID
    relation: CaseRelation


@dataclass(frozen=True, slots=True)
class Linked:
    """The cases that belong together with a case, as its page shows them."""

    links: tuple[LinkedCase, ...]
    continues_in: UUID | None
    """The case that a proposal names, where the reader's agency has part in it."""
    is_taken_in: bool
    """True if the case that a proposal names has accepted it, and this case has not ended yet."""
    going_on: frozenset[UUID]
    """The cases that this one took in and that have not ended yet."""


def linked(
    node: Node, caller: Caller, view: CaseView, trail: Sequence[TrailEntry], held: Iterable[Held]
) -> Linked:
    """Return the links in force and the proposed case, as far as the reader may see them."""
    values = case_values(trail, held)
    links = [
        LinkedCase(other.id, CaseRelation(str(told["relation"])))
        for link in view.links
        if (told := values.get(link.action, {})).get("relation") is not None
        and (other := seen_case(node, caller, told.get("linked_case"))) is not None
    ]
    proposal = view.merge_proposal
    named = values.get(proposal.proposal, {}).get("continues_in") if proposal else None
    target = seen_case(node, caller, named)
    return Linked(
        links=tuple(links),
        continues_in=target.id if target is not None else None,
        is_taken_in=target is not None
        and any(taken.case == view.case_id for taken in target.state.taken_in.values()),
        going_on=frozenset(
            ended.id
            for taken in view.taken_in
            if (ended := seen_case(node, caller, taken.case)) is not None
            and ended.state.merged_into is None
        ),
    )


def others(node: Node, caller: Caller, case: Case | None, named: UUID | None) -> OtherCases:
    """Return the cases that were merged with a case, and ``named`` if the agency has part in it."""
    wanted = list(joined_cases(case.state)) if case is not None else []
    if named is not None and seen_case(node, caller, named) is not None:
        wanted.append(named)
    return with_joined(wanted, node.ledger.case)
