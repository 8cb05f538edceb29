"""Drafts: an action waits at its country's node until another member of the agency approved it."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from joserfc.jwk import OKPKey
from rich.console import Console
from typer.testing import CliRunner

from api.cli.main import app
from api.cli.steps.draft_tables import content_table
from api.client import LedgerClient, RefusedError
from api.client.schemas import Outcome, Receipt
from api.client.schemas.drafts import OpenedDraft
from api.client.schemas.members import NewMember
from api.notifying.draft_notices import ToldDraft, draft_counts, open_drafts
from api.notifying.letters import email_of, words_for
from api.notifying.notifier import Notifier
from api.notifying.subscriptions import Send, Subscription
from api.runtime.settings import Settings
from ledger.application import Ledger, environment
from ledger.procedure.amendments import text_of
from ledger.procedure.protocol import Agency, Operation, Protocol
from ledger.procedure.registry import SignatureState
from ledger.refusals import Refusal
from ledger.signing import approval, keys
from ledger.signing.sd_jwt import SdJwt, parse, with_disclosures
from ledger.store.database import Database
from ledger.store.migrate import reader_role
from ledger.verification.revalidation import Revalidation, inspect
from ledger.vocabulary.documents import CaseDocument
from ledger.vocabulary.picklists import DocumentKind, RiskLevel
from ledger.vocabulary.protection import RiskAssessed
from ledger.vocabulary.registration import KeyRegistered
from tests.api.test_country_node import two_nodes
from tests.api.test_notifications import Recorded
from tests.support.actions import START, opening
from tests.support.agencies import PAST, Agencies, adopted_protocol
from tests.support.auditor import auditor_names
from tests.support.databases import name_of, new_database
from tests.support.event_readers import entries_of, rows_from
from tests.support.serving import Server, running
from tests.support.waiting import until

POLICE, COORDINATOR, SOCIAL = "xk-dhtqnj", "xk-nac", "xk-csw-prishtina"
ASKED = {"actions": ["case_opened", "risk_assessed"], "roles": ["police"], "within_days": 7}
PAPER = CaseDocument(
    sha256="ab" * 32,
    size=9,
    media_type="application/pdf",
    document_kind=DocumentKind.REPORT,
    title="zqReport",
)
SECRET = "zqThe uncle waits at the school."


@dataclass
class Office:
    """Members of an agency, each with a key, at a node whose protocol asks for approvals."""

    server: Server
    database: str
    stack: ExitStack
    known: dict[UUID, OKPKey] = field(default_factory=dict)

    def member(self, agency: str = POLICE) -> tuple[LedgerClient, UUID]:
        with self.server.client(COORDINATOR) as coordinator:
            member = coordinator.add_member(NewMember(agency=agency, name="zqMember")).id
            key = keys.generate()
            grant = self.server.agencies.grant(agency, key)
            coordinator.append_to_registry(KeyRegistered(acted_at=PAST, grant=grant, member=member))
        self.known[member] = key
        client = LedgerClient(
            self.server.url, agency=agency, key=key, protocol=self.server.agencies.protocol.id
        )
        return self.stack.enter_context(client), member

    def case(self) -> UUID:
        """A case that social services opened, which needs no approval."""
        case = uuid4()
        with self.server.client(SOCIAL) as social:
            social.open_case(opening(), case)
        return case

    def approved(self, signed: SdJwt | str, member: UUID) -> str:
        given = approval.sign(str(signed), agency=POLICE, key=self.known[member])
        return approval.approved(str(signed), given)


@pytest.fixture(scope="module")
def office(server: str, migrated: str) -> Iterator[Office]:
    protocol = Protocol.model_validate(text_of(adopted_protocol()) | {"approvals": [ASKED]})
    agencies = Agencies(protocol)
    with (
        new_database(server, migrated) as conninfo,
        tempfile.TemporaryDirectory(prefix="case-ledger-keys-") as directory,
        ExitStack() as stack,
    ):
        with Ledger(environment(conninfo)) as ledger:
            agencies.begin(ledger)
        settings = Settings(data_directory=Path(directory), port=0)
        with running(settings, conninfo, agencies) as served, stack:
            yield Office(served, conninfo, stack)


def risk() -> RiskAssessed:
    return RiskAssessed(acted_at=START, risk_level=RiskLevel.HIGH, threats=SECRET)


def refused(attempt: Callable[[], object]) -> tuple[int, str]:
    with pytest.raises(RefusedError) as found:
        attempt()
    return found.value.problem.status, found.value.problem.rule


def test_an_action_is_recorded_once_a_colleague_approved_it_as_it_is(office: Office) -> None:
    (author, _), (colleague, second) = office.member(), office.member()
    stranger, _ = office.member(SOCIAL)
    case = office.case()
    assert refused(lambda: author.append(risk(), case, 1)) == (403, "approval-missing")
    signed = author.sign(risk(), case)
    action = UUID(signed.payload["jti"])
    with office.server.client(POLICE) as system:
        assert refused(lambda: system.send_draft(signed, case, 1)) == (403, "members-only")
        assert refused(system.drafts) == (403, "members-only")
    assert refused(lambda: colleague.send_draft(signed, case, 1)) == (403, "draft-of-author")
    assert refused(lambda: author.send_draft(signed, case, 3)) == (412, "case-version")
    draft = author.send_draft(signed, case, 1)
    assert (draft.state, draft.kind, draft.may_approve) == ("waiting", "risk_assessed", False)
    assert refused(lambda: author.send_draft(signed, case, 1)) == (409, "action-id-reused")
    (listed,) = colleague.drafts().drafts
    assert (listed.action_id, listed.may_approve) == (action, True)
    assert stranger.drafts().drafts == ()
    assert refused(lambda: stranger.open_draft(action)) == (404, "unknown-draft")
    assert refused(lambda: stranger.withdraw_draft(action)) == (404, "unknown-draft")

    opened = colleague.open_draft(action)
    assert (opened.signed, opened.fields["threats"]) == (str(signed), SECRET)
    with psycopg.connect(office.database) as connection:
        (kept,) = connection.execute(
            "SELECT d::text FROM vault_xk.drafts d WHERE action_id = %s", (action,)
        ).fetchone() or ("",)
        (looks,) = connection.execute(
            "SELECT count(*) FROM vault_xk.readings WHERE operation = %s AND agency = %s"
            " AND entry::jsonb ->> 'concerning' = %s",
            (Operation.READ_DRAFT, POLICE, str(action)),
        ).fetchone() or (0,)
        assert SECRET not in kept
        assert looks == 1
        # The role that reads opens nothing without an entry of the last minute that names it.
        connection.execute(f"SET LOCAL ROLE {reader_role('XK')}")
        assert connection.execute("SELECT FROM vault_xk.drafts").fetchall() == []

    assert refused(lambda: author.return_draft(action, "No.")) == (403, "approval-by-author")
    returned = colleague.return_draft(action, "Name the school.")
    assert (returned.state, returned.decided_by) == ("returned", second)
    assert author.open_draft(action).remark == "Name the school."
    assert refused(lambda: colleague.approve_draft(action, str(signed), 1)) == (409, "draft-over")
    past = office.approved(signed, second)
    assert refused(lambda: colleague.send(past, case, 1)) == (409, "draft-withdrawn")

    again = author.sign(risk(), case)
    assert refused(lambda: colleague.send_draft(again, case, 1))[1] == "draft-of-author"
    changed = author.send_draft(again, case, 1, replaces=action)
    assert refused(lambda: author.open_draft(action)) == (404, "unknown-draft")
    assert refused(lambda: author.approve_draft(changed.action_id, str(again), 1)) == (
        403, "approval-by-author",
    )  # fmt: skip
    other_text = approval.sign(str(signed), agency=POLICE, key=office.known[second])
    assert refused(lambda: colleague.send_approval(changed.action_id, other_text, 1)) == (
        403, "approval-of-another-action",
    )  # fmt: skip
    with pytest.raises(ValueError, match="another action"):
        colleague.approve_draft(changed.action_id, str(signed), 1)
    with office.server.client(SOCIAL) as social:
        social.append(risk(), case, 1)  # the case moves on meanwhile
    assert refused(lambda: colleague.approve_draft(changed.action_id, str(again), 1)) == (
        412, "case-version",
    )  # fmt: skip
    assert [one.state for one in author.drafts().drafts] == ["waiting"]
    given = approval.sign(str(again), agency=POLICE, key=office.known[second])
    receipt = colleague.send_approval(changed.action_id, given, 2)
    assert isinstance(receipt, Receipt)
    assert receipt.action_id == changed.action_id
    assert author.drafts().drafts == ()
    assert refused(lambda: colleague.approve_draft(changed.action_id, str(again), 3)) == (
        404, "unknown-draft",
    )  # fmt: skip

    # The approval counts for no second action, and the same one is recorded once.
    other = author.sign(risk(), case)
    replayed = approval.approved(str(other), given)
    assert refused(lambda: author.send(replayed, case, 3)) == (403, "approval-of-another-action")
    assert author.send(approval.approved(str(again), given), case, 3) == receipt
    # A system of the agency may bring both signatures itself.
    assert author.send(office.approved(other, second), case, 3).case_version == 4

    replay, audited, names = Revalidation(), auditor_names()["Registry"](), auditor_names()
    for row in rows_from(entries_of(office.database)):
        assert list(replay.judge(row.position, inspect(row), lambda _: None)) == []
        audited.take(row.position, names["event_of"](row.state))
    registry = replay.registry
    assert registry is not None
    row = rows_from(entries_of(office.database))[receipt.position - 1]
    event = row.event()
    state = registry.signature_state(event.action, row.recorded_at, row.position)
    assert state is SignatureState.VALID
    assert registry.approver_of(event.action) == second


def test_what_is_withdrawn_or_of_a_member_who_left_is_not_recorded(office: Office) -> None:
    (author, first), (colleague, second) = office.member(), office.member()
    case = office.case()

    def drafted() -> SdJwt:
        signed = author.sign(risk(), case)
        author.send_draft(signed, case, 1)
        return signed

    signed = drafted()
    action = UUID(signed.payload["jti"])
    assert refused(lambda: colleague.withdraw_draft(action)) == (403, "draft-of-author")
    author.withdraw_draft(action)
    assert refused(lambda: colleague.approve_draft(action, str(signed), 1))[1] == "unknown-draft"
    past = office.approved(signed, second)
    for client in (author, colleague):
        assert refused(lambda c=client: c.send(past, case, 1)) == (409, "draft-withdrawn")

    waiting = drafted()
    with office.server.client(COORDINATOR) as coordinator:
        coordinator.disable_member(second)
        assert refused(colleague.drafts) == (403, "member-disabled")
        past = office.approved(waiting, second)
        assert refused(lambda: author.send(past, case, 1)) == (403, "draft-author-gone")
        coordinator.enable_member(second)
        coordinator.disable_member(first)
    action = UUID(waiting.payload["jti"])
    (listed,) = [one for one in colleague.drafts().drafts if one.action_id == action]
    assert not listed.may_approve
    assert refused(lambda: colleague.approve_draft(action, str(waiting), 1)) == (
        403, "draft-author-gone",
    )  # fmt: skip
    assert refused(lambda: colleague.send(office.approved(waiting, second), case, 1)) == (
        403, "draft-author-gone",
    )  # fmt: skip
    colleague.withdraw_draft(action)  # nobody else can: it would fill the list until it is too old
    assert colleague.drafts().drafts == ()


def test_a_case_is_opened_by_two_members_and_a_document_comes_later(office: Office) -> None:
    (author, _), (colleague, second) = office.member(), office.member()
    case = uuid4()
    signed = author.sign(opening(), case)
    assert refused(lambda: author.send(signed, case, 0)) == (403, "approval-missing")
    draft = author.send_draft(signed, case, 0).action_id
    assert refused(lambda: author.case(case)) == (404, "unknown-case")
    receipt = colleague.approve_draft(draft, colleague.open_draft(draft).signed, 0)
    assert isinstance(receipt, Receipt)
    assert receipt.case_version == 1
    with psycopg.connect(office.database) as connection:
        (trail,) = connection.execute(
            "SELECT count(*) FROM ledger.events WHERE originator_id = %s", (case,)
        ).fetchone() or (0,)
    assert trail == 1
    (entry,) = colleague.trail(case, at_least=receipt.position)
    assert entry.approved_by == keys.key_id(office.known[second])
    with_paper = risk().model_copy(update={"care_document": PAPER})
    assert refused(lambda: author.send_draft(author.sign(with_paper, case), case, 1)) == (
        422, "draft-with-document",
    )  # fmt: skip


def test_members_work_with_drafts_by_commands(office: Office, tmp_path: Path) -> None:
    (_, first), (_, second) = office.member(), office.member()
    case = office.case()
    runner = CliRunner(env={"CASE_LEDGER_DATA_DIRECTORY": str(tmp_path)})

    def run(member: UUID, *args: str, code: int = 0) -> str:
        key = tmp_path / f"{member}.jwk"
        if not key.exists():
            keys.save(office.known[member], key)
        asked = ["--agency", POLICE, "--key", str(key), "--url", office.server.url]
        done = runner.invoke(app, [*args, *asked])
        assert done.exit_code == code, done.output
        return done.output

    def drafted() -> str:
        fields = (f"acted_at={START.isoformat()}", "risk_level=high", f"threats={SECRET}")
        told = run(first, "act", "risk_assessed", *fields, "--case", str(case), "--draft")
        return told.partition("Draft ")[2].split()[0]

    draft = drafted()
    assert "to approve" in run(second, "drafts", "list")
    assert "to approve" not in run(first, "drafts", "list")
    assert SECRET in run(second, "drafts", "show", draft)
    assert "Returned" in run(second, "drafts", "return", draft, "--remark", "No.")
    assert "No." in run(first, "drafts", "show", draft)
    assert "draft-over" in run(second, "drafts", "approve", draft, "--yes", code=2)
    assert "Withdrew" in run(first, "drafts", "withdraw", draft, "--yes")
    assert "Recorded" in run(second, "drafts", "approve", drafted(), "--yes")


def test_a_command_shows_what_is_signed_and_no_word_of_the_node(office: Office) -> None:
    """An operator's changed program cannot show another text than the approval is signed over."""
    author, _ = office.member()
    case = office.case()
    signed = author.sign(risk(), case)
    opened = OpenedDraft(
        draft=author.send_draft(signed, case, 1).model_copy(update={"kind": "case_closed"}),
        signed=str(signed), fields={"threats": "zqNone."}, form=None, remark=None,
    )  # fmt: skip
    told = StringIO()
    console = Console(width=120, file=told)
    console.print(content_table(opened))
    shown = told.getvalue()
    assert SECRET in shown
    assert "zqNone." not in shown
    assert ("risk_assessed" in shown, "case_closed" in shown) == (True, False)
    foreign = parse(str(author.sign(risk(), case))).disclosures
    mixed = with_disclosures(str(signed), [one.encoded for one in foreign])
    with pytest.raises(Refusal):
        content_table(opened.model_copy(update={"signed": mixed}))


