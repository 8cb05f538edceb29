"""One child whose case was opened twice: the coordinators are told, and nobody else."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Identifier

from api.client import RefusedError
from api.client.schemas import DuplicateDocument
from api.exchange.duplicate_matcher import DuplicateMatcher, texts
from api.keys.country_keys import country_keys, pair_masks
from ledger.application import Ledger
from ledger.procedure.protocol import Agency
from ledger.vault import sealed_parcels
from ledger.vault.daily_quotas import MAX_A_DAY, Quota
from ledger.vault.duplicates import received_tokens
from ledger.vault.duplicates.identity_forms import (
    BLOCKING_FORMS,
    EVIDENCE_FORMS,
    ComparedIdentity,
    blocking_forms,
)
from ledger.vault.duplicates.masks import TOKEN_BYTES, Mask, point, token
from ledger.vault.duplicates.messages import (
    DoubledCase,
    DuplicateFound,
    MaskedCase,
    MaskedEvidence,
    TokensWithdrawn,
)
from ledger.vault.duplicates.received_tokens import MORE_THAN_OPENED
from ledger.vault.sealed_parcels import Parcel
from ledger.vault.sent_parcels import SentParcel
from ledger.vault.vault import Vault
from ledger.vocabulary.coordination import CaseClosed, Correction, InformationRequested
from ledger.vocabulary.duplicates import Finding, MatchKind
from ledger.vocabulary.erasure import ErasureApproved, ErasureProposed
from ledger.vocabulary.person import IdentityRecorded
from ledger.vocabulary.picklists import ClosureReason, ErasureGround, InformationTopic, Purpose
from tests.api.test_personal_data import Child, later
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.leaks import everything_logged, server_log, tables_with
from tests.support.serving import Server, serving
from tests.support.sharing import register_country_keys
from tests.support.short_pauses import short_pauses
from tests.support.waiting import until

BORN = date(2011, 3, 7)
POLICE = {"XK": "xk-dhtqnj", "ME": "me-police-thb", "AL": "al-police-thb"}
SPELLINGS = {"XK": ("Zqgjorgje", "Zqshariqi"), "ME": ("Zqdjordje", "Zqšarić")}
MARKS = ["Zqgjorgje", "Zqshariqi", "Zqdjordje", "Zqbesa", "zkdorda", "zksarik", "2011-03-07"]


class World:
    """Countries that open cases, and what their coordinators are told."""

    def __init__(self, server: Server, database: str, owner: psycopg.Connection) -> None:
        self.server = server
        self.database = database
        self._owner = owner

    def opens(
        self, country: str, first: str, second: str, *, parties: tuple[str, ...] = ()
    ) -> Child:
        child = Child(self.server)
        action = opening((country, *parties), first_name=first, second_name=second, birthdate=BORN)
        child.act(POLICE[country], action)
        return child

    def opens_the_same(self) -> tuple[Child, Child]:
        return self.opens("XK", *SPELLINGS["XK"]), self.opens("ME", *SPELLINGS["ME"])

    def told(self, country: str) -> tuple[DuplicateDocument, ...]:
        with self.server.client(f"{country.lower()}-nac") as coordinator:
            return coordinator.duplicates().duplicates

    def assesses(self, country: str, duplicate: UUID, finding: Finding) -> DuplicateDocument:
        with self.server.client(f"{country.lower()}-nac") as coordinator:
            return coordinator.assess_duplicate(duplicate, finding)

    def rows(self, statement: str, *values: object) -> list[TupleRow]:
        return self._owner.execute(statement.encode(), values).fetchall()

    def settled(self) -> None:
        """All tokens were sent and all parcels taken in."""

        def nothing_left() -> bool:
            due = [
                row
                for party in ("xk", "me", "al")
                for row in self.rows(
                    f"SELECT FROM vault_{party}.match_cases WHERE due OR computed_with IS NULL"
                    f" AND case_id IS NOT NULL UNION ALL SELECT FROM vault_{party}.duplicates"
                    " WHERE NOT told OR NOT assessment_told"
                    f" UNION ALL SELECT FROM vault_{party}.match_received WHERE answer_due"
                    f" UNION ALL SELECT FROM vault_{party}.match_candidates WHERE NOT done"
                    f" UNION ALL SELECT FROM vault_{party}.match_asked WHERE answer_due"
                )
            ]
            (opened,) = self.rows(
                "SELECT (SELECT count(*) FROM ledger.events WHERE topic = 'case_opened') * 3"
                " = (SELECT sum(n) FROM (SELECT count(*) n FROM vault_xk.match_cases"
                " UNION ALL SELECT count(*) FROM vault_me.match_cases"
                " UNION ALL SELECT count(*) FROM vault_al.match_cases) c)"
            )
            (arrived,) = self.rows(
                "SELECT (SELECT count(*) FROM ledger.events WHERE topic = 'case_opened') * 2"
                " <= (SELECT sum(n) FROM (SELECT count(*) n FROM vault_xk.match_received"
                " UNION ALL SELECT count(*) FROM vault_me.match_received"
                " UNION ALL SELECT count(*) FROM vault_al.match_received) c)"
            )
            waiting = self.rows("SELECT FROM mailbox.parcels WHERE outcome IS NULL")
            return opened[0] and arrived[0] and not due and not waiting

        until(nothing_left)

    def mask(self, one: str, other: str) -> Mask:
        """One country's mask for another one, as its node has it."""
        settings = self.server.settings
        masks = pair_masks(settings, country_keys(settings, [one]))[one]
        return masks.mask(self.server.agencies.protocol.id, other)

    def guessed(self, masks: Iterable[Mask], guess: ComparedIdentity) -> set[bytes]:
        """The tokens of a guess under some masks."""
        points = [point(form) for form in blocking_forms(guess)]
        for mask in masks:
            points = mask.apply(points)
        return {token(one) for one in points}

    def sent(self, receiver: str, sender: str) -> set[bytes]:
        """The tokens that one country's vault holds of another's."""
        rows = self.rows(
            f"SELECT token FROM vault_{receiver.lower()}.match_received_tokens WHERE other = %s",
            sender,
        )
        return {bytes(row[0]) for row in rows}

    def say(self, sender: str, recipient: str, message: object) -> Parcel:
        """Have a message taken in, as a country's node that does as it likes."""
        parcel = self.put(sender, recipient, message)
        waits = "SELECT FROM mailbox.parcels WHERE id = %s AND outcome IS NULL"
        until(lambda: not self.rows(waits, parcel.id))
        return parcel

    def put(self, sender: str, recipient: str, message: object) -> Parcel:
        """Put a message into the mailbox."""
        settings = self.server.settings
        key = country_keys(settings, [recipient])[recipient].public
        protocol = self.server.agencies.protocol
        parcel = sealed_parcels.pack(message, None, protocol, sender, recipient, key)  # type: ignore[arg-type]
        with psycopg.connect(self.database) as connection:
            connection.execute(
                "INSERT INTO mailbox.parcels (id, sender, recipient, sealed)"
                " VALUES (%s, %s, %s, %s)",
                (parcel.id, parcel.sender, parcel.recipient, parcel.sealed),
            )
        return parcel


