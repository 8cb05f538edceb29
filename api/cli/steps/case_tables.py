"""Cases, trails and events, readable at a glance."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from uuid import UUID

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from api.cli.steps.table_words import country, day, owed, said, words
from api.client.schemas import AgencyWithKeys, DisclosedFields, Event, Outcome
from ledger.procedure.erasures import ErasedData, ErasureReason, erased_data
from ledger.vocabulary.case_reference import case_reference
from projections.folds.audit_trail import Change, TrailEntry
from projections.folds.case_view import OVERSIGHT_VIEWER, CaseView, StepView, Turn
from projections.folds.expected_steps import ExpectedStep
from projections.folds.obligation_terms import is_over

_TURN_STYLE = {Turn.OURS: "bold yellow", Turn.THEIRS: "dim", Turn.ANY: ""}
_TURN_MARK = {Turn.OURS: "▶", Turn.THEIRS: "·", Turn.ANY: "▷"}
_BOOKKEEPING = ("/last_acted_at", "/case_id", "/opened_")
_UUID_LENGTH = 36


def case_panel(
    view: CaseView,
    now: datetime,
    disclosed: Iterable[DisclosedFields] = (),
    file_number: str | None = None,
) -> Panel:
    """Return a panel with one country's view of a case: its state, and whose turn the steps are.

    ``file_number`` is the agency's own.
    """
    parts: list[RenderableType] = [*_section(said("danger"), _dangers(view, now))]
    parts += [_standing(view)]
    parts += _section(said("in_force"), _in_force(view))
    parts += _section(said("requests"), _requests(view))
    parts += _section(said("joint_actions"), _joint_actions(view))
    parts += _section(said("expected"), _expected(view, now))
    parts += _section(said("disclosed"), _disclosed(disclosed))
    whose = said("oversight") if view.viewer == OVERSIGHT_VIEWER else country(view.viewer)
    numbered = f"{said('file_number')} {file_number}, " if file_number else ""
    version = said("version", version=str(view.version), position=str(view.position))
    return Panel(
        Group(*parts),
        title=said("sees", country=f"[bold]{whose}[/]", case=short(view.case_id)),
        subtitle=escape(f"{numbered}{version}"),
        border_style="cyan",
    )


def case_list(views: Iterable[CaseView], now: datetime, numbers: Mapping[UUID, str]) -> Table:
    """Return a table with one row for each case. ``numbers`` are the agency's file numbers."""
    table = Table(box=box.SIMPLE_HEAD)
    columns = ("case", "file_number", "status", "stage", "priority", "lead", "parties", "our_step")
    for column in columns:
        # A reference that is broken into lines cannot be copied for the next command.
        table.add_column(said(column), overflow="fold", no_wrap=column == "case")
    for view in views:
        ours = next((s for s in _still_expected(view, now) if s.turn is Turn.OURS), None)
        table.add_row(
            short(view.case_id),
            escape(numbers.get(view.case_id, "")),
            words(view.status),
            words(view.stage),
            words(view.priority),
            view.lead_agency,
            ", ".join(view.parties),
            _due(owed(ours.action), ours, now) if ours else Text("-", style="dim"),
        )
    return table