def test_of_an_approval_a_second_one_and_a_withdrawal_at_once_one_succeeds(office: Office) -> None:
    """Whatever came first: the action is recorded once, or it was withdrawn, and never both."""
    (author, _), (colleague, second), (third, other) = (office.member() for _ in range(3))

    def ends_of_a_race() -> tuple[list[str], int]:
        case = office.case()
        signed = author.sign(risk(), case)
        action = author.send_draft(signed, case, 1).action_id
        given = office.approved(signed, second).rpartition("~")[2]
        past = office.approved(signed, other)

        def tried(way: Callable[[], object]) -> str:
            try:
                way()
            except RefusedError as error:
                return error.problem.rule
            return "done"

        ways: list[Callable[[], object]] = [
            lambda: author.withdraw_draft(action),
            lambda: colleague.send_approval(action, given, 1),
            lambda: third.approve_draft(action, str(signed), 1),
            lambda: office.server.client(POLICE).send(past, case, 1),  # past the drafts
        ]
        with ThreadPoolExecutor(len(ways)) as pool:
            ends = list(pool.map(tried, ways))
        with psycopg.connect(office.database) as connection:
            (recorded,) = connection.execute(
                "SELECT count(*) FROM ledger.events WHERE originator_id = %s", (case,)
            ).fetchone() or (0,)
        return ends, recorded - 1

    for _ in range(4):
        ends, recorded = ends_of_a_race()
        assert ends.count("done") == 1, ends
        assert recorded == (ends[0] != "done"), ends


