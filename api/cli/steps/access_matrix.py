"""The protocol's access matrix, duties and retention, as a page for people."""

from collections.abc import Iterable, Iterator

from ledger.procedure.conditions import Marked
from ledger.procedure.protocol import Duty, Operation, Protocol
from ledger.vocabulary.levels import FieldGroup

_LETTERS = {
    Operation.READ: "r",
    Operation.REQUEST: "q",
    Operation.RELEASE: "x",
    Operation.BREAK_GLASS: "b",
    Operation.SUBJECT_ACCESS: "s",
    Operation.MATCH: "m",
}


def access_page(protocol: Protocol) -> str:
    """Return a Markdown page of which role may do what with each group of personal fields."""
    lines = [
        "# Who may do what",
        "",
        f"**Reference.** `case-ledger access` made this page from the protocol `{protocol.id}`, "
        f"version {protocol.version}; a test compares the two. A cell without a letter is denied.",
        "",
        *_matrix(protocol),
        "",
        "**r** reads what its own country holds, **q** asks another country for it, **x** releases "
        "it to one, **b** opens it in danger to life, **s** hands it to the person it is about, "
        "**m** compares it with another country's by blind indexes, and shows it to nobody. "
        "Whatever the letter, a legal basis recorded in the case is needed too: consent that "
        "names the group, a best-interests decision for a child, or a duty; for **b** the "
        "recorded access itself, for **s** and **m** none. Whereabouts leave a "
        "country on a basis of their own.",
        "",
        "## Contacts",
        "",
        "Names and numbers of officials are sealed in the countries' vaults. Of each **case "
        "manager** (`case_manager_named`), the agencies of the case's countries read them, except "
        "oversight. The **cards** of contact points are read by coordinators and by the "
        "offices that are contact points, of every party. A card is erased once it is replaced "
        "or ended. This is a reading of the procedure.",
        "",
        "## Duties",
        "",
        "Field groups that a role reads without consent, while these facts hold of a case.",
        "",
        "| role | groups | while | also to other countries | stands on |",
        "|---|---|---|---|---|",
        *_duties(protocol),
        "",
        "## Retention",
        "",
        "How long a person's data is kept after the case was closed, if no legal hold is in force. "
        "The erasure is announced on the ledger for the days of grace before it. "
        "Both are readings of the procedure, not periods that an authority set.",
        "",
        "| closed for | days | days of grace | stands on |",
        "|---|---|---|---|",
        *_retention(protocol),
        "",
        "## Actions",
        "",
        "The roles that may record each action.",
        "",
        "| action | roles |",
        "|---|---|",
        *(f"| `{kind}` | {_names(rule.roles)} |" for kind, rule in protocol.actions.items()),
        "",
        "## Second parties",
        "",
        "What no agency, or no country, decides alone.",
        "",
        "| what | who decides with it |",
        "|---|---|",
        *_second_parties(protocol),
        "",
        "## A party that is away",
        "",
        "How many parties publish and decide while the others are absent. It is a reading of the "
        "procedure, not a text that an authority set.",
        "",
        *_quorum(protocol),
    ]
    return "\n".join(lines) + "\n"


def _matrix(protocol: Protocol) -> Iterator[str]:
    yield "| role | " + " | ".join(FieldGroup) + " |"
    yield "|---" * (len(FieldGroup) + 1) + "|"
    for role in protocol.roles:
        cells = (_cell(protocol, role, group) for group in FieldGroup)
        yield f"| {role} | " + " | ".join(cells) + " |"


def _cell(protocol: Protocol, role: str, group: FieldGroup) -> str:
    allowed = (_LETTERS[o] for o in _LETTERS if protocol.allows(role, o, group))
    return " ".join(allowed)


def _duties(protocol: Protocol) -> Iterator[str]:
    for duty in protocol.duties:
        abroad = "yes" if duty.to_other_countries else ""
        yield (
            f"| {_names(duty.roles)} | {_names(duty.groups)} | {_while(duty)} | {abroad} |"
            f" {_standing(duty)} |"
        )


def _while(duty: Duty) -> str:
    """Return while which facts a duty holds, and of which agency it is."""
    told = _names(duty.after)
    if duty.after_for_adult:
        told += f"; for an adult also {_names(duty.after_for_adult)}"
    return f"{told}; only the agency that did it" if duty.of_acting_agency else told


def _retention(protocol: Protocol) -> Iterator[str]:
    for rule in protocol.retention:
        yield (
            f"| {_names(rule.reasons) or 'any other reason'} | {rule.days} | {rule.grace_days} |"
            f" {_standing(rule)} |"
        )


def _standing(part: Marked) -> str:
    """Return the authority of a part; a part without a mark stands as the parties signed it."""
    return part.standing.value if part.standing is not None else "as signed"


def _second_parties(protocol: Protocol) -> Iterator[str]:
    for one in protocol.confirmed_keys:
        yield (
            f"| {_names(one.changes)} of a key: {_names(one.roles)} | {_names(one.by)} of another"
            " country, unless the agency ends its own key |"
        )
    for kind, rule in protocol.actions.items():
        if rule.reviews is not None:
            at_home = [role for role in rule.roles if role not in rule.by_another_party]
            others = f"{_names(rule.by_another_party)} of another country"
            home = f"{_names(at_home)} of any country of the case"
            yield f"| `{kind}` | {others}; {home}; never the agency that is reviewed |"


def _quorum(protocol: Protocol) -> Iterator[str]:
    quorum = protocol.quorum_in_force
    if quorum is None:
        yield "- Nothing is published, and no log policy is adopted, without every party."
        return
    of = f"of {len(protocol.party_codes)} parties"
    yield f"- {quorum.witnesses} {of}: their witnesses publish a checkpoint."
    yield (
        f"- {quorum.coordinators} {of}: their coordinators adopt a log policy, once the absence of"
        f" every other party was announced for {quorum.notice_days} days."
    )


def _names(names: Iterable[str]) -> str:
    return ", ".join(names)
