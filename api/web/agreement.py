"""The content of the agreement page: rules in force in words, versions, and proposals."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from api.paper import protocol_changes, rule_text
from api.paper.subject_access.wording import Wording
from ledger.procedure.agreement import Agreement, ProtocolVersion
from ledger.procedure.amendments import Amendment, AmendmentState, text_digest
from ledger.procedure.conditions import Marked
from ledger.procedure.protocol import Expectation, Operation, Protocol
from ledger.procedure.protocol_changes import ProtocolChange, accountability_changes, changes
from ledger.vocabulary import CASE_ACTIONS
from ledger.vocabulary.picklists import Stage

OPERATIONS = (
    Operation.READ,
    Operation.REQUEST,
    Operation.RELEASE,
    Operation.BREAK_GLASS,
    Operation.SUBJECT_ACCESS,
)
"""The operations of people on personal fields. A node's matching shows fields to nobody."""


@dataclass(frozen=True, slots=True)
class Right:
    """The roles that may take an action, and its conditions."""

    action: str
    roles: tuple[str, ...]
    first: tuple[str, ...]
    """The facts that must hold before."""
    first_for_child: tuple[str, ...]
    first_for_adult: tuple[str, ...]
    not_while: tuple[str, ...]
    further: tuple[str, ...]
    """Conditions, deciding bodies and periods, as sentences."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A step that the procedure expects."""

    action: str
    after: tuple[str, ...]
    roles: tuple[str, ...]
    by: str
    """The country whose turn it is: ``lead``, ``destination`` or ``any``."""
    days: int | None
    children_only: bool
    standing: str
    """The authority of the deadline, in words; empty where the text has no mark."""
    source: str


@dataclass(frozen=True, slots=True)
class ReadingByDuty:
    """The groups that roles may read by duty of the protocol, while some facts hold of a case."""

    roles: tuple[str, ...]
    groups: tuple[str, ...]
    after: tuple[str, ...]
    abroad: bool
    """True if the roles may also release the groups to other countries."""
    standing: str
    source: str


@dataclass(frozen=True, slots=True)
class VersionRow:
    """A version that the parties adopted."""

    version: ProtocolVersion
    digest: str
    is_in_force: bool
    amendment: Amendment | None
    """The proposal by which it was adopted; ``None`` for the first version."""
    changes: tuple[str, ...]
    """Its changes to the version before, in sentences."""


@dataclass(frozen=True, slots=True)
class ProposalRow:
    """A proposed text, what it changes, and what each party has said to it."""

    amendment: Amendment
    changes: tuple[str, ...]
    joining: tuple[str, ...]
    """The parties that it adds, whose nodes copy the ledger once it is in force."""
    answers: tuple[tuple[str, str], ...]
    """Of each party: ``accepted``, ``declined``, ``withdrawn`` or ``missing``."""


def rights(protocol: Protocol, words: Wording) -> list[tuple[Stage, list[Right]]]:
    """Return who may take which action, by the stage of the procedure."""
    by_stage: dict[Stage, list[Right]] = {stage: [] for stage in Stage}
    for kind in protocol.actions:
        by_stage[CASE_ACTIONS[kind].stage].append(right(kind, protocol, words))
    return [(stage, own) for stage, own in by_stage.items() if own]


def right(kind: str, protocol: Protocol, words: Wording) -> Right:
    """Return who may take an action of a kind that the protocol has, and its conditions."""

    def said(facts: Iterable[str]) -> tuple[str, ...]:
        return tuple(protocol_changes.fact(one, words) for one in facts)

    rule = protocol.actions[kind]
    return Right(
        action=words.kind(kind),
        roles=tuple(map(words.role, rule.roles)),
        first=said(rule.requires),
        first_for_child=said(rule.requires_for_child),
        first_for_adult=said(rule.requires_for_adult),
        not_while=said(rule.forbidden_while),
        further=rule_text.rule_sentences(kind, protocol, words),
    )


def deadlines(protocol: Protocol, words: Wording) -> list[Deadline]:
    """Return the steps that the procedure expects, in the order of the text."""
    return [deadline(step, words) for step in protocol.expected]