def test_an_approved_action_waits_at_the_countrys_node_and_comes_back_if_it_is_refused(
    server: str, migrated: str, directory: Path
) -> None:
    """Nothing that was typed is lost where the ledger node is away, and refuses it later."""
    protocol = Protocol.model_validate(text_of(adopted_protocol()) | {"approvals": [ASKED]})
    agencies = Agencies(protocol)
    with new_database(server, migrated) as conninfo:
        with Ledger(environment(conninfo)) as ledger:
            agencies.begin(ledger)
        begun = name_of(conninfo)
        with (
            two_nodes(server, begun, migrated, agencies, directory) as nodes,
            ExitStack() as stack,
        ):
            assert nodes.country is not None
            office = Office(nodes.country, conninfo, stack)
            (author, _), (colleague, _) = office.member(), office.member()
            case = office.case()
            signed = [author.sign(risk(), case) for _ in range(2)]
            drafts = [author.send_draft(one, case, 1).action_id for one in signed]
            nodes.stop_ledger()
            for draft, one in zip(drafts, signed, strict=True):
                told = colleague.approve_draft(draft, str(one), 1)
                assert isinstance(told, Outcome)
                assert refused(lambda d=draft: author.withdraw_draft(d)) == (409, "draft-over")
            assert [one.state for one in author.drafts().drafts] == ["approved"] * 2
            nodes.start_ledger()
            until(lambda: [one.state for one in author.drafts().drafts] == ["returned"], "the end")
            (left,) = author.drafts().drafts
            assert left.refused_by == "case-version"
            assert author.open_draft(left.action_id).fields["threats"] == SECRET
            again = author.sign(risk(), case)
            replaced = author.send_draft(again, case, 2, replaces=left.action_id)
            told = colleague.approve_draft(replaced.action_id, str(again), 2)
            assert isinstance(told, Receipt)
            assert told.case_version == 3