def masked_case(reference: UUID | None = None, case_id: UUID | None = None) -> MaskedCase:
    """Points of nobody."""
    points = texts(point(str(uuid4())) for _ in range(BLOCKING_FORMS))
    return MaskedCase(
        reference=reference or uuid4(), case_id=case_id, mask="00" * 32, points=points
    )


@pytest.fixture
def world(ledger: Ledger, database: str, agencies: Agencies) -> Iterator[World]:
    assert ledger.registry() is not None
    with short_pauses(), serving(database, agencies) as server:
        register_country_keys(server)
        # One connection for all looks at the tables: to connect takes longer than to look.
        with psycopg.connect(database, autocommit=True) as owner:
            yield World(server, database, owner)


def test_one_child_in_two_countries_is_told_to_both_coordinators_alone(world: World) -> None:
    with everything_logged() as said:
        bystander = world.opens("AL", "Zqbesa", "Zqhoxha")
        other = world.opens("ME", "Zqmira", "Zqperović")
        kosovos, montenegros = world.opens_the_same()
        until(lambda: world.told("XK") and world.told("ME"))
        world.settled()
        (in_kosovo,), (in_montenegro,) = world.told("XK"), world.told("ME")
        assert world.told("AL") == ()
    assert in_kosovo.id == in_montenegro.id
    assert (in_kosovo.case_id, in_kosovo.country) == (kosovos.id, "ME")
    assert (in_montenegro.case_id, in_montenegro.country) == (montenegros.id, "XK")
    for told in (in_kosovo, in_montenegro):
        assert told.strength > 60
        assert set(told.agrees) >= {MatchKind.NAMES, MatchKind.BIRTHDATE}
        assert told.state == "open"
        assert told.other_case_id is None
        assert told.reference not in {c.id for c in (kosovos, montenegros, bystander, other)}
    assert in_kosovo.found_at == in_montenegro.found_at
    assert tables_with(world.database, MARKS) == {}
    for logged in (said.getvalue(), server_log(world.database)):
        assert not [mark for mark in MARKS if mark in logged]


