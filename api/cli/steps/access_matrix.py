"""The protocol's access matrix, duties and retention, and who may ask, as a page for people."""

from collections.abc import Iterable, Iterator

from starlette.routing import BaseRoute, Route

from api.http.permissions import AUDIENCE_OF, MAY_ASK, Audience, CallerSort
from api.processes.app import create_app
from api.runtime.settings import Settings
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
    Operation.STATISTICS: "t",
}


_SORTS = {
    CallerSort.COORDINATOR: "coordinator",
    CallerSort.OVERSIGHT: "oversight body",
    CallerSort.OFFICE: "other agency",
    CallerSort.BODY: "international body",
    CallerSort.ANALYST: "analyst",
    CallerSort.NODE: "node",
}
_CASES_AND_MEMBERS = """\
## Cases that an agency sees

The protocol in force says whether every agency of a country sees its cases, or only those that have
to know of them (`case_access = "named"`). The last of acting, naming, admitting and ending counts.
Oversight bodies see every case, without personal fields. Nodes see none: they copy events. All this
is a reading of the procedure.

| the agency | coordinator | agency, each case | agency, named cases \
| international body | analyst |
|---|---|---|---|---|---|
| acted in the case | yes | yes | yes | no | no |
| was named in it | yes | yes | yes | yes | no |
| was admitted to it | yes | yes | yes | no | no |
| had its admission ended | yes | yes | no | no | no |
| was named after its admission ended | yes | yes | yes | yes | no |
| has nothing to do with it, and its country has | yes | yes | no | no | no |
| is of a country without part in it | no | no | no | no | no |

## Analysts

A protocol may name roles of **analysts** (`analysts`), such as a ministry's office of statistics.
An analysts' agency sees counts of its country's cases, each rounded down to a multiple of 5, and
no case: no list, no event, no notice, no personal field. Where the protocol has a part on
`statistics`, and the matrix gives the role that operation (**t**), it gets pseudonymised records of
the persons whose case its country opened. No action may be theirs, and none may name
them. The shipped text names none; an amendment does. It is an agency, and not a right of a member:
the key of a member of another agency could sign that agency's actions, and every other country's
node would take them. This is a reading of the procedure.

## Members

The names of members, by the agency that asks:

| the caller is of | own agency | other agency of the country | other country |
|---|---|---|---|
| a coordinator | yes | yes | no |
| any other agency | yes | no | no |
| a node | no | no | no |

Adding, changing, disabling and inviting members. A **system** is a key or a session without a
member; an **unknown member** is named by a key, and is no member of that agency. A disabled member
does nothing at all: each request and each session is refused.

| the caller is | of the own agency | of another agency of the country | of another country |
|---|---|---|---|
| a coordinator's system | yes | yes | no |
| a coordinator's head | yes | yes | no |
| a coordinator's member | no | yes | no |
| a coordinator's unknown member | no | yes | no |
| a coordinator's disabled member | no | no | no |
| another agency's system | no | no | no |
| another agency's head | yes | no | no |
| another agency's member | no | no | no |
| another agency's unknown member | no | no | no |
| another agency's disabled member | no | no | no |

Assigning a case of the own agency to a member, or taking the assignment back:

| the caller is | assigned the case | its deputy | neither | taking a case that nobody has |
|---|---|---|---|---|
| a system | yes | yes | yes | yes |
| a head | yes | yes | yes | yes |
| a member | yes | yes | no | yes |
| an unknown member | no | no | no | no |
| a disabled member | no | no | no | no |
"""
"""Not made from the code: a test holds the rules of the code against these tables."""


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
        "**m** compares it with another country's by blind indexes, and shows it to nobody, "
        "**t** reads it into pseudonymised records of an analyst. "
        "Whatever the letter, a legal basis recorded in the case is needed too: consent that "
        "names the group, a best-interests decision for a child, or a duty; for **b** the "
        "recorded access itself, for **s** and **m** none, for **t** the "
        "protocol's part on statistics. Whereabouts leave a "
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
        "",
        *_CASES_AND_MEMBERS.splitlines(),
        "",
        "## Operations and pages",
        "",
        "Who may ask for an operation of the API (`/v1`, `/log`, `/auth`, `/witness`) or a page. "
        "An operation without a row is refused. A **yes** lets the request in; the tables above "
        "then decide about the case, its personal fields and members. **matrix**: the first table "
        "alone decides. Signed in or not, everybody may ask for those at the end.",
        "",
        "| operation | " + " | ".join(_SORTS.values()) + " |",
        "|---" * (len(_SORTS) + 1) + "|",
        *_operations(),
        "",
        "Everybody, some by a secret or a signature: "
        + ", ".join(f"`{one}`" for one in _of(Audience.EVERYONE))
        + ".",
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


def _operations() -> Iterator[str]:
    described = {
        f"{method} {route.path}": _what(route)
        for route in create_app(Settings(), "").routes
        if isinstance(route, Route)
        for method in route.methods or ()
    }
    for audience in Audience:
        if audience is Audience.EVERYONE:
            continue
        for operation in _of(audience):
            cells = (_asks(audience, sort) for sort in _SORTS)
            what = described[operation]
            yield f"| {what} `{operation}` | " + " | ".join(cells) + " |"


def _of(audience: Audience) -> list[str]:
    return sorted(name for name, one in AUDIENCE_OF.items() if one is audience)


def _asks(audience: Audience, sort: CallerSort) -> str:
    if sort not in MAY_ASK[audience]:
        return "no"
    return "matrix" if audience is Audience.PERSONAL else "yes"


def _what(route: BaseRoute) -> str:
    """Return the first sentence of the documentation of a route's function."""
    told = (getattr(getattr(route, "endpoint", None), "__doc__", None) or "").strip()
    return " ".join(told.split("\n\n")[0].split())


def _names(names: Iterable[str]) -> str:
    return ", ".join(names)