def test_an_agency_is_told_what_became_of_its_drafts_and_nothing_that_they_say(
    office: Office,
) -> None:
    """At once, or as numbers in its digest. A draft that ends is told of at once to both."""
    (author, _), (colleague, _) = office.member(), office.member()
    case = office.case()
    each, daily = (
        Subscription(POLICE, email=f"{send.value}@example.org", send=send)
        for send in (Send.EACH, Send.DIGEST)
    )
    drafts, ahead, came = office.server.node.drafts, timedelta(), Recorded()

    def told(agency: Agency) -> Sequence[ToldDraft]:
        own = [one for one in open_drafts(drafts, agency) if one.case_id == case]
        return [replace(one, at=one.at - ahead) for one in own]

    with Database(office.database) as database:
        notifier = Notifier(
            database, office.server.agencies.protocol, (each, daily), {"email": came},
            timedelta(days=2), digest_hour=0, drafts=told,
        )  # fmt: skip

        def news() -> list[tuple[str, str]]:
            came.came.clear()
            notifier.look()
            notifier.send()
            told = [one for one in came.came if one["type"].startswith("draft.")]
            return sorted((str(one["to"].send), one["type"]) for one in told)

        news()  # begun from here
        first, second = (author.sign(risk(), case) for _ in range(2))
        for signed in (first, second):
            author.send_draft(signed, case, 1)
        assert news() == [("each", "draft.waiting")] * 2
        assert news() == []
        colleague.return_draft(UUID(first.payload["jti"]), SECRET)
        assert news() == [("each", "draft.returned")]
        for one in came.came:
            assert one["data"]["case_id"] == str(case)
            words = words_for(one["to"], office.server.agencies.protocol)
            letter = str(email_of("ledger@example.org", "d@example.org", one["id"], one, words))
            assert SECRET not in letter + str(one)
        ahead = timedelta(days=6, hours=1)
        assert news() == [("digest", "draft.ending")] * 2 + [("each", "draft.ending")] * 2
        receipt = colleague.approve_draft(UUID(second.payload["jti"]), str(second), 1)
        assert isinstance(receipt, Receipt)
        colleague.case(case, at_least=receipt.position)
        until(lambda: ("each", "draft.recorded") in news())
        police = office.server.agencies.protocol.agencies_by_id[POLICE]
        counts = draft_counts(police, told, database, datetime.now(UTC))
        assert counts["drafts_returned"] == 1
        assert counts["drafts_recorded"] >= 1
