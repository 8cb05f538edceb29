"""Members of agencies: who may know and manage them, and that removal counts at once."""

import hashlib
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from joserfc.jwk import OKPKey

from api.authentication.members import MOST_ASKED, Manager, MemberDetails, Members
from api.authentication.sessions import Sessions
from api.client import LedgerClient, RefusedError
from api.client.assertion import make_assertion
from api.client.schemas.members import MemberInput, NewMember
from api.keys.country_keys import country_keys, person_keys
from ledger.refusals import Refusal
from ledger.signing import keys
from ledger.signing.key_possession import request_of
from ledger.store.database import Database
from ledger.vault.assignments import Assignment, Assignments
from ledger.vocabulary.registration import KeyRegistered, KeyRevoked
from tests.support.actions import opening
from tests.support.agencies import PAST, Agencies
from tests.support.databases import new_database
from tests.support.serving import Server, serving
from tests.support.web import FROM_HERE, signed_in

POLICE, COORDINATOR, OTHERS = "xk-dhtqnj", "xk-nac", "me-nac"
NAME = "zqArta Krasniqi"


@dataclass(frozen=True)
class Place:
    server: Server
    database: str

    @contextmanager
    def member(self, member: UUID, agency: str = POLICE) -> Iterator[tuple[LedgerClient, OKPKey]]:
        """A client with a key that is registered for a member."""
        key = keys.generate()
        grant = self.server.agencies.grant(agency, key)
        with self.server.client(COORDINATOR) as coordinator:
            act = KeyRegistered(acted_at=PAST, grant=grant, member=member)
            coordinator.append_to_registry(act)
        with LedgerClient(
            self.server.url, agency=agency, key=key, protocol=self.server.agencies.protocol.id
        ) as client:
            yield client, key

    def add(self, *, head: bool = False, agency: str = POLICE, name: str = NAME) -> UUID:
        with self.server.client(COORDINATOR) as coordinator:
            return coordinator.add_member(
                NewMember(agency=agency, name=name, position="Inspector", is_head=head)
            ).id


@pytest.fixture(scope="module")
def place(server: str, begun: str, agencies: Agencies) -> Iterator[Place]:
    with new_database(server, begun) as conninfo, serving(conninfo, agencies) as served:
        yield Place(served, conninfo)


def rule(error: pytest.ExceptionInfo[RefusedError]) -> tuple[int, str]:
    return error.value.problem.status, error.value.problem.rule


def test_the_own_agency_and_the_coordinator_know_a_name_and_nobody_else(place: Place) -> None:
    member = place.add()
    for agency, knows in (
        (POLICE, True), (COORDINATOR, True), ("xk-csw-peja", False), (OTHERS, False),
        ("xk-ombudsperson", False),
    ):  # fmt: skip
        with place.server.client(agency) as client:
            assert (member in {one.id for one in client.members()}) is knows, agency
            if knows:
                assert client.member(member).member.name == NAME
                continue
            with pytest.raises(RefusedError) as refused:
                client.member(member)
            assert rule(refused) == (404, "unknown-member"), agency


def test_the_head_and_the_coordinator_manage_and_nobody_else(place: Place) -> None:
    head, plain = place.add(head=True), place.add()
    given = MemberInput(name="zqOther")
    with place.member(head) as (client, _):
        changed = client.change_member(plain, given)
        assert (changed.name, changed.position, changed.is_head) == ("zqOther", None, False)
        added = client.add_member(NewMember(agency=POLICE, name="zqNew"))
        with pytest.raises(RefusedError) as refused:
            client.add_member(NewMember(agency="xk-csw-peja", name="zqNew"))
        assert rule(refused) == (403, "heads-and-coordinators")
        with pytest.raises(RefusedError) as refused:
            client.asked_keys()
        assert rule(refused) == (403, "coordinators-only")
    with place.member(plain) as (client, _):
        for attempt in (
            lambda: client.change_member(plain, MemberInput(name=NAME, is_head=True)),
            lambda: client.add_member(NewMember(agency=POLICE, name=NAME)),
            lambda: client.disable_member(head),
            lambda: client.erase_member(added.id),
            lambda: client.enable_member(added.id),
            lambda: client.invite_member(head),
        ):
            with pytest.raises(RefusedError) as refused:
                attempt()
            assert rule(refused) == (403, "heads-and-coordinators")
    with place.server.client(POLICE) as system, pytest.raises(RefusedError) as refused:
        system.change_member(plain, given)  # a system of the agency is no head
    assert rule(refused) == (403, "heads-and-coordinators")
    with place.server.client(COORDINATOR) as coordinator:
        history = coordinator.member(plain)
    assert [(one.change, one.by_member) for one in history.changes][:2] == [
        ("added", None), ("changed", head),
    ]  # fmt: skip


