"""The facts for a notification of a breach (GDPR, Article 33(3)), as a template to be completed."""

from collections.abc import Iterator

from api.client.schemas.breach import BreachReport
from api.paper.privacy.page_parts import BLANK, names, table
from ledger.vocabulary.levels import FieldGroup


def notice(report: BreachReport, agency: str) -> str:
    """Return the facts in Markdown. Ids of cases are left out: the authority needs none."""
    return "\n".join(_lines(report, agency)) + "\n"


def _lines(report: BreachReport, agency: str) -> Iterator[str]:
    opened = [g for g in FieldGroup if any(g in case.opened for case in report.cases)]
    yield "# Notification of a personal data breach: facts"
    yield ""
    yield (
        f"Made by `case-ledger breach` for `{agency}` from entry {report.look.seq} of the access"
        f" log, {report.look.at:%d %b %Y %H:%M} UTC. `{BLANK}` is for what the program does not"
        " know. Nobody was notified."
    )
    yield ""
    yield from table(
        ("", ""),
        (
            ("became aware", _moment(report.aware_at)),
            ("72 hours are over (Article 33(1))", _moment(report.notify_by)),
            ("reasons for a delay", BLANK),
            ("the breach lasted", f"{_moment(report.since)} to {_moment(report.until)}"),
            ("cause, how it was found", BLANK),
            ("persons affected", f"{report.persons}, of them children: {BLANK}"),
            ("groups of data that were opened", names(f"`{group}`" for group in opened)),
            ("readings granted, refused", f"{report.granted}, {report.refused}"),
            ("documents opened, downloaded", f"{report.documents}, {report.downloads}"),
            ("searches for persons", str(report.searches)),
            ("actions recorded under the key", str(len(report.acts))),
            (
                "released to other countries",
                names(sorted({one.recipient for one in report.acts if one.recipient})),
            ),
            ("likely consequences", BLANK),
            ("contact, data-protection officer", BLANK),
            ("persons told (Article 34)", BLANK),
        ),
    )
    yield ""
    yield "## What could have been seen"
    yield ""
    for one in report.reach:
        yield (
            f"- `{one.agency}`: fields of {one.cases} cases at the level of cases, which no log"
            f" records; personal groups {names(f'`{group}`' for group in one.groups)}, each reading"
            " of which is in the log."
        )
    yield ""
    yield "## Countries to tell"
    yield ""
    yield from table(
        ("country", "cases", "told on"),
        ((one.country, str(one.cases), BLANK) for one in report.countries),
    )
    yield ""
    yield "## Measures"
    yield ""
    for key in report.keys:
        ended = _moment(key.revoked_at) if key.revoked_at else "**not revoked yet**"
        since = f"; compromised since {_moment(key.compromised_since)}"
        yield (
            f"- key `{key.key_id}` of `{key.agency}`: {ended}"
            f"{since if key.compromised_since else ''}"
        )
    yield f"- {BLANK}"
    doubts = [*_doubts(report)]
    if doubts:
        yield ""
        yield "## What these facts may lack"
        yield ""
        yield from (f"- {one}" for one in doubts)


def _doubts(report: BreachReport) -> Iterator[str]:
    if report.changed:
        yield f"{len(report.changed)} entries of the access log in this span were changed."
    if report.log_begins_at is not None and report.log_begins_at > report.since:
        yield f"The access log is kept from {_moment(report.log_begins_at)} on."
    if report.is_cut:
        yield "There are more entries or actions than one report has."


def _moment(moment: object) -> str:
    return f"{moment:%d %b %Y %H:%M} UTC" if moment is not None else BLANK
