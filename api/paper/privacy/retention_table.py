"""The retention table of everything that is stored, in Markdown."""

from collections.abc import Iterable, Iterator

from api.paper.privacy.kept import ELSEWHERE, FILES, TABLES, Kept
from api.paper.privacy.page_parts import names, periods, table
from ledger.procedure.protocol import Protocol

_HEAD = ("where", "what", "tells of", "until", "ended by")


def retention_page(protocol: Protocol) -> str:
    """Return the page on how long everything is kept, and what ends it."""
    return "\n".join(_lines(protocol)) + "\n"


def _lines(protocol: Protocol) -> Iterator[str]:
    yield "# How long everything is kept"
    yield ""
    yield (
        "**Reference.** `case-ledger privacy retention` made this page from the program and from"
        f" the protocol `{protocol.id}`, version {protocol.version}. A test compares it with the"
        " tables of a database and with the code that writes files: a new one without a row here"
        " fails. The periods of settings are this program's proposals; the operator sets others."
    )
    yield ""
    yield "## Cases"
    yield ""
    yield "From the closing of the case on, while no legal hold is in force:"
    yield ""
    yield from periods(protocol)
    yield ""
    yield (
        "`case-ledger retention list` has what is due, when, and what is in its way"
        " ([how it ends](../operations.md#erasure-retention-and-legal-holds))."
    )
    yield ""
    yield "## Tables"
    yield ""
    yield "`xx` stands for each country of the node."
    yield ""
    yield from _rows(TABLES)
    yield ""
    yield "## Files"
    yield ""
    yield "In the data directory, or where the command is told to write."
    yield ""
    yield from _rows(FILES)
    yield ""
    yield "## Outside of the program"
    yield ""
    yield "The program cannot end these. The operator writes down the period that is set."
    yield ""
    yield from _rows(ELSEWHERE)


def _rows(kept: Iterable[Kept]) -> Iterator[str]:
    yield from table(
        _HEAD,
        (
            (
                names(_shown(place) for place in one.places),
                one.holds,
                one.concerns.value,
                one.until,
                one.ended_by,
            )
            for one in kept
        ),
    )


def _shown(place: str) -> str:
    return place if " " in place or "`" in place else f"`{place}`"