def trail_table(entries: Iterable[TrailEntry], *, title: str | None = None) -> Table:
    """Return a table of every event of a case, with its changes."""
    table = Table(title=title or said("trail"), box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("#", justify="right", style="dim")
    table.add_column(said("acted"))
    table.add_column(said("recorded"), style="dim")
    table.add_column(said("who"))
    table.add_column(said("what"), style="bold")
    table.add_column(said("changes"))
    table.add_column(said("signed"))
    for entry in entries:
        table.add_row(
            str(entry.version),
            entry.acted_at.strftime("%d %b %y %H:%M"),
            entry.recorded_at.strftime("%d %b %y %H:%M:%S"),
            entry.agency,
            words(entry.kind),
            Text("\n".join(_changes(entry.changes))),
            _signature(entry),
        )
    return table


def brief_trail(entries: Iterable[TrailEntry]) -> Table:
    """Return the trail with one line for each event, to stand beside the views."""
    table = Table(title=said("trail"), box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("#", justify="right", style="dim", no_wrap=True, min_width=2)
    table.add_column(said("acted"), no_wrap=True, min_width=9)
    table.add_column(said("who"), no_wrap=True, min_width=18)
    table.add_column(said("what"), style="bold", no_wrap=True, min_width=18)
    table.add_column("✓", no_wrap=True, min_width=1)
    for entry in entries:
        table.add_row(
            str(entry.version),
            entry.acted_at.strftime("%d %b %y"),
            entry.agency,
            words(entry.kind),
            Text("✓", "green") if entry.signature.value.startswith("valid") else Text("✗", "red"),
        )
    return table


def event_table(events: Iterable[Event]) -> Table:
    """Return a table of events by position."""
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("position", "recorded", "case", "number", "what", "leaf_hash"):
        whole = column in ("leaf_hash", "case")
        table.add_column(said(column), no_wrap=not whole, overflow="fold" if whole else "ellipsis")
    for event in events:
        table.add_row(
            str(event.position),
            event.recorded_at.strftime("%d %b %y %H:%M:%S"),
            str(event.case_id),
            str(event.case_version),
            words(event.kind),
            event.leaf_hash,
        )
    return table


def outcome_table(outcomes: Iterable[Outcome]) -> Table:
    """Return a table of the outcomes of actions."""
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("handed_in", "action", "agency", "state", "outcome"):
        table.add_column(said(column))
    for outcome in outcomes:
        problem, receipt = outcome.problem, outcome.receipt
        reason = f"{problem.rule}: {problem.detail}" if problem else ""
        table.add_row(
            outcome.received_at.strftime("%d %b %y %H:%M:%S"),
            str(outcome.action_id),
            outcome.agency,
            words(outcome.state),
            str(receipt.position) if receipt else reason,
        )
    return table


def agency_table(agencies: Iterable[AgencyWithKeys], now: datetime) -> Table:
    """Return a table of agencies with their keys."""
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("Agency", "Name", "Role", "Key", "State"):
        table.add_column(column)
    for agency in agencies:
        keys = agency.keys or (None,)
        for n, key in enumerate(keys):
            first = (agency.id, agency.name, words(agency.role)) if n == 0 else ("", "", "")
            state = Text("no key", style="dim")
            if key is not None and key.revoked_at is not None:
                state = Text(f"revoked {key.revoked_at:%d %b %y}", style="red")
            elif key is not None and not key.valid_from <= now < key.valid_until:
                state = Text("not valid now", style="yellow")
            elif key is not None:
                state = Text(f"until {key.valid_until:%d %b %y}", style="green")
            table.add_row(*first, key.id if key else "", state)
    return table


def short(case_id: UUID) -> str:
    """Return the name of a case that people can say."""
    return case_reference(case_id)


def _standing(view: CaseView) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    rows: Mapping[str, str] = {
        "status": words(view.status) + (f" ({words(view.closure)})" if view.closure else ""),
        "stage": words(view.stage),
        "person": f"{words(view.age_group)}, {words(view.trafficking_status)}",
        "priority": words(view.priority),
        "lead": view.lead_agency,
        "parties": ", ".join(view.parties),
        "opened": said("opened_on", day=day(view.opened_at), last=day(view.last_acted_at)),
    }
    for name, value in rows.items():
        table.add_row(said(name), value)
    return table


def _dangers(view: CaseView, now: datetime) -> Iterable[Text]:
    for access in view.break_glass:
        ends = f"until {access.until:%d %b %Y %H:%M}" if now < access.until else "over"
        groups = ", ".join(words(group) for group in access.groups)
        waits = f"{', '.join(access.to_review)} must review it" if access.to_review else "reviewed"
        yield Text(
            f"! {access.by}, {words(access.danger)}: {groups}, {ends}; {waits}", style="bold red"
        )


def _in_force(view: CaseView) -> Iterable[Text]:
    if view.shelter is not None:
        yield Text(f"{words('sheltered')}, {view.shelter.party}")
    for service in view.services:
        yield Text(f"{words(service.service)}, {service.party}")
    for measure in view.measures:
        yield Text(f"{words(measure.measure)}, {measure.party}")
    if view.planned_return is not None:
        yield Text(f"return to {view.planned_return.destination}")
    if view.lead_offer is not None:
        yield Text(f"lead offered to {view.lead_offer.to}")
    for hold in view.holds:
        yield Text(f"legal hold of {hold.party}: {words(hold.ground)}")
    if view.erasure is not None:
        if view.erasure.confirmed or view.erasure.order:
            data = erased_data(view, view.erasure.since)
            why = why_erased(data) if data is not None else ""
            yield Text(
                f"erased since {view.erasure.since:%d %b %Y}: {why};"
                f" confirmed by {', '.join(view.erasure.confirmed) or 'none yet'}"
            )
        else:
            yield Text("erasure proposed, not approved")
    elif view.retention is not None:
        announced = view.retention
        yield Text(
            f"erased from {announced.erase_from:%d %b %Y} on, announced by {announced.by}:"
            f" the period of {announced.kept_days} days ends",
            style="yellow",
        )


def why_erased(data: ErasedData) -> str:
    """Return the reason for which a person's data was erased, in words."""
    if data.reason is ErasureReason.ORDER:
        ground = f" ({words(data.ground)})" if data.ground is not None else ""
        return f"two parties ordered it{ground}"
    if data.kept_days is None or data.announced_at is None:
        return "the period of retention was over"
    return (
        f"the period of retention of {data.kept_days} days was over, announced on"
        f" {data.announced_at:%d %b %Y}"
    )


def _requests(view: CaseView) -> Iterable[Text]:
    for request in view.open_requests:
        state = said("acknowledged" if request.acknowledged else "not_acknowledged")
        topics = ", ".join(words(t) for t in request.topics)
        line = f"{request.by} → {request.addressee}: {topics} ({state})"
        yield Text(f"{_TURN_MARK[request.turn]} {line}", style=_TURN_STYLE[request.turn])


def _joint_actions(view: CaseView) -> Iterable[Text]:
    for agreed in view.joint_actions:
        line = f"{words(agreed.joint_action)}: {', '.join(agreed.responsible)}"
        yield Text(f"{_TURN_MARK[agreed.turn]} {line}", style=_TURN_STYLE[agreed.turn])


def _still_expected(view: CaseView, now: datetime) -> Iterator[StepView]:
    """Yield the expected steps without those that ended by themselves."""
    for step in view.expected:
        if not is_over(step.action, step.due, step.expected_by, now):
            yield step


def _expected(view: CaseView, now: datetime) -> Iterable[Text]:
    for step in _still_expected(view, now):
        who = step.agency or (step.party if step.party else said("any_party"))
        line = _due(f"{_TURN_MARK[step.turn]} {owed(step.action)}: {who}", step, now)
        line.stylize(_TURN_STYLE[step.turn])
        yield line


def _disclosed(disclosed: Iterable[DisclosedFields]) -> Iterable[Text]:
    for action in disclosed:
        for name, value in action.fields.items():
            shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            yield Text(f"{words(name)}: {shown}")


def _section(title: str, lines: Iterable[Text]) -> list[RenderableType]:
    found = list(lines)
    if not found:
        return []
    bulleted = Table.grid()
    for line in found:
        bulleted.add_row(line)
    return [Text(f"\n{title}", style="bold"), bulleted]


def _due(what: str, step: ExpectedStep, now: datetime) -> Text:
    text, due = Text(what), step.due
    if due is None and step.expected_by is not None:
        return text.append(f" ({said('expected_by', day=day(step.expected_by))})")
    if due is None:
        return text
    if due < now:
        return text.append(f" ({said('overdue_since', day=day(due))})", style="bold red")
    return text.append(f" ({said('due_on', day=day(due))})")


def _changes(changes: Iterable[Change]) -> Iterable[str]:
    for change in changes:
        if change.path.startswith(_BOOKKEEPING):
            continue
        top, *rest = change.path.strip("/").split("/")
        if top == "facts":
            yield from _facts(rest, change)
        elif isinstance(change.before, dict) or isinstance(change.after, dict):
            yield f"{words(top)}: {'+' if change.before is None else '-'} {_summary(change)}"
        else:
            yield f"{words(top)}: {_value(change.before)} → {_value(change.after)}"


def _facts(rest: list[str], change: Change) -> Iterable[str]:
    """Yield the facts that begin or cease to hold, without those that are established anew."""
    if not rest and isinstance(change.after, dict):
        yield from (said("now_holds", fact=words(fact)) for fact in change.after)
    elif len(rest) == 1 and change.before is None:
        yield said("now_holds", fact=words(rest[0]))
    elif len(rest) == 1:
        yield said("no_longer_holds", fact=words(rest[0]))


def _summary(change: Change) -> str:
    content = change.after if change.before is None else change.before
    if not isinstance(content, dict):
        return _value(content)
    shown = [str(v) for k, v in content.items() if isinstance(v, str) and not k.startswith("since")]
    return " ".join(words(s) for s in shown if len(s) != _UUID_LENGTH)


def _value(value: object) -> str:
    if value is None:
        return said("none")
    if isinstance(value, list):
        return ", ".join(map(str, value))
    is_code = isinstance(value, str) and value.replace("_", "").isalpha()
    return words(str(value)) if is_code else str(value)


def _signature(entry: TrailEntry) -> Text:
    if entry.signature.value == "valid":
        return Text(said("valid"), style="green")
    style = "yellow" if entry.signature.value.startswith("valid") else "bold red"
    return Text(entry.signature.value, style=style)