def test_a_name_that_is_put_right_is_compared_and_the_wrong_one_no_more(world: World) -> None:
    first, second = SPELLINGS["XK"]
    ours = world.opens("XK", "Zqother", second)
    world.opens("ME", *SPELLINGS["ME"])
    world.settled()
    assert world.told("XK") == ()
    before = world.sent("ME", "XK")
    ours.act(
        POLICE["XK"],
        IdentityRecorded(
            acted_at=later(1),
            ground="entry_error",
            source="document",
            certainty="confirmed",
            first_name=first,
        ),
    )
    until(lambda: len(world.told("ME")) == 1)
    world.settled()
    assert [one.case_id for one in world.told("XK")] == [ours.id]
    after = world.sent("ME", "XK")
    assert (len(before), len(after)) == (BLOCKING_FORMS, BLOCKING_FORMS)
    known = ComparedIdentity("Zqother", second, BORN)
    masks = (world.mask("XK", "ME"), world.mask("ME", "XK"))
    wrong = world.guessed(masks, known) & before
    right = world.guessed(masks, ComparedIdentity(first, second, BORN))
    assert wrong - right
    assert not (wrong - right) & after


def restated(hours: float, **fields: Any) -> IdentityRecorded:
    """The same statement anew, by a document."""
    return IdentityRecorded(
        acted_at=later(hours),
        ground="entry_error",
        source="document",
        certainty="confirmed",
        **fields,
    )


def test_what_was_found_by_a_wrong_identity_leaves_the_list_on_both_sides(world: World) -> None:
    kosovos, _ = world.opens_the_same()
    twice = world.opens("XK", *SPELLINGS["XK"])

    def pairs() -> tuple[set[frozenset[UUID | str]], int]:
        listed = world.told("XK")
        found = {frozenset({one.case_id, one.other_case_id or one.country}) for one in listed}
        return found, len(world.told("ME"))

    every = {
        frozenset({kosovos.id, twice.id}),
        frozenset({kosovos.id, "ME"}),
        frozenset({twice.id, "ME"}),
    }
    until(lambda: pairs() == (every, 2))
    # By another name the cases have no token in common: each side finds that by itself.
    wrong = kosovos.act(POLICE["XK"], restated(1, first_name="Zqother"))
    left = {frozenset({twice.id, "ME"})}
    until(lambda: pairs() == (left, 1))
    kosovos.act(
        POLICE["XK"],
        Correction(acted_at=later(2), corrects=wrong, effect="annulled", reason="entry_error"),
    )
    until(lambda: pairs() == (every, 2))
    # Names alone are in common: the country that compares finds them too few, and tells the other.
    kosovos.act(POLICE["XK"], restated(3, birthdate=date(2016, 8, 29)))
    until(lambda: pairs() == (left, 1))
    # A coordinator's finding is a person's decision, and stays.
    (found,) = world.told("ME")
    world.assesses("ME", found.id, Finding.SAME_PERSON)
    until(lambda: [one.state for one in world.told("XK")] == ["same_person"])
    twice.act(POLICE["XK"], restated(4, first_name="Zqother"))
    world.settled()
    assert pairs() == (left, 1)