def test_a_member_of_the_coordinators_agency_who_is_no_head_does_not_manage_it(
    place: Place,
) -> None:
    plain = place.add(agency=COORDINATOR)
    with place.member(plain, COORDINATOR) as (client, _):
        with pytest.raises(RefusedError) as refused:
            client.change_member(plain, MemberInput(name=NAME, is_head=True))
        assert rule(refused) == (403, "heads-and-coordinators")
        assert client.add_member(NewMember(agency=POLICE, name=NAME)).agency == POLICE


def test_a_disabled_member_is_out_at_once_by_key_and_by_session(place: Place) -> None:
    member = place.add()
    with place.member(member) as (client, key), httpx.Client(base_url=place.server.url) as browser:
        token = make_assertion(POLICE, key, "case-ledger")
        begun = browser.post("/auth/key", headers={**FROM_HERE, "Authorization": f"Bearer {token}"})
        assert begun.json()["member"] == str(member)
        assert browser.get("/auth/me").json()["member"] == str(member)
        with place.server.client(COORDINATOR) as coordinator:
            disabled = coordinator.disable_member(member)
            assert disabled.disabled_at is not None
            assert [one.id for one in disabled.keys] == [keys.key_id(key)]
        assert browser.get("/auth/me").json()["rule"] == "session-over"
        for attempt in (lambda: list(client.cases()), client.members):
            with pytest.raises(RefusedError) as refused:
                attempt()
            assert rule(refused) == (403, "member-disabled")
        with place.server.client(COORDINATOR) as coordinator:
            coordinator.enable_member(member)
        assert client.members()
        with place.server.client(COORDINATOR) as coordinator:
            revoked = KeyRevoked(acted_at=datetime.now(UTC), key_id=keys.key_id(key))
            coordinator.append_to_registry(revoked)
        with pytest.raises(RefusedError) as refused:
            client.members()
        assert rule(refused) == (401, "revoked-key")
        with place.server.client(COORDINATOR) as coordinator:
            coordinator.disable_member(member)
        with pytest.raises(RefusedError) as refused:  # the browser of who left removes its drafts
            client.members()
        assert rule(refused) == (403, "member-disabled")


def test_a_page_lets_its_scripts_sign_with_the_persons_own_keys_alone(place: Place) -> None:
    """Another member's key may lie in the same browser."""
    one, other = place.add(), place.add()
    with (
        place.member(one) as (_, key),
        place.member(other),
        httpx.Client(base_url=place.server.url) as browser,
    ):
        token = make_assertion(POLICE, key, "case-ledger")
        browser.post("/auth/key", headers={**FROM_HERE, "Authorization": f"Bearer {token}"})
        shown = browser.get("/keys").text
    assert f'data-member="{one}" data-own-keys="{keys.key_id(key)}"' in shown


