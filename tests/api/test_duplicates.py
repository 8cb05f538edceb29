"""One child whose case two countries opened: both coordinators are told, and nobody else."""

from collections.abc import Iterator
from datetime import date
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Identifier

from api.client import RefusedError
from api.client.schemas import DuplicateDocument
from api.keys.country_keys import country_keys, pair_shares
from ledger.application import Ledger
from ledger.vault import sealed_parcels
from ledger.vault.duplicates import received_tokens
from ledger.vault.duplicates.messages import DuplicateFound, MatchTokens, TokensWithdrawn
from ledger.vault.duplicates.shares import pair_key
from ledger.vault.duplicates.tokens import COUNT, TOKEN_BYTES, ComparedIdentity, tokens
from ledger.vault.sealed_parcels import Parcel
from ledger.vocabulary.coordination import CaseClosed, InformationRequested
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
from tests.support.waiting import until

BORN = date(2011, 3, 7)
POLICE = {"XK": "xk-dhtqnj", "ME": "me-police-thb", "AL": "al-police-thb"}
SPELLINGS = {"XK": ("Zqgjorgje", "Zqshariqi"), "ME": ("Zqdjordje", "Zqšarić")}
MARKS = ["Zqgjorgje", "Zqshariqi", "Zqdjordje", "Zqbesa", "zkxorxa", "zksarik", "2011-03-07"]


class World:
    """Countries that open cases, and what their coordinators are told."""

    def __init__(self, server: Server, database: str) -> None:
        self.server = server
        self.database = database

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
        with psycopg.connect(self.database) as connection:  # as the owner
            return connection.execute(statement.encode(), values).fetchall()

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
                )
            ]
            (opened,) = self.rows(
                "SELECT (SELECT count(*) FROM ledger.events WHERE topic = 'case_opened') * 2"
                " = (SELECT sum(n) FROM (SELECT count(*) n FROM vault_xk.match_cases"
                " UNION ALL SELECT count(*) FROM vault_me.match_cases"
                " UNION ALL SELECT count(*) FROM vault_al.match_cases) c)"
            )
            waiting = self.rows("SELECT FROM mailbox.parcels WHERE outcome IS NULL")
            return opened[0] and not due and not waiting

        until(nothing_left)

    def key(self, one: str, other: str) -> bytes:
        """The key of two countries, as their nodes have it."""
        settings = self.server.settings
        shares = pair_shares(settings, country_keys(settings, [one, other]))
        given = {one: shares[one].ours(other), other: shares[other].ours(one)}
        return pair_key(self.server.agencies.protocol.id, given).secret

    def sent(self, receiver: str, sender: str) -> set[bytes]:
        """The tokens that one country's vault holds of another's."""
        rows = self.rows(
            f"SELECT token FROM vault_{receiver.lower()}.match_received_tokens WHERE other = %s",
            sender,
        )
        return {bytes(row[0]) for row in rows}

    def say(self, sender: str, recipient: str, message: object) -> Parcel:
        """Put a message into the mailbox, as a country's node that does as it likes."""
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
        waits = "SELECT FROM mailbox.parcels WHERE id = %s AND outcome IS NULL"
        until(lambda: not self.rows(waits, parcel.id))
        return parcel


@pytest.fixture
def world(ledger: Ledger, database: str, agencies: Agencies) -> Iterator[World]:
    assert ledger.registry() is not None
    with serving(database, agencies) as server:
        register_country_keys(server)
        shares = server.settings.key_directory / "shares"
        until(lambda: len(list(shares.glob("*/*.theirs"))) == 6)
        yield World(server, database)


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
        assert told.strength == 100
        assert set(told.agrees) == {
            MatchKind.NAMES_AND_BIRTHDATE,
            MatchKind.NAMES_AND_TURNED_BIRTHDATE,
            MatchKind.NAMES_AND_YEAR,
        }
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
    assert (len(before), len(after)) == (COUNT, COUNT)
    known = ComparedIdentity("Zqother", second, BORN)
    wrong = set(tokens(world.key("XK", "ME"), known)) & before
    assert wrong
    assert not wrong & after


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


def test_what_is_compared_is_read_by_nodes_once_and_that_is_written_down(world: World) -> None:
    kosovos, montenegros = world.opens_the_same()
    until(lambda: world.told("XK"))
    world.settled()
    for case, country in ((kosovos, "xk"), (montenegros, "me")):
        with world.server.client(f"{country}-nac") as coordinator:
            listed = coordinator.readings(case.id).readings
        assert [(r.asked.agency, r.asked.operation, r.asked.groups, r.granted) for r in listed] == [
            (f"{country}-node", "match", ("identity",), True)
        ]


def test_a_third_country_learns_nothing_of_it(world: World) -> None:
    world.opens_the_same()
    until(lambda: world.told("XK"))
    world.settled()
    to_montenegro, to_albania = world.sent("ME", "XK"), world.sent("AL", "XK")
    assert (len(to_montenegro), len(to_albania)) == (COUNT, COUNT)
    assert {len(token) for token in to_albania} == {TOKEN_BYTES}
    assert not to_montenegro & to_albania
    assert not world.sent("AL", "ME") & (to_albania | world.sent("XK", "ME"))
    assert world.rows("SELECT FROM vault_al.duplicates") == []
    references = [
        world.rows(f"SELECT reference FROM vault_{v}.match_received") for v in ("me", "xk", "al")
    ]
    assert len({row for rows in references for row in rows}) == 4