def test_it_is_for_coordinators(world: World) -> None:
    for agency in ("xk-dhtqnj", "xk-csw-prishtina", "xk-ombudsperson", "xk-node", "al-police-thb"):
        with world.server.client(agency) as client:
            with pytest.raises(RefusedError) as refused:
                client.duplicates()
            assert refused.value.problem.rule == "coordinators-only"
            with pytest.raises(RefusedError) as refused:
                client.assess_duplicate(uuid4(), Finding.SAME_PERSON)
            assert (refused.value.problem.status, refused.value.problem.rule) == (
                403,
                "coordinators-only",
            )
    with pytest.raises(RefusedError) as refused:
        world.assesses("XK", uuid4(), Finding.SAME_PERSON)
    assert refused.value.problem.rule == "unknown-duplicate"


@dataclass
class WatchedMatcher:
    """The fields that the matcher read, and the messages that it had to send again."""

    reads: Counter[tuple[str, UUID]] = field(default_factory=Counter)
    """The readings by country and case."""
    repeated: list[str] = field(default_factory=list)
    """The messages that were sent again, and the errors of failed steps, each with a reading."""


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> WatchedMatcher:
    told = WatchedMatcher()
    read, send_again = DuplicateMatcher._read, DuplicateMatcher.send_again
    step = DuplicateMatcher.step

    def reads(self: DuplicateMatcher, vault: Vault, node: Agency, case_id: UUID) -> Any:
        told.reads[vault.party, case_id] += 1
        return read(self, vault, node, case_id)

    def sends_again(self: DuplicateMatcher, vault: Vault, parcel: SentParcel) -> bool:
        told.repeated.append(parcel.kind)
        return send_again(self, vault, parcel)

    def steps(self: DuplicateMatcher) -> bool:
        try:
            return step(self)
        except Exception as error:
            told.repeated.append(type(error).__name__)
            raise

    monkeypatch.setattr(DuplicateMatcher, "step", steps)
    monkeypatch.setattr(DuplicateMatcher, "_read", reads)
    monkeypatch.setattr(DuplicateMatcher, "send_again", sends_again)
    return told


def test_what_is_compared_is_read_by_nodes_and_each_reading_is_written_down(
    watched: WatchedMatcher, world: World
) -> None:
    """Once for its points, and once for each step of a closer look at a candidate.

    Who finds the candidate reads once more, and both may find it at once. So does a message that a
    slow machine sends again, or a step that failed.
    """
    kosovos, montenegros = world.opens_the_same()
    until(lambda: world.told("XK"))
    world.settled()
    for case, country, times in ((kosovos, "xk", 2), (montenegros, "me", 3)):
        with world.server.client(f"{country}-nac") as coordinator:
            listed = coordinator.readings(case.id).readings
        assert {(r.asked.agency, r.asked.operation, r.asked.groups, r.granted) for r in listed} == {
            (f"{country}-node", "match", ("identity",), True)
        }
        assert len(listed) == watched.reads[country.upper(), case.id]
        assert len(listed) >= times
        assert len(listed) <= 3 or watched.repeated


def test_a_third_country_learns_nothing_of_it(world: World) -> None:
    world.opens_the_same()
    until(lambda: world.told("XK"))
    world.settled()
    to_montenegro, to_albania = world.sent("ME", "XK"), world.sent("AL", "XK")
    assert (len(to_montenegro), len(to_albania)) == (BLOCKING_FORMS, BLOCKING_FORMS)
    assert {len(token) for token in to_albania} == {TOKEN_BYTES}
    assert not to_montenegro & to_albania
    assert not world.sent("AL", "ME") & (to_albania | world.sent("XK", "ME"))
    assert world.rows("SELECT FROM vault_al.duplicates") == []
    assert world.rows("SELECT FROM vault_al.match_candidates") == []
    references = [
        world.rows(f"SELECT reference FROM vault_{v}.match_received") for v in ("me", "xk", "al")
    ]
    assert len({row for rows in references for row in rows}) == 4