def test_a_key_comes_in_by_a_link_once_and_the_coordinator_registers_it(place: Place) -> None:
    member, key = place.add(), keys.generate()
    protocol = place.server.agencies.protocol.id
    request = request_of(key, protocol=protocol, agency=POLICE).model_dump(mode="json")
    with place.server.client(COORDINATOR) as coordinator:
        earlier = coordinator.invite_member(member).link
        link = coordinator.invite_member(member).link
        wrong = {**request, "agency": "xk-csw-peja"}
        forged = {**request, "key": keys.public_part(keys.generate()).model_dump(mode="json")}
        with httpx.Client(base_url=place.server.url, headers=FROM_HERE) as browser:

            def hand_in(link: str, handed: dict[str, object]) -> tuple[int, str | None]:
                secret = link.partition("#")[2]
                body = {"secret": secret, "request": handed}
                answer = browser.post("/v1/invited-keys", json=body)
                return answer.status_code, answer.json().get("rule")

            assert hand_in(earlier, request) == (403, "invitation-over")
            assert hand_in(link, wrong) == (422, "proof")
            assert hand_in(link, forged) == (422, "proof")
            assert hand_in(link, request) == (202, None)
            assert hand_in(link, request) == (403, "invitation-over")
            browser.headers["Sec-Fetch-Site"] = "cross-site"
            assert hand_in(link, request) == (403, "cross-site")
        (asked,) = [one for one in coordinator.asked_keys() if one.member == member]
        assert asked.key_id == keys.key_id(key)
        grant = place.server.agencies.grant(POLICE, key)
        coordinator.append_to_registry(KeyRegistered(acted_at=PAST, grant=grant, member=member))
        assert member not in {one.member for one in coordinator.asked_keys()}
        (held,) = coordinator.member(member).member.keys
        assert (held.id, held.is_valid) == (keys.key_id(key), True)
    with LedgerClient(place.server.url, agency=POLICE, key=key, protocol=protocol) as client:
        second = request_of(keys.generate(), protocol=protocol, agency=POLICE)
        client.ask_for_key(member, second)  # another device
        with pytest.raises(RefusedError) as refused:
            client.ask_for_key(uuid4(), second)
        assert rule(refused) == (403, "members-only")
        assert client.invite_member(member).link.startswith("/join#")
    with place.server.client(COORDINATOR) as coordinator:
        (asked,) = [one for one in coordinator.asked_keys() if one.member == member]
        coordinator.drop_asked_key(asked.key_id)
        assert member not in {one.member for one in coordinator.asked_keys()}
    with place.server.client("me-nac") as others:
        assert others.asked_keys() == []


def test_a_stream_by_a_members_key_ends_when_the_member_is_disabled(place: Place) -> None:
    member = place.add()
    with place.member(member) as (_, key):
        token = make_assertion(POLICE, key, "case-ledger")
        with httpx.stream(
            "GET",
            f"{place.server.url}/v1/events",
            headers={"Accept": "text/event-stream", "Authorization": f"Bearer {token}"},
            timeout=10,
        ) as stream:
            lines = stream.iter_lines()
            while not next(lines).startswith("id:"):
                pass
            with place.server.client(COORDINATOR) as coordinator:
                coordinator.disable_member(member)
            for _ in lines:  # the end of the stream, else no answer in time
                pass


def test_who_is_disabled_hands_in_no_key_and_comes_back_by_no_provider(place: Place) -> None:
    by, person = Manager(COORDINATOR, None), secrets.token_urlsafe(32)
    with Database(place.database) as database:
        members = Members(database, person_keys(place.server.settings, country_keys(
            place.server.settings, ["XK"])))  # fmt: skip
        found = members.signed_in("XK", POLICE, person)
        request = request_of(
            keys.generate(), protocol=place.server.agencies.protocol.id, agency=POLICE
        )
        members.disable(found.id, by)
        for attempt in (
            lambda: members.ask(found, request),
            lambda: members.invite(found.id, by),
            lambda: members.signed_in("XK", POLICE, person),
        ):
            with pytest.raises(Refusal) as refused:
                attempt()
            assert refused.value.rule == "member-disabled"
        # A sign-in and a change that were begun before, and end after it.
        sessions = Sessions(database)
        late = hashlib.sha256(sessions.begin(POLICE, person, member=found.id).encode()).digest()
        assert sessions.living([late]) == set()
        with pytest.raises(Refusal) as refused:
            members.change(found, MemberDetails(name=NAME), by, is_head=True)
        assert refused.value.rule == "member-disabled"
        members.enable(found.id, by)
        assert sessions.living([late]) == set()
        members.disable(found.id, by)
        gone = members.get(found.id)
        assert gone is not None
        assert not gone.is_head
        members.erase(gone, by)
        with pytest.raises(Refusal) as refused:
            members.signed_in("XK", POLICE, person)
        assert refused.value.rule == "member-disabled"


