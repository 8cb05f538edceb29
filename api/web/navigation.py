"""Which pages a role finds in the navigation. What a page shows is decided where it is made."""

from collections.abc import Sequence
from dataclasses import dataclass

from api.http.access import Caller
from ledger.procedure.protocol import COORDINATOR, NODE, OVERSIGHT


@dataclass(frozen=True, slots=True)
class Section:
    """A place in the navigation."""

    text: str
    path: str


CASES = Section("nav.cases", "/cases")
BOARD = Section("nav.board", "/board")
MEETING = Section("nav.meeting", "/meeting")
FIGURES = Section("nav.figures", "/charts")
VERIFY = Section("nav.verify", "/verify")
RETENTION = Section("nav.retention", "/retention")
MISSING = Section("nav.missing", "/missing")
WAITING = Section("nav.waiting", "/waiting")
KEYS = Section("nav.keys", "/keys")
NEW = Section("nav.new", "/cases/new")


def sections(caller: Caller) -> Sequence[Section]:
    """Those for the caller's role, in the order of the work."""
    role = caller.agency.role
    if role == NODE:
        return ()
    opens = role in caller.registry.protocol.actions["case_opened"].roles
    return (
        CASES,
        *((NEW,) if opens else ()),
        *((BOARD,) if role in (COORDINATOR, OVERSIGHT) else ()),
        *((MEETING,) if role == COORDINATOR else ()),
        *((FIGURES,) if role in (COORDINATOR, OVERSIGHT) else ()),
        *((RETENTION,) if role == COORDINATOR else ()),
        *((MISSING,) if role == COORDINATOR else ()),
        *((WAITING,) if role in (COORDINATOR, OVERSIGHT) else ()),
        *((KEYS,) if role == COORDINATOR else ()),
        VERIFY,
    )