def test_an_answer_to_points_of_an_identity_that_changed_meanwhile_is_no_fault(
    world: World,
) -> None:
    """A node answers what it was sent, while the other country states the identity anew."""
    child = world.opens("XK", *SPELLINGS["XK"])
    world.settled()
    held = "SELECT points, reference FROM vault_xk.match_cases WHERE other = 'ME'"
    sent, reference = world.rows(held)[0]
    child.act(POLICE["XK"], restated(1, first_name="Zqother"))
    until(lambda: world.rows(held)[0][0] != sent)
    world.settled()
    mask = world.mask("ME", "XK")
    points = [*map(bytes, sent)]
    for answered in (points, [point(str(uuid4())) for _ in points]):
        multiples = mask.apply(answered)
        answer = DoubledCase(
            reference=reference, mask=world.mask("XK", "ME").id, by=mask.id,
            doubled=texts(multiples), proof=mask.prove(answered, multiples).hex(),
        )  # fmt: skip
        world.say("ME", "XK", answer)
        refused = world.rows("SELECT reason FROM vault_xk.parcels_refused WHERE sender = 'ME'")
        assert refused == ([] if answered is points else [("proof-fails",)])
    montenegros = world.opens("ME", "Zqother", SPELLINGS["ME"][1])
    assert until(lambda: world.told("XK"))[0].case_id == child.id
    assert until(lambda: world.told("ME"))[0].case_id == montenegros.id


def test_a_country_tests_no_guess_without_the_other_countrys_mask(world: World) -> None:
    """A dictionary attack in the tables of a running node: see the threat model."""
    world.opens("XK", *SPELLINGS["XK"])
    world.settled()
    guess = ComparedIdentity(*SPELLINGS["ME"], BORN)
    held = world.sent("ME", "XK")
    mine, theirs = world.mask("ME", "XK"), world.mask("XK", "ME")
    assert not world.guessed([mine], guess) & held
    assert not world.guessed([mine, mine], guess) & held
    assert not world.guessed([world.mask("AL", "XK"), mine], guess) & held
    raw = {
        bytes(one)
        for row in world.rows("SELECT points FROM vault_me.match_received WHERE other = 'XK'")
        for one in row[0]
    }
    assert not {bytes(one) for one in mine.apply(map(point, blocking_forms(guess)))} & raw
    assert len(world.guessed([mine, theirs], guess) & held) == 3  # with both it would be easy


