"""The pages in the navigation of each role. Each page decides by itself what it shows."""

from collections.abc import Sequence
from dataclasses import dataclass

from api.http.access import Caller
from ledger.procedure.protocol import COORDINATOR, NODE, OVERSIGHT


@dataclass(frozen=True, slots=True)
class NavigationEntry:
    """A place in the navigation."""

    text: str
    path: str
    in_line: bool = False
    """Whether the line of the header has it, where the screen is wide. The menu has all."""


TODAY = NavigationEntry("nav.today", "/today", in_line=True)
CASES = NavigationEntry("nav.cases", "/cases", in_line=True)
BOARD = NavigationEntry("nav.board", "/board", in_line=True)
MEETING = NavigationEntry("nav.meeting", "/meeting", in_line=True)
FIGURES = NavigationEntry("nav.figures", "/charts")
AUDIT = NavigationEntry("nav.audit", "/audit")
HELP = NavigationEntry("nav.help", "/help/actions")
VERIFY = NavigationEntry("nav.verify", "/verify")
RETENTION = NavigationEntry("nav.retention", "/retention")
MISSING = NavigationEntry("nav.missing", "/missing")
PARCELS = NavigationEntry("nav.parcels", "/parcels")
WAITING = NavigationEntry("nav.waiting", "/waiting")
KEYS = NavigationEntry("nav.keys", "/keys")
AGENCIES = NavigationEntry("nav.agencies", "/agencies")
DRAFTS = NavigationEntry("nav.drafts", "/drafts")
MEMBERS = NavigationEntry("nav.members", "/members")
DIRECTORY = NavigationEntry("nav.directory", "/directory")
AGREEMENT = NavigationEntry("nav.agreement", "/agreement")
IMPORT = NavigationEntry("nav.import", "/import-map")
NEW = NavigationEntry("nav.new", "/cases/new", in_line=True)


def sections(caller: Caller) -> Sequence[NavigationEntry]:
    """Return the sections for the caller's role, in the order of the work."""
    role = caller.agency.role
    if role == NODE:
        return ()
    if caller.protocol.sees_figures_alone(caller.agency):
        return (FIGURES, KEYS, DIRECTORY, AGENCIES, MEMBERS, AGREEMENT, HELP, VERIFY)
    opens = role in caller.protocol.actions["case_opened"].roles
    return (
        TODAY,
        CASES,
        *((NEW,) if opens else ()),
        *((DRAFTS,) if caller.protocol.approvals else ()),
        *((BOARD,) if role in (COORDINATOR, OVERSIGHT) else ()),
        *((MEETING,) if role == COORDINATOR else ()),
        *((FIGURES,) if role in (COORDINATOR, OVERSIGHT) else ()),
        *((AUDIT,) if role in (COORDINATOR, OVERSIGHT) else ()),
        *((RETENTION,) if role in (COORDINATOR, OVERSIGHT) else ()),
        *((MISSING,) if role == COORDINATOR else ()),
        *((PARCELS,) if role == COORDINATOR else ()),
        *((WAITING,) if role in (COORDINATOR, OVERSIGHT) else ()),
        *((IMPORT,) if opens else ()),
        KEYS,
        DIRECTORY,
        AGENCIES,
        MEMBERS,
        AGREEMENT,
        HELP,
        VERIFY,
    )