def test_of_the_keys_of_one_member_the_newest_wait(place: Place) -> None:
    member, protocol = place.add(), place.server.agencies.protocol.id
    requests = [
        request_of(keys.generate(), protocol=protocol, agency=POLICE) for _ in range(MOST_ASKED + 2)
    ]
    with Database(place.database) as database:
        members = Members(database, person_keys(place.server.settings, country_keys(
            place.server.settings, ["XK"])))  # fmt: skip
        found = members.get(member)
        assert found is not None
        for request in requests:
            members.ask(found, request)
        waiting = {one.key_id for one in members.asked([POLICE]) if one.member == member}
    newest = {keys.key_id(keys.from_public(one.key)) for one in requests[2:]}
    assert waiting == newest


def test_a_key_that_names_a_member_of_another_agency_has_no_rights_of_the_member(
    place: Place,
) -> None:
    head, plain = place.add(head=True, name="zqHead Elsewhere"), place.add(agency="xk-csw-peja")
    case = uuid4()
    with place.member(head, "xk-csw-peja") as (client, _):
        for attempt, told in (
            (lambda: client.invite_member(head), "members-only"),
            (lambda: client.disable_member(plain), "heads-and-coordinators"),
        ):
            with pytest.raises(RefusedError) as refused:
                attempt()
            assert rule(refused) == (403, told)
        receipt = client.open_case(opening(("XK", "ME")), case)
        client.case(case, at_least=receipt.position)
    with place.server.client(COORDINATOR) as coordinator:
        assert coordinator.member(head).member.keys == ()
    with signed_in(place.server, POLICE) as browser:
        assert "zqHead" not in browser.get(f"/cases/{case}/trail").text


def test_an_erased_name_opens_in_no_copy_of_the_database(place: Place) -> None:
    member = place.add(name="zqErased Person")
    with psycopg.connect(place.database) as connection:
        row = connection.execute("SELECT * FROM access.members WHERE id = %s", (member,)).fetchone()
        assert b"zqErased" not in repr(row).encode()
    with place.server.client(COORDINATOR) as coordinator:
        with pytest.raises(RefusedError) as refused:
            coordinator.erase_member(member)
        assert rule(refused) == (409, "member-active")
        coordinator.disable_member(member)
        with psycopg.connect(place.database) as connection:  # a backup of before
            kept = connection.execute(
                "SELECT sealed FROM access.members WHERE id = %s", (member,)
            ).fetchone()
        assert kept is not None
        assert coordinator.erase_member(member).name is None
        with psycopg.connect(place.database, autocommit=True) as connection:
            connection.execute(
                "UPDATE access.members SET sealed = %s WHERE id = %s", (kept[0], member)
            )
        assert coordinator.member(member).member.name is None
        with pytest.raises(RefusedError) as refused:
            coordinator.enable_member(member)
        assert rule(refused) == (409, "member-erased")


def test_names_open_under_a_new_country_key(place: Place) -> None:
    member = place.add(name="zqResealed")
    settings = place.server.settings
    held = country_keys(settings, ["XK"])
    own = person_keys(settings, held)
    assert own["XK"].reseal() > 0
    with Database(place.database) as database:
        found = Members(database, own).get(member)
    assert found is not None
    assert found.details is not None
    assert found.details.name == "zqResealed"


