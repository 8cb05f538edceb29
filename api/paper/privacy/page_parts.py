"""Parts of Markdown that several papers for data-protection officers have."""

from collections.abc import Iterable, Iterator, Mapping

from ledger.procedure.protocol import Agency, Operation, Party, Protocol, Retention
from ledger.vocabulary import CASE_ACTIONS
from ledger.vocabulary.levels import FieldGroup, Level

BLANK = "________________"
"""The place of a fact that the program cannot know; a person fills it in."""
_COMMON = frozenset({"acted_at"})


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield the lines of a table."""
    columns = [*head]
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"


def names(found: Iterable[str]) -> str:
    """Return names in one cell, and a dash for none."""
    return ", ".join(found) or "—"


def fields_by_group() -> Mapping[FieldGroup, tuple[str, ...]]:
    """Return the personal fields of every kind of action, by their group."""
    found: dict[FieldGroup, set[str]] = {group: set() for group in FieldGroup}
    for model in CASE_ACTIONS.values():
        for name in model.disclosable_fields():
            if (group := model.level(name).group) is not None:
                found[group].add(name)
    return {group: tuple(sorted(of_group)) for group, of_group in found.items()}


def fields_at(level: Level) -> tuple[str, ...]:
    """Return the fields of every kind of action that are at a level."""
    return tuple(
        sorted(
            {
                name
                for model in CASE_ACTIONS.values()
                for name in model.model_fields
                if model.level(name).level is level and name not in _COMMON
            }
        )
    )


def roles_that(protocol: Protocol, operation: Operation, group: FieldGroup) -> tuple[str, ...]:
    """Return the roles that the access matrix allows an operation on a group."""
    return tuple(role for role in protocol.roles if protocol.allows(role, operation, group))


def agencies_of(protocol: Protocol, party: str) -> tuple[Agency, ...]:
    """Return the agencies of a party."""
    return tuple(one for one in protocol.agencies if one.party == party)


def party_of(protocol: Protocol, code: str) -> Party:
    """Return a party. Raises ``ValueError`` if the protocol has none by this code."""
    found = next((one for one in protocol.parties if one.code == code), None)
    if found is None:
        known = ", ".join(one.code for one in protocol.parties)
        raise ValueError(f"{code} is no party of {protocol.id}; its parties are {known}")
    return found


def standing(rule: Retention) -> str:
    """Return the authority of a period; one without a mark stands as the parties signed it."""
    return rule.standing.value if rule.standing is not None else "as signed"


def periods(protocol: Protocol) -> Iterator[str]:
    """Yield the table of the protocol's periods of retention."""
    yield from table(
        ("closed for", "kept for", "then announced for", "stands on"),
        (
            (
                names(rule.reasons) if rule.reasons else "any other reason",
                f"{rule.days} days",
                f"{rule.grace_days} days",
                standing(rule),
            )
            for rule in protocol.retention
        ),
    )


def made_by(command: str, protocol: Protocol) -> str:
    """Return the sentence on the origin of a paper."""
    return (
        f"`case-ledger privacy {command}` made this paper from the protocol `{protocol.id}`,"
        f" version {protocol.version}; a test compares the two. `{BLANK}` is for what the program"
        " does not know: a person fills it in. It is a template and no legal advice: the"
        " data-protection officer decides whether it is complete."
    )
