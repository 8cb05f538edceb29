"""The annual report for people: Markdown in any language that there is, of the same numbers."""

from collections.abc import Iterable, Iterator, Sequence

from babel.units import format_unit

from api.paper.subject_access.wording import Wording, wording
from ledger.procedure.conditions import Standing
from ledger.procedure.protocol import Protocol
from ledger.vocabulary.picklists import ClosureReason, CorrectionEffect, CorrectionReason
from projections.reports.accountability import ANY, UNMARKED, ObligationTally, ResponseTimes
from projections.reports.annual_report import AnnualReport

_TALLY = ("owed", "on_time", "late", "undated", "open", "past_expected", "overdue", "lapsed")
_OF_YEAR = (
    "carried_in",
    "opened",
    "on_time",
    "late",
    "undated",
    "lapsed",
    "open",
    "past_expected",
    "overdue",
)
Row = Sequence[str | int]


def markdown(report: AnnualReport, language: str, protocol: Protocol | None = None) -> str:
    """Return the report as a page of tables, the same text for the same report and language.

    ``protocol`` has the labels of the parties. Times are in UTC, for every party alike. Raises
    ``LanguageError`` if there is no such language.
    """
    return "\n".join(_ReportPage(report, wording(language, protocol)).lines()) + "\n"


class _ReportPage:
    def __init__(self, report: AnnualReport, words: Wording) -> None:
        self._report = report
        self._words = words
        self._locale = words.known.locale

    def lines(self) -> Iterator[str]:
        report, told = self._report, self._report.checkpoint
        yield f"# {self._text('title', year=str(report.year))}"
        for line in (
            self._text(
                "about",
                year=str(report.year),
                protocol=self._words.proper_name(report.protocol.title),
            ),
            self._text("as_of", moment=self._words.moment(report.as_of)),
            self._text("checkpoint", size=str(told.size), root=f"`{told.root}`"),
            f"**{self._text('audience')}**",
        ):
            yield from ("", line)
        yield from self._section("cases", 2)
        yield from self._cases()
        yield from self._section("actions", 2)
        yield from self._table(
            ("kind", "country", "role", "count"),
            (
                (self._words.kind(a.kind), self._country(a.country), self._role(a.role), a.actions)
                for a in report.actions
            ),
        )
        yield from self._section("corrections", 2)
        yield from self._table(
            ("corrected", "country", "effect", "reason", "count"),
            (
                (
                    self._words.kind(c.kind),
                    self._country(c.country),
                    self._words.picked(CorrectionEffect(c.effect)),
                    self._words.picked(CorrectionReason(c.reason)),
                    c.corrections,
                )
                for c in report.corrections
            ),
        )
        yield from self._section("obligations", 2)
        yield from self._table(
            ("country", "kind", *_OF_YEAR),
            (
                (
                    self._country(o.country),
                    self._words.picked(o.kind),
                    *(getattr(o, name) for name in _OF_YEAR),
                )
                for o in report.obligations
            ),
        )
        yield from self._section("forms", 2)
        yield from self._table(
            ("country", "form", "kind", "mark", *_OF_YEAR),
            (
                (
                    self._country(one.country),
                    one.form,
                    self._words.picked(one.kind),
                    self._mark(one.standing),
                    *(getattr(one, name) for name in _OF_YEAR),
                )
                for one in report.forms
            ),
        )
        yield from self._section("times", 2)
        yield from self._times("country", report.response_times)
        yield from self._section("agencies", 3)
        yield from self._times("agency", report.agencies_response_times)
        yield from self._section("reciprocity", 2)
        yield from self._table(("reciprocity.owes", *_TALLY), self._balances())

    def _cases(self) -> Iterator[str]:
        cases = self._report.cases
        yield from self._section("opened", 3)
        yield from self._table(
            ("country", "count"), ((self._country(c.country), c.cases) for c in cases.opened)
        )
        yield from self._section("identified", 3)
        yield from self._table(
            ("country", "count"), ((self._country(c.country), c.cases) for c in cases.identified)
        )
        yield from self._section("returned", 3)
        yield from self._table(
            ("origin", "destination", "count"),
            (
                (self._country(c.origin), self._country(c.destination), c.returns)
                for c in cases.returned
            ),
        )
        yield from self._section("closed", 3)
        yield from self._table(
            ("country", "reason", "count"),
            (
                (self._country(c.country), self._words.picked(ClosureReason(c.reason)), c.closings)
                for c in cases.closed
            ),
        )
        yield from self._section("standing", 3)
        yield from self._table(
            ("corridor", "stage", "status", "count"),
            (
                (
                    ", ".join(map(self._country, c.corridor)),
                    self._words.picked(c.stage),
                    self._words.picked(c.status),
                    c.cases,
                )
                for c in cases.standing
            ),
        )

        yield from self._section("protected", 3)
        yield from self._table(
            ("country", "protected_as", "count"),
            (
                (self._country(c.country), self._words.picked(c.protected_as), c.cases)
                for c in cases.protected
            ),
        )

    def _times(self, by: str, times: Iterable[ResponseTimes]) -> Iterator[str]:
        yield from self._table(
            (by, "kind", *_TALLY, "share", "median", "ninety", "longest"),
            (
                (
                    self._country(t.country or ANY) if t.agency is None else self._agency(t.agency),
                    self._words.picked(t.kind) if t.kind else "",
                    *_counts(t),
                    "" if t.share_on_time is None else f"{t.share_on_time // 10} %",
                    *map(self._lasted, (t.median_seconds, t.p90_seconds, t.max_seconds)),
                )
                for t in times
            ),
        )

    def _balances(self) -> Iterator[Row]:
        for balance in self._report.reciprocity:
            one, other = map(self._country, balance.countries)
            yield (f"{one} → {other}", *_counts(balance.first_owes))
            yield (f"{other} → {one}", *_counts(balance.second_owes))

    def _section(self, name: str, level: int) -> Iterator[str]:
        yield from ("", f"{'#' * level} {self._text(f'{name}.heading')}")

    def _table(self, columns: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
        yield ""
        cells = list(rows)
        if not cells:
            yield self._text("none")
            return
        numbers = [isinstance(cell, int) for cell in cells[0]]
        yield _line([self._text(name) for name in columns])
        yield _line(["--:" if is_number else "---" for is_number in numbers])
        yield from map(_line, cells)

    def _country(self, code: str) -> str:
        return self._text("any") if code == ANY else self._words.country(code)

    def _agency(self, agency: str) -> str:
        return self._text("any") if agency == ANY else self._words.agency_name(agency)

    def _mark(self, standing: str) -> str:
        if standing == UNMARKED:
            return self._text("unmarked")
        return self._words.picked(Standing(standing))

    def _role(self, role: str) -> str:
        return self._words.role(role)

    def _lasted(self, seconds: int | None) -> str:
        """Return a duration in whole days, or hours or minutes if it is less than two of them."""
        if seconds is None:
            return ""
        minutes, hours, days = (seconds // size for size in (60, 3600, 86400))
        number, unit = minutes, "minute"
        if hours > 1:
            number, unit = (days, "day") if days > 1 else (hours, "hour")
        return format_unit(number, f"duration-{unit}", locale=self._locale)

    def _text(self, name: str, **values: str) -> str:
        return self._words.text(f"report.{name}", **values)


def _counts(tally: ObligationTally) -> Iterable[int]:
    return (getattr(tally, name) for name in _TALLY)


def _line(cells: Iterable[str | int]) -> str:
    return f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |"