def deadline(step: Expectation, words: Wording) -> Deadline:
    """Return a step that the procedure expects, in words."""
    return Deadline(
        action=words.kind(step.action),
        after=tuple(protocol_changes.fact(one, words) for one in step.after),
        roles=tuple(map(words.role, step.roles)),
        by=step.by,
        days=step.within_days,
        children_only=step.children_only,
        standing=_standing(step, words),
        source=step.source or "",
    )


def _standing(part: Marked, words: Wording) -> str:
    return "" if part.standing is None else words.picked(part.standing)


def access(protocol: Protocol, words: Wording) -> list[tuple[str, list[tuple[str, ...]]]]:
    """Return each role that may do something with personal fields.

    Beside each role are the field groups of each operation, in the order of ``OPERATIONS``.
    """
    return [
        (
            words.role(role),
            [tuple(map(words.picked, own.get(operation, ()))) for operation in OPERATIONS],
        )
        for role, own in protocol.access.items()
        if any(own.get(operation) for operation in OPERATIONS)
    ]


def duties(protocol: Protocol, words: Wording) -> list[ReadingByDuty]:
    """Return what roles read by duty of the protocol, in the order of the text."""
    return [
        ReadingByDuty(
            roles=tuple(map(words.role, duty.roles)),
            groups=tuple(map(words.picked, duty.groups)),
            after=rule_text.duty_facts(duty, words),
            abroad=duty.to_other_countries,
            standing=_standing(duty, words),
            source=duty.source or "",
        )
        for duty in protocol.duties
    ]


def other_rules(protocol: Protocol, words: Wording) -> tuple[str, ...]:
    """Return the rules on retention, confirmed keys and absent parties, as sentences."""
    unlike = {
        "retention": (),
        "confirmed_keys": (),
        "quorum": None,
        "person_record": None,
        "analysts": (),
        "approvals": (),
    }
    told = list(_told(protocol.model_copy(update=unlike), protocol, words))
    terms = accountability_changes(protocol.accountability_terms)
    periods = rule_text.reflection_sentences(protocol, words)
    access = "case_access_named" if protocol.binds_agencies else "case_access_country"
    seen = protocol_changes.sentences([ProtocolChange(access)], words)
    return (*seen, *told, *protocol_changes.sentences(terms, words), *periods)


def version_rows(
    agreement: Agreement, amendments: Sequence[Amendment], at: datetime, words: Wording
) -> list[VersionRow]:
    """Return every adopted version, the newest first. ``at`` is the time of the reading."""
    by_proposal = {one.proposal: one for one in amendments}
    in_force = agreement.next_version_at(at)
    rows, before = [], None
    for version in agreement.versions:
        rows.append(
            VersionRow(
                version=version,
                digest=text_digest(version.recorded),
                is_in_force=version is in_force,
                amendment=by_proposal.get(version.proposal) if version.proposal else None,
                changes=() if before is None else _told(before, version.protocol, words),
            )
        )
        before = version.protocol
    return rows[::-1]


def proposal_rows(
    agreement: Agreement, amendments: Iterable[Amendment], words: Wording
) -> list[ProposalRow]:
    """Return every proposed text with its difference from the version that it amends.

    The newest proposal is the first.
    """
    texts = {one.protocol.version: one.protocol for one in agreement.versions}
    return [
        ProposalRow(
            amendment=one,
            changes=() if one.text is None else _told(texts[one.version - 1], one.text, words),
            joining=tuple(sorted(one.joining)),
            answers=tuple((party, _answer(one, party)) for party in sorted(one.required)),
        )
        for one in amendments
    ][::-1]


def _answer(amendment: Amendment, party: str) -> str:
    if party == amendment.declined_by and amendment.state is AmendmentState.DECLINED:
        return "withdrawn" if party == amendment.party else "declined"
    return "accepted" if party in amendment.accepted else "missing"


def _told(before: Protocol, after: Protocol, words: Wording) -> tuple[str, ...]:
    return protocol_changes.sentences(changes(before, after), words)