def test_a_members_name_is_in_no_event_and_in_no_log(
    place: Place, capfd: pytest.CaptureFixture[str]
) -> None:
    member = place.add(name="zqNowhere Else")
    with place.member(member), place.server.client(OTHERS) as others:
        agencies = {one.id: one for one in others.agencies()}
        assert member in {key.member for key in agencies[POLICE].keys}
    with psycopg.connect(place.database) as connection:
        for table in ("ledger.events", "access.members", "access.member_changes"):
            rows = connection.execute(f"SELECT t::text FROM {table} t").fetchall()  # type: ignore[arg-type]
            assert rows
            assert not any("zqNowhere" in row[0] for row in rows)
    printed = capfd.readouterr()
    assert "zqNowhere" not in printed.out + printed.err


def test_the_trail_names_who_acted_to_those_who_may_know(place: Place) -> None:
    member, case = place.add(name="zqTrail Person"), uuid4()
    with place.member(member) as (client, _):
        receipt = client.open_case(opening(("XK", "ME")), case)
        client.case(case, at_least=receipt.position)
    pseudonym = str(member)[:8]
    for agency, told in (
        (POLICE, "zqTrail Person"), (COORDINATOR, "zqTrail Person"), ("xk-csw-peja", pseudonym),
        (OTHERS, pseudonym), ("xk-ombudsperson", pseudonym),
    ):  # fmt: skip
        with signed_in(place.server, agency) as browser:
            text = browser.get(f"/cases/{case}/trail").text
            assert told in text, agency
            assert ("zqTrail" in text) is (told != pseudonym), agency


def test_a_case_is_assigned_within_the_agency_and_handed_over(place: Place) -> None:
    head, worker, other = (place.add(head=one == 0, name=f"zqAssigned {one}") for one in range(3))
    case, second = uuid4(), uuid4()
    with place.member(head) as (chief, _), place.member(worker) as (client, _):
        receipt = client.open_case(opening(), case)
        client.open_case(opening(), second)
        client.case(case, at_least=receipt.position + 1)
        assert client.assign(case, worker).by_member == worker  # nobody had it
        assert client.assign(case, worker, other).deputy == other
        with place.member(other) as (deputy, _):
            assert deputy.assign(case, other, worker).member == other  # a deputy takes over
            with pytest.raises(RefusedError) as refused:
                deputy.assign(second, worker)
            assert rule(refused) == (403, "assigns")
        chief.assign(second, worker)
        with pytest.raises(RefusedError) as refused:
            chief.assign(second, worker, worker)
        assert rule(refused) == (422, "same-member")
        with pytest.raises(RefusedError) as refused:
            chief.assign(second, place.add(agency="xk-csw-peja"))
        assert rule(refused) == (422, "unknown-member")
        assert chief.hand_over(worker, head) == 2
        kept = {one.case_id: one for one in chief.assignments([case, second])}
        assert (kept[case].member, kept[case].deputy) == (other, head)
        assert (kept[second].member, kept[second].deputy) == (head, None)
        with pytest.raises(RefusedError) as refused:
            client.hand_over(head, worker)
        assert rule(refused) == (403, "heads-and-coordinators")
        chief.unassign(second)
        assert [one.case_id for one in chief.assignments([case, second])] == [case]
    with place.server.client("xk-csw-peja") as others:  # sees the case, and not who works on it
        assert others.assignments([case, second]) == []
    with place.server.client(OTHERS) as others, pytest.raises(RefusedError) as refused:
        others.assign(case, head)
    assert rule(refused) == (404, "unknown-case")


