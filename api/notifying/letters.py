"""Notices as e-mails in plain words, in the language and the local time of the agency's party."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from email.message import EmailMessage
from typing import Any
from uuid import UUID

from api.notifying.subscriptions import Subscription
from api.paper.languages.found import SOURCE, languages
from api.paper.subject_access.wording import Wording, wording
from ledger.procedure.protocol import Protocol
from ledger.vocabulary.case_reference import case_reference
from projections.folds.obligation_terms import ObligationKind

Said = tuple[str, Sequence[str], Sequence[tuple[str, str]], str]
"""A subject, sentences, labelled values, and what to do."""


def words_for(subscription: Subscription, protocol: Protocol) -> Wording:
    """Return the words of the messages to a subscription.

    The language is the subscription's, else that of the agency's party in the protocol, else
    English. A language whose catalogues this node lacks is English too.
    """
    agency = protocol.agencies_by_id.get(subscription.agency)
    party = agency.party if agency is not None else None
    of_party = next((one.language for one in protocol.parties if one.code == party), None)
    chosen = subscription.language or of_party or SOURCE
    return wording(chosen if chosen in languages() else SOURCE, protocol, party)


def email_of(
    sender: str, recipient: str, notice_id: UUID, message: Mapping[str, Any], words: Wording
) -> EmailMessage:
    """Return a notice as an e-mail, whose ``Message-ID`` stays the same."""
    now = datetime.fromisoformat(message["timestamp"])
    subject, sentences, values, advice = _said(message, words)
    width = max((len(label) for label, _ in values), default=0) + 2
    letter = EmailMessage()
    letter["From"], letter["To"] = sender, recipient
    letter["Subject"] = words.text("mail.subject", subject=subject)
    letter["Message-ID"] = f"<{notice_id}@{sender.rpartition('@')[2]}>"
    letter["Date"] = now
    letter["Auto-Submitted"] = "auto-generated"
    letter["X-Webhook-Id"] = str(notice_id)
    lines = (
        *sentences,
        "",
        *(f"{label:<{width}}{value}" for label, value in values),
        "",
        advice,
        *_of_zone(words, now),
        words.text("mail.foot"),
    )
    letter.set_content("\n".join(lines) + "\n")
    letter["Content-Language"] = words.known.tag  # set_content drops such headers
    return letter


def _said(message: Mapping[str, Any], words: Wording) -> Said:
    data = message["data"]
    match message["type"]:
        case "key.ending":
            return _of_key(data, words)
        case "retention.announced":
            return _of_erasure(data, words)
        case "actions.waiting":
            return _of_waiting(data, words)
        case "digest.daily":
            return _of_digest(data, words)
        case "case.danger" | "case.handover" as kind:
            return _of_urgent(kind, data, words)
        case "draft.waiting" | "draft.returned" | "draft.ending" | "draft.recorded" as kind:
            return _of_draft(kind, data, words)
        case kind:
            return _of_obligation(kind, data, words)


def _of_zone(words: Wording, now: datetime) -> Sequence[str]:
    if words.party is None:
        return ()
    country, zone = words.country(words.party), words.zone_name(now)
    return (words.text("mail.zone", country=country, zone=zone),)


def _of_key(data: Mapping[str, Any], words: Wording) -> Said:
    text, ends = words.text, datetime.fromisoformat(data["ends"])
    agency = words.agency_name(data["agency"])
    return (
        text("mail.key.subject", agency=agency, day=words.day(ends)),
        [text("mail.key.what", agency=agency, moment=words.moment(ends))],
        [(text("mail.key"), data["key_id"]), (text("mail.ends"), words.moment(ends))],
        text("mail.key.do"),
    )


def _of_erasure(data: Mapping[str, Any], words: Wording) -> Said:
    text, begins = words.text, datetime.fromisoformat(data["erase_from"])
    moment, days = words.moment(begins), str(data["kept_days"])
    return (
        text("mail.erasure.subject", day=words.day(begins)),
        [text("mail.erasure.what", moment=moment, days=days)],
        [
            (text("mail.case"), data["case_id"]),
            (text("mail.by"), words.agency_name(data["announced_by"])),
            (text("mail.action"), data["announcement"]),
        ],
        text("mail.erasure.do"),
    )


def _of_waiting(data: Mapping[str, Any], words: Wording) -> Said:
    text, since = words.text, datetime.fromisoformat(data["since"])
    number = str(data["actions"])
    return (
        text("mail.waiting.subject", actions=number),
        [text("mail.waiting.what", moment=words.moment(since))],
        [
            (text("mail.waiting.actions"), number),
            (text("mail.waiting.others"), str(data["others_recorded_since"])),
        ],
        text("mail.waiting.do"),
    )


def _of_digest(data: Mapping[str, Any], words: Wording) -> Said:
    text = words.text
    counts = ("due", "overdue", "overdue_in_country", "unread", "reminders",
              "drafts_waiting", "drafts_returned", "drafts_recorded")  # fmt: skip
    listed = [_line(one, words) for one in data["first"]]
    if listed:
        listed.insert(0, text("mail.digest.first"))
    day = words.day(date.fromisoformat(data["day"]))
    return (
        text("mail.digest.subject", day=day),
        [text("mail.digest.what", agency=words.agency_name(data["agency"])), *listed],
        [(text(f"mail.digest.{name}"), str(data[name])) for name in counts if data.get(name)],
        text("mail.digest.do"),
    )


def _line(one: Mapping[str, Any], words: Wording) -> str:
    """Return an obligation of a digest: day, step and reference of its case."""
    what = f"{words.owed(one['action'])}, {case_reference(UUID(one['case_id']))}"
    if one["due"] is None:
        return f"- {what}"
    return f"- {words.due_day(datetime.fromisoformat(one['due']), one['debtor'])}: {what}"


def _of_urgent(kind: str, data: Mapping[str, Any], words: Wording) -> Said:
    text, what = words.text, words.kind(data["kind"])
    reference = case_reference(UUID(data["case_id"]))
    sort = text("mail.danger" if kind == "case.danger" else "mail.handover")
    return (
        f"{sort}: {what}, {reference}",
        [f"{sort}: {what}"],
        [
            (text("mail.case"), reference),
            (text("mail.by"), words.agency_name(data["agency"])),
            (text("mail.recorded"), words.moment(datetime.fromisoformat(data["recorded_at"]))),
        ],
        text("mail.urgent.do"),
    )


def _of_draft(kind: str, data: Mapping[str, Any], words: Wording) -> Said:
    text, what = words.text, words.kind(data["kind"])
    reference = case_reference(UUID(data["case_id"])) if "case_id" in data else ""
    is_recorded = kind == "draft.recorded"
    moment = datetime.fromisoformat(data["recorded_at" if is_recorded else "until"])
    values = [(text("mail.recorded" if is_recorded else "mail.draft.until"), words.moment(moment))]
    return (
        ", ".join(filter(None, (f"{text(f'mail.{kind}')}: {what}", reference))),
        [f"{text(f'mail.{kind}')}: {what}"],
        [(text("mail.case"), reference), *values] if reference else values,
        text("mail.draft.recorded.do" if is_recorded else "mail.draft.do"),
    )


def _of_obligation(kind: str, data: Mapping[str, Any], words: Wording) -> Said:
    text, due = words.text, datetime.fromisoformat(data["due"])
    said = text("mail.overdue" if kind == "obligation.overdue" else "mail.due_soon")
    what = words.owed(data["action"])
    debtor, agency = data["debtor"], data["debtor_agency"]
    if agency is not None:
        owing = words.agency_name(agency)
    else:
        owing = words.country(debtor) if debtor is not None else text("mail.any")
    return (
        f"{said}: {what}, {words.due_day(due, debtor)}",
        [f"{said}: {what}"],
        [
            (text("mail.owed_by"), owing),
            (text("mail.due"), words.moment(due)),
            (text("mail.kind"), words.picked(ObligationKind(data["kind"]))),
            (text("mail.case"), data["case_id"]),
            (text("mail.obligation"), data["obligation_id"]),
        ],
        text("mail.obligation.do"),
    )
