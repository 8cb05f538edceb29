"""The needs and consequences of an action, from the texts of the protocol in force."""

from collections.abc import Iterable
from dataclasses import dataclass

from api.paper import protocol_changes
from api.paper.subject_access.wording import Wording
from api.web import agreement
from api.web.agreement import Deadline, Right
from ledger.procedure.protocol import ActionRule, Protocol
from ledger.procedure.protocol_changes import approvals_of
from ledger.vocabulary import CASE_ACTIONS
from ledger.vocabulary.picklists import Stage


@dataclass(frozen=True, slots=True)
class ActionHelp:
    """The help for one kind of action."""

    kind: str
    stage: Stage
    right: Right
    expected: tuple[Deadline, ...]
    """When the procedure expects the action itself."""
    follows: tuple[Deadline, ...]
    """The steps that the procedure expects after it, alone or with other facts."""
    opens: tuple[str, ...]
    """The actions that need it first, by their names."""
    stops: tuple[str, ...]
    """The actions that are impossible while it holds, by their names. Without itself."""
    ends: tuple[str, ...]
    """The facts that it ends."""
    status: str
    """The status that it gives to the case; empty if it leaves the status."""
    approvals: tuple[str, ...]
    """The sentences that say where a second member approves it, one for each part of the text."""
    standing: str
    """The authority of the action's rule, in words; empty where the text has no mark."""
    source: str


def action_help(kind: str, protocol: Protocol, words: Wording) -> ActionHelp:
    """Return the help for a kind of action that the protocol has."""
    rule = protocol.actions[kind]
    made = set(rule.may_establish)
    status = rule.sets_status
    return ActionHelp(
        kind=kind,
        stage=CASE_ACTIONS[kind].stage,
        right=agreement.right(kind, protocol, words),
        expected=tuple(
            agreement.deadline(one, words) for one in protocol.expected if one.action == kind
        ),
        follows=tuple(
            agreement.deadline(one, words)
            for one in protocol.expected
            if made & set(one.after) and one.until not in made
        ),
        opens=_names(
            (other for other, one in protocol.actions.items() if made & _needed(one)), words
        ),
        stops=_names(
            (
                other
                for other, one in protocol.actions.items()
                if other != kind and made & set(one.forbidden_while)
            ),
            words,
        ),
        ends=tuple(
            dict.fromkeys(protocol_changes.fact(one, words) for one in rule.ends if one not in made)
        ),
        status="" if status is None else words.picked(status),
        approvals=tuple(
            protocol_changes.sentence(one, words) for one in approvals_of(kind, protocol)
        ),
        standing="" if rule.standing is None else words.picked(rule.standing),
        source=rule.source or "",
    )


def kinds_by_stage(protocol: Protocol, words: Wording) -> list[tuple[Stage, list[tuple[str, str]]]]:
    """Return the kinds of actions of each stage that has any, each with its name, by name."""
    found: dict[Stage, list[tuple[str, str]]] = {stage: [] for stage in Stage}
    for kind in protocol.actions:
        found[CASE_ACTIONS[kind].stage].append((kind, words.kind(kind)))
    return [(stage, sorted(own, key=lambda one: one[1])) for stage, own in found.items() if own]


def _needed(rule: ActionRule) -> set[str]:
    return {
        *rule.requires,
        *rule.requires_for_child,
        *rule.requires_for_adult,
        *rule.requires_one_of,
    }


def _names(kinds: Iterable[str], words: Wording) -> tuple[str, ...]:
    return tuple(sorted({words.kind(kind) for kind in kinds}))