def test_who_has_the_key_of_two_countries_can_guess_and_nobody_else(world: World) -> None:
    """The leak that the threat model names, in the tables of a running node."""
    world.opens("XK", *SPELLINGS["XK"])
    world.settled()
    guess = ComparedIdentity(*SPELLINGS["ME"], BORN)
    # What was sent arrives country by country.
    until(lambda: len(tokens(world.key("XK", "ME"), guess).keys() & world.sent("ME", "XK")) == 3)
    held = world.sent("ME", "XK")
    assert not tokens(world.key("XK", "AL"), guess).keys() & held
    assert not tokens(world.key("ME", "AL"), guess).keys() & held
    until(lambda: len(tokens(world.key("XK", "AL"), guess).keys() & world.sent("AL", "XK")) == 3)


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
    late = MatchTokens(reference=found.reference, tokens=tuple(uuid4().hex for _ in range(COUNT)))
    world.say("XK", "ME", late)
    assert world.sent("ME", "XK") == set()
    world.opens("XK", *SPELLINGS["XK"])
    (anew,) = until(lambda: world.told("ME"))
    assert anew.case_id == montenegros.id
    assert anew.id != found.id


def test_a_new_share_makes_all_tokens_anew_and_old_ones_are_of_no_use(world: World) -> None:
    world.opens_the_same()
    (found,) = until(lambda: world.told("ME"))
    world.settled()
    before, key = world.sent("ME", "XK"), world.key("XK", "ME")
    settings = world.server.settings
    pair_shares(settings, country_keys(settings, ["XK"]))["XK"].renew("ME")
    until(lambda: world.sent("ME", "XK").isdisjoint(before))
    world.settled()
    assert world.key("XK", "ME") != key
    assert not tokens(key, ComparedIdentity(*SPELLINGS["ME"], BORN)).keys() & world.sent("ME", "XK")
    assert [told.id for told in world.told("ME")] == [found.id]
    another = world.opens("ME", "Zqshariqi", "Zqgjorgje")
    until(lambda: len(world.told("XK")) == len(world.told("ME")) == 2)
    assert another.id in {told.case_id for told in world.told("ME")}


def test_a_country_that_lost_its_shares_gets_them_again(world: World) -> None:
    world.opens("XK", *SPELLINGS["XK"])
    world.settled()
    directory = world.server.settings.key_directory / "shares" / "me"
    for file in directory.iterdir():
        file.unlink()
    until(lambda: (directory / "xk.theirs").exists() and (directory / "xk.ours").exists())
    world.opens("ME", *SPELLINGS["ME"])
    assert until(lambda: world.told("XK"))
    assert until(lambda: world.told("ME"))


def test_a_country_claims_nothing_of_cases_that_are_not_its_own(world: World) -> None:
    kosovos = world.opens("XK", *SPELLINGS["XK"])
    world.settled()
    (reference,) = world.rows("SELECT reference FROM vault_xk.match_cases WHERE other = 'ME'")[0]
    now = later(1)
    names = (MatchKind.NAMES_AND_BIRTHDATE,)

    def claim(ours: UUID, theirs: UUID) -> DuplicateFound:
        return DuplicateFound(
            sender_reference=ours, receiver_reference=theirs, agrees=names, found_at=now
        )

    world.say("ME", "XK", claim(uuid4(), uuid4()))
    world.say("AL", "XK", claim(uuid4(), reference))  # the reference that Montenegro has
    assert world.told("XK") == ()
    hexes = tuple(uuid4().hex for _ in range(COUNT))
    foreign = MatchTokens(reference=uuid4(), case_id=kosovos.id, tokens=hexes)
    world.say("ME", "XK", foreign)  # a case that Montenegro did not open
    assert world.sent("XK", "ME") == set()
    world.say("AL", "ME", TokensWithdrawn(reference=reference))  # nor has Albania a say in it
    assert len(world.sent("ME", "XK")) == COUNT


def test_a_country_names_no_more_cases_than_are_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a hostile node fills the table of another one."""
    monkeypatch.setattr(received_tokens, "MAX_RECEIVED", 2)

    def named(reference: UUID) -> MatchTokens:
        hexes = tuple(uuid4().hex for _ in range(COUNT))
        return MatchTokens(reference=reference, tokens=hexes)

    for reference in (known := uuid4(), uuid4(), uuid4(), known):
        world.say("ME", "XK", named(reference))
    world.say("ME", "XK", TokensWithdrawn(reference=uuid4()))
    world.say("AL", "XK", named(uuid4()))  # another country has room
    received = world.rows("SELECT other FROM vault_xk.match_received ORDER BY other")
    assert received == [("AL",), ("ME",), ("ME",)]
    refused = world.rows("SELECT sender, reason, parcels FROM vault_xk.parcels_refused")
    assert refused == [("ME", "too-many-cases", 2)]


def test_only_the_keepers_role_reaches_the_tables(world: World) -> None:
    tables = world.rows(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'vault_xk'"
        " AND (tablename LIKE 'match%%' OR tablename = 'duplicates')"
    )
    assert len(tables) == 6
    for role in ("case_ledger_reader_xk", "case_ledger_app", "case_ledger_vault_me"):
        for (table,) in tables:
            with psycopg.connect(world.database) as connection:
                connection.execute(SQL("SET ROLE {}").format(Identifier(role)))
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(
                        SQL("SELECT * FROM {}").format(Identifier("vault_xk", table))
                    )