def test_two_who_take_a_case_at_once_do_not_both_have_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, one, other = (place.add(head=n == 0, name=f"zqTaker {n}") for n in range(3))
    case = uuid4()
    with place.member(one) as (client, _), place.member(other) as (late, key):
        receipt = client.open_case(opening(), case)
        client.case(case, at_least=receipt.position)
        kept = place.server.node.vaults.of("XK").assignments
        looked = threading.Barrier(2)
        of_cases = Assignments.of_cases

        def seen(self: Assignments, *asked: Any) -> Mapping[UUID, Assignment]:
            found = of_cases(self, *asked)
            if not looked.broken and not found:
                with suppress(threading.BrokenBarrierError):
                    looked.wait(5)  # both see that nobody has it
            return found

        told = []

        def take(by: LedgerClient, member: UUID) -> None:
            try:
                by.assign(case, member)
            except RefusedError as error:
                told.append((error.problem.status, error.problem.rule))

        with monkeypatch.context() as both:
            both.setattr(Assignments, "of_cases", seen)
            takers = [threading.Thread(target=take, args=a) for a in ((client, one), (late, other))]
            for taker in takers:
                taker.start()
            looked_at = [taker.join(20) for taker in takers]
            looked.abort()
        assert len(looked_at) == 2
        assert told == [(409, "assigned-meanwhile")]
        has = kept.of_cases(POLICE, [case])[case].member
        with place.member(head) as (chief, _):
            chief.assign(case, one)
            with pytest.raises(RefusedError) as refused:
                chief.assign(case, head, expected=other)
            assert rule(refused) == (409, "assigned-meanwhile")
            assert chief.assign(case, one, head, expected=one).deputy == head
        assert has in (one, other)
        token = make_assertion(POLICE, key, "case-ledger")
        with httpx.Client(base_url=place.server.url, timeout=20) as browser:
            browser.post("/auth/key", headers={**FROM_HERE, "Authorization": f"Bearer {token}"})
            given = {"member": str(other), "expected": "nobody"}  # as a page of before
            browser.headers["Accept"] = "text/html"
            answer = browser.post(f"/cases/{case}/assignment", data=given, headers=FROM_HERE)
            assert answer.status_code == 409
            alert = answer.text.partition('bad" role="alert">')[2].partition("</p>")[0]
            assert "zqTaker 1" in alert
            assert kept.of_cases(POLICE, [case])[case].member == one
        known = kept.of_cases(POLICE, [case])[case]
        assert kept.remove(POLICE, known)  # taken back while somebody gives it away
        assert not kept.put(POLICE, case, other, None, one, known)
        assert kept.of_cases(POLICE, [case]) == {}


def test_the_list_has_a_members_own_cases(place: Place) -> None:
    member, own, free = place.add(name="zqLister"), uuid4(), uuid4()
    with place.member(member) as (client, key):
        client.open_case(opening(), own)
        receipt = client.open_case(opening(), free)
        client.case(free, at_least=receipt.position)
        client.assign(own, member)
        token = make_assertion(POLICE, key, "case-ledger")
        with httpx.Client(base_url=place.server.url, timeout=20) as browser:
            browser.post("/auth/key", headers={**FROM_HERE, "Authorization": f"Bearer {token}"})
            browser.headers["Accept"] = "text/html"

            def listed(assigned: str) -> set[UUID]:
                text = browser.get(f"/cases?show=all&order=newest&assigned={assigned}").text
                return {one for one in (own, free) if f"/cases/{one}" in text}

            assert listed("mine") == {own}
            assert listed("nobody") == {free}
            assert listed(str(member)) == {own}
            assert listed("") == {own, free}
            assert "zqLister" in browser.get(f"/cases/{own}").text
            page = browser.get(f"/cases/{free}/notes").text
            assert "zqLister" in page
            given = {"member": str(member), "deputy": str(member)}
            answer = browser.post(f"/cases/{free}/assignment", data=given, headers=FROM_HERE)
            assert answer.status_code == 422
            assert "The deputy is another member." in answer.text
            browser.post(f"/cases/{free}/assignment", data={"member": str(member)},
                         headers=FROM_HERE)  # fmt: skip
            assert listed("mine") == {own, free}
    place.server.node.vaults.of("XK").erase(own)
    with place.server.client(POLICE) as police:
        assert [one.case_id for one in police.assignments([own, free])] == [free]