def test_a_country_asks_about_few_more_persons_than_it_opened_cases(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each case that it names lets it test a guess: the bound is on the ledger."""
    monkeypatch.setitem(MAX_A_DAY, Quota.CHANGED_CASES, 1)
    world.opens("ME", "Zqmira", "Zqperović")
    world.settled()
    for _ in range(MORE_THAN_OPENED):
        world.say("ME", "XK", masked_case())
    world.say("ME", "XK", masked_case(known := uuid4()))  # of the day's quota
    over = world.put("ME", "XK", masked_case())
    waiting = "SELECT FROM vault_xk.daily_quotas WHERE refused_at IS NOT NULL AND other = 'ME'"
    until(lambda: world.rows(waiting))
    named = "SELECT count(*) FROM vault_xk.match_received WHERE other = 'ME'"
    assert world.rows(named) == [(MORE_THAN_OPENED + 2,)]
    changed = world.put("ME", "XK", masked_case(known))  # other guesses under a known name
    world.opens("AL", "Zqbesa", "Zqhoxha")
    until(lambda: len(world.sent("XK", "AL")) == BLOCKING_FORMS)  # it went on meanwhile
    assert world.rows("SELECT FROM mailbox.parcels WHERE id = %s AND outcome IS NULL", changed.id)
    assert world.rows("SELECT FROM mailbox.parcels WHERE id = %s AND outcome IS NULL", over.id)
    world.say("AL", "XK", masked_case())  # another country has its own bound


def test_evidence_is_given_for_pairs_alone_that_have_a_token_in_common(world: World) -> None:
    """Else a country could go through first names, one question for each."""
    child = world.opens("XK", *SPELLINGS["XK"])
    other = world.opens("ME", "Zqmira", "Zqperović")
    world.settled()

    def readings() -> list[int]:
        """Count the readings of both. A step of the matcher that was repeated reads again."""
        found = []
        for case, country in ((child, "xk"), (other, "me")):
            with world.server.client(f"{country}-nac") as coordinator:
                found.append(len(coordinator.readings(case.id).readings))
        return found

    before = readings()
    assert min(before) >= 1
    (ours,) = world.rows("SELECT reference FROM vault_xk.match_cases WHERE other = 'ME'")[0]
    (theirs,) = world.rows("SELECT reference FROM vault_me.match_cases WHERE other = 'XK'")[0]
    points = texts(point(str(uuid4())) for _ in range(EVIDENCE_FORMS))
    for reference in (theirs, uuid4()):
        question = MaskedEvidence(
            sender_reference=reference, receiver_reference=ours, points=points
        )
        world.say("ME", "XK", question)
    asked = "SELECT answer_due FROM vault_{}.match_asked"
    assert world.rows(asked.format("xk")) == [(True,)]  # it waits for a token in common
    (at_me,) = world.rows("SELECT reference FROM vault_me.match_cases WHERE other = 'XK'")[0]
    backwards = MaskedEvidence(sender_reference=ours, receiver_reference=at_me, points=points)
    world.say("XK", "ME", backwards)  # Montenegro is the one that asks
    assert world.rows(asked.format("me")) == []
    world.opens("AL", "Zqbesa", "Zqhoxha")
    until(lambda: len(world.sent("XK", "AL")) == BLOCKING_FORMS)  # the matcher went on meanwhile
    assert world.rows(asked.format("xk")) == [(True,)]
    assert readings() == before


def test_points_handed_back_do_not_make_two_cases_look_alike(world: World) -> None:
    """A country cannot make a candidate of a person whom it does not know."""
    world.opens("XK", *SPELLINGS["XK"])
    world.opens("ME", "Zqmira", "Zqperović")
    world.settled()
    taken, ours = world.rows(
        "SELECT points, reference FROM vault_me.match_received WHERE other = 'XK'"
    )[0]
    held = "SELECT count(*) FROM vault_xk.match_tokens WHERE other = 'ME'"
    (before,) = world.rows(held)
    mask = world.mask("ME", "XK")
    moved = mask.apply(map(bytes, taken))
    reflected = MaskedCase(reference=uuid4(), mask=mask.id, points=texts(moved))
    world.say("ME", "XK", reflected)
    answers = world.mask("XK", "ME").apply(moved)  # as Kosovo's node answers
    forged = DoubledCase(
        reference=ours,
        mask=world.mask("XK", "ME").id,
        by=mask.id,
        doubled=texts(answers),
        proof=mask.prove(moved, answers).hex(),
    )
    world.say("ME", "XK", forged)
    refused = world.rows("SELECT reason FROM vault_xk.parcels_refused WHERE sender = 'ME'")
    assert refused == [("proof-fails",)]
    assert world.rows(held) == [before]
    assert world.rows("SELECT FROM vault_xk.match_asked") == []
    common = world.rows(
        "SELECT FROM vault_xk.match_tokens o JOIN vault_xk.match_received_tokens r"
        " ON r.other = o.other AND r.token = o.token"
    )
    assert common == []


def test_a_country_does_not_put_its_claims_before_all_others(world: World) -> None:
    world.opens("XK", *SPELLINGS["XK"])
    world.settled()
    (ours,) = world.rows("SELECT reference FROM vault_xk.match_cases WHERE other = 'ME'")[0]
    claim = DuplicateFound(
        sender_reference=uuid4(),
        receiver_reference=ours,
        agrees=(MatchKind.NAMES,),
        strength=90,
        found_at=datetime(9999, 1, 1, tzinfo=UTC),
    )
    world.say("ME", "XK", claim)
    assert world.told("XK")[0].found_at <= datetime.now(UTC)


def test_one_child_twice_in_one_country_is_told_to_its_coordinator(world: World) -> None:
    by_police = world.opens("XK", *SPELLINGS["XK"])
    by_others = world.opens("XK", *SPELLINGS["ME"])
    (told,) = until(lambda: world.told("XK"))
    world.settled()
    assert {told.case_id, told.other_case_id} == {by_police.id, by_others.id}
    assert told.country == "XK"
    assert set(told.agrees) >= {MatchKind.NAMES, MatchKind.BIRTHDATE}
    assert (world.told("ME"), world.told("AL")) == ((), ())
    assessed = world.assesses("XK", told.id, Finding.SAME_PERSON)
    assert (assessed.state, assessed.other_finding) == ("same_person", None)
    world.settled()  # it is told to no other country
    by_police.act("xk-nac", CaseClosed(acted_at=later(1), reason=ClosureReason.REINTEGRATED))
    proposal = by_police.act(
        "xk-nac", ErasureProposed(acted_at=later(2), ground=ErasureGround.PERSONS_REQUEST)
    )
    by_police.act("xk-ombudsperson", ErasureApproved(acted_at=later(3), proposal=proposal))
    until(lambda: not world.told("XK"))
    assert world.rows("SELECT FROM vault_xk.match_candidates") == []


def test_a_case_of_both_countries_is_no_duplicate_of_itself_and_a_second_one_is(
    world: World,
) -> None:
    shared = world.opens("XK", *SPELLINGS["XK"], parties=("ME",))
    world.settled()
    assert (world.told("XK"), world.told("ME")) == ((), ())
    second = world.opens("ME", *SPELLINGS["ME"])
    (told,) = until(lambda: world.told("ME"))
    assert (told.case_id, told.other_case_id) == (second.id, shared.id)
    (told,) = until(lambda: world.told("XK"))
    assert (told.case_id, told.other_case_id) == (shared.id, None)


def test_coordinators_tell_each_other_what_they_found_out_and_go_on_by_asking(
    world: World,
) -> None:
    kosovos, _ = world.opens_the_same()
    (found,) = until(lambda: world.told("XK"))
    until(lambda: world.told("ME"))
    said = world.assesses("XK", found.id, Finding.ANOTHER_PERSON)
    assert (said.finding, said.other_finding, said.state) == ("another_person", None, said.state)
    until(lambda: world.told("ME")[0].state == "another_person")
    assert world.assesses("ME", found.id, Finding.SAME_PERSON).state == "disputed"
    until(lambda: world.told("XK")[0].state == "disputed")
    again = world.assesses("XK", found.id, Finding.SAME_PERSON)
    assert (again.state, again.other_finding) == ("same_person", "same_person")
    until(lambda: world.told("ME")[0].state == "same_person")
    # Who is asked in the case learns which one the other country means.
    assert world.told("ME")[0].other_case_id is None
    request = InformationRequested(
        acted_at=later(1),
        addressee="me-nac",
        topics=(InformationTopic.IDENTITY,),
        purpose=Purpose.IDENTIFICATION,
        question="zqQuestion",
    )
    kosovos.act("xk-nac", request)
    until(lambda: world.told("ME")[0].other_case_id == kosovos.id)
    assert len(world.told("ME")) == len(world.told("XK")) == 1


def test_erasure_takes_the_indexes_out_of_both_vaults(world: World) -> None:
    kosovos, montenegros = world.opens_the_same()
    (found,) = until(lambda: world.told("ME"))
    world.settled()
    kosovos.act("xk-nac", CaseClosed(acted_at=later(1), reason=ClosureReason.REINTEGRATED))
    proposal = kosovos.act(
        "xk-nac", ErasureProposed(acted_at=later(2), ground=ErasureGround.PERSONS_REQUEST)
    )
    kosovos.act("xk-ombudsperson", ErasureApproved(acted_at=later(3), proposal=proposal))
    until(lambda: not world.told("XK") and not world.told("ME"))
    until(lambda: not world.sent("ME", "XK") and not world.sent("AL", "XK"))
    assert world.rows("SELECT FROM vault_xk.match_tokens") == []
    assert world.rows("SELECT FROM vault_xk.match_cases WHERE case_id IS NOT NULL") == []
    assert world.rows("SELECT FROM vault_me.match_tokens WHERE other = 'XK'") != []
    # What comes late, or again, stays outside.
    late = masked_case(found.reference)
    world.say("XK", "ME", late)
    assert world.sent("ME", "XK") == set()
    world.opens("XK", *SPELLINGS["XK"])
    (anew,) = until(lambda: world.told("ME"))
    assert anew.case_id == montenegros.id
    assert anew.id != found.id


def test_a_new_mask_makes_all_tokens_anew_and_old_ones_are_of_no_use(world: World) -> None:
    world.opens_the_same()
    (found,) = until(lambda: world.told("ME"))
    world.settled()
    before, masks = world.sent("ME", "XK"), (world.mask("XK", "ME"), world.mask("ME", "XK"))
    child = ComparedIdentity(*SPELLINGS["ME"], BORN)
    assert world.guessed(masks, child) & before
    settings = world.server.settings
    pair_masks(settings, country_keys(settings, ["XK"]))["XK"].renew("ME")
    until(lambda: world.sent("ME", "XK").isdisjoint(before))
    world.settled()
    assert world.mask("XK", "ME") != masks[0]
    assert not world.guessed(masks, child) & world.sent("ME", "XK")
    assert [told.id for told in world.told("ME")] == [found.id]
    another = world.opens("ME", "Zqshariqi", "Zqgjorgje")
    until(lambda: len(world.told("XK")) == 2 and len(world.told("ME")) >= 2)
    assert another.id in {told.case_id for told in world.told("ME")}


def test_a_country_that_lost_its_masks_makes_new_ones(world: World) -> None:
    world.opens("XK", *SPELLINGS["XK"])
    world.settled()
    directory = world.server.settings.key_directory / "masks" / "me"
    for file in directory.iterdir():
        file.unlink()
    until(lambda: (directory / "xk.mask").exists())
    world.opens("ME", *SPELLINGS["ME"])
    assert until(lambda: world.told("XK"))
    assert until(lambda: world.told("ME"))


def test_a_country_claims_nothing_of_cases_that_are_not_its_own(world: World) -> None:
    kosovos = world.opens("XK", *SPELLINGS["XK"])
    world.settled()
    (reference,) = world.rows("SELECT reference FROM vault_xk.match_cases WHERE other = 'ME'")[0]
    now = later(1)
    names = (MatchKind.NAMES, MatchKind.BIRTHDATE)

    def claim(ours: UUID, theirs: UUID) -> DuplicateFound:
        return DuplicateFound(
            sender_reference=ours,
            receiver_reference=theirs,
            agrees=names,
            strength=90,
            found_at=now,
        )

    world.say("ME", "XK", claim(uuid4(), uuid4()))
    world.say("AL", "XK", claim(uuid4(), reference))  # the reference that Montenegro has
    assert world.told("XK") == ()
    foreign = masked_case(case_id=kosovos.id)
    world.say("ME", "XK", foreign)  # a case that Montenegro did not open
    assert world.sent("XK", "ME") == set()
    world.say("AL", "ME", TokensWithdrawn(reference=reference))  # nor has Albania a say in it
    assert len(world.sent("ME", "XK")) == BLOCKING_FORMS


def test_a_country_names_no_more_cases_than_are_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a hostile node fills the table of another one."""
    monkeypatch.setattr(received_tokens, "MAX_RECEIVED", 2)

    for reference in (known := uuid4(), uuid4(), uuid4(), known):
        world.say("ME", "XK", masked_case(reference))
    world.say("ME", "XK", TokensWithdrawn(reference=uuid4()))
    world.say("AL", "XK", masked_case())  # another country has room
    received = world.rows("SELECT other FROM vault_xk.match_received ORDER BY other")
    assert received == [("AL",), ("ME",), ("ME",)]
    refused = world.rows("SELECT sender, reason, parcels FROM vault_xk.parcels_refused")
    assert refused == [("ME", "too-many-cases", 2)]


def test_only_the_keepers_role_reaches_the_tables(world: World) -> None:
    tables = world.rows(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'vault_xk'"
        " AND (tablename LIKE 'match%%' OR tablename = 'duplicates')"
    )
    assert len(tables) == 9
    for role in ("case_ledger_reader_xk", "case_ledger_app", "case_ledger_vault_me"):
        for (table,) in tables:
            with psycopg.connect(world.database) as connection:
                connection.execute(SQL("SET ROLE {}").format(Identifier(role)))
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(
                        SQL("SELECT * FROM {}").format(Identifier("vault_xk", table))
                    )
