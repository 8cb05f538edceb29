"""Vaults that lost something complete themselves from other countries', and say what is lost."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from api.exchange.vault_completion import GIVEN_AT_MOST
from ledger.procedure.protocol import Operation
from ledger.replication import node_statements
from ledger.signing import signed_action
from ledger.signing.sd_jwt import SdJwt
from ledger.system import clock
from ledger.vault.completion_messages import (
    TYPE,
    ActionHeld,
    FieldsAnswered,
    FieldsAsked,
    HeldStatement,
)
from ledger.vault.daily_quotas import MAX_A_DAY, Quota, UsedUp
from ledger.vault.required_disclosures import FieldPart, MissingReason
from ledger.vault.sealed_parcels import ParcelError, pack
from ledger.vocabulary.coordination import (
    CaseClosed,
    CasePrioritised,
    ConsentGiven,
    Correction,
    InformationRequested,
)
from ledger.vocabulary.erasure import ErasureApproved, ErasureProposed
from ledger.vocabulary.levels import FieldGroup, Level
from ledger.vocabulary.picklists import (
    ClosureReason,
    ConsentForm,
    ConsentGiver,
    ConsentScope,
    CorrectionEffect,
    CorrectionReason,
    ErasureGround,
    GuardianKind,
    InformationTopic,
    LegalBasis,
    Priority,
    Purpose,
)
from ledger.vocabulary.protection import GuardianAppointed
from ledger.vocabulary.sharing import InformationReleased, ReleasedFields
from tests.support.actions import START, opening
from tests.support.agencies import Agencies
from tests.support.databases import new_database
from tests.support.required_disclosures import VaultStanding
from tests.support.three_countries import PARTIES, Countries, three_countries
from tests.support.vaults import values

NAME, NOTE, STREET = "zqNobodysName", "zqNobodysNote", "zqNobodysFamily"


@dataclass
class World:
    """A case of three countries: Kosovo's police opened it; Montenegro has a name released."""

    countries: Countries
    case_id: UUID
    opened: SdJwt
    prioritised: SdJwt

    @property
    def opening_id(self) -> UUID:
        return signed_action.read(self.opened).id

    def digest(self, field: str) -> str:
        (found,) = [d.digest for d in self.opened.disclosures if d.name == field]
        return found

    def fields(self, party: str) -> set[str]:
        """The names of all fields that the vault of a country opens."""
        vault = self.countries[party].vault
        return {
            *values(vault, self.case_id, Level.CASE),
            *values(vault, self.case_id, Level.PERSONAL),
        }

    def standing(self, party: str) -> VaultStanding:
        return self.countries.standing(party).of_case(self.case_id)

    def holds_all(self) -> None:
        """Every vault has what it must hold, and nothing is named."""
        for party in PARTIES:
            standing = self.standing(party)
            assert standing.findings == (), party
            assert {*standing.lacking} == {*standing.named} == set(), party


@pytest.fixture(scope="module")
def begun_countries(
    server: str, begun: str, agencies: Agencies, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Countries]:
    directory = tmp_path_factory.mktemp("completing")
    with (
        new_database(server, begun) as conninfo,
        three_countries(conninfo, agencies, directory) as countries,
    ):
        yield countries


@pytest.fixture
def world(begun_countries: Countries) -> World:
    countries, case_id = begun_countries, uuid4()
    opened = countries.act(
        "xk-dhtqnj",
        opening(PARTIES, first_name=NAME, second_name=STREET, indicators_note=NOTE),
        case_id,
    )
    social_work = "xk-csw-prishtina"
    guardian = GuardianAppointed(acted_at=START, guardian_kind=GuardianKind.RELATIVE)
    countries.act(social_work, guardian, case_id)
    consent = ConsentGiven(
        acted_at=START,
        scopes=(ConsentScope.INFORMATION_EXCHANGE,),
        given_by=ConsentGiver.GUARDIAN,
        form=ConsentForm.WRITTEN,
        groups=(FieldGroup.IDENTITY,),
        recipients=("ME",),
    )
    consented = signed_action.read(countries.act(social_work, consent, case_id)).id
    # An action of another country that discloses nothing.
    priority = CasePrioritised(acted_at=START, priority=Priority.HIGH)
    prioritised = countries.act("me-nac", priority, case_id)
    made = World(countries, case_id, opened, prioritised)
    released = ReleasedFields(action=made.opening_id, digests=(made.digest("first_name"),))
    release = InformationReleased(
        acted_at=START,
        recipient="ME",
        groups=(FieldGroup.IDENTITY,),
        purpose=Purpose.PROTECTION,
        basis=LegalBasis.CONSENT,
        basis_action=consented,
        released=(released,),
    )
    countries.act(social_work, release, case_id)
    countries.share()
    made.holds_all()
    for node in countries.nodes.values():
        node.asked.clear()
    return made


CASE_FIELDS = {"ground", "indicators", "indicators_note"}


def test_nothing_is_asked_where_everything_arrived(world: World) -> None:
    assert world.fields("AL") == CASE_FIELDS
    assert world.fields("ME") == CASE_FIELDS | {"first_name"}
    world.countries.settle()
    assert all(node.asked == [] for node in world.countries.nodes.values())


def test_a_receiver_put_back_to_before_completes_itself(world: World) -> None:
    """Rows and inventory are gone, and every sender has its acknowledgements."""
    world.countries.lose("ME", "case_id = %s", world.case_id)
    lacking = world.standing("ME").lacking
    assert {one.why for one in lacking.values()} == {MissingReason.NOT_RECEIVED}
    # That its own action disclosed nothing was told to the others, too.
    assert (signed_action.read(world.prioritised).id, FieldPart.OWN) in lacking
    world.countries.settle()
    world.holds_all()
    assert world.fields("ME") == CASE_FIELDS | {"first_name"}


def test_a_country_that_lost_its_vault_gets_back_what_others_hold_for_it(world: World) -> None:
    world.countries.lose("XK", "case_id = %s", world.case_id)
    world.countries.settle()
    # The name was released to Montenegro. The rest of the personal fields was nowhere else.
    assert world.fields("XK") == CASE_FIELDS | {"first_name"}
    standing = world.standing("XK")
    assert {part for _, part in standing.lost} == {FieldPart.OWN}
    named = standing.named[world.opening_id, FieldPart.OWN]
    assert (named.fields, named.holders) == (None, ("ME", "AL"))
    assert {one.country for one in named.asked if one.answered_at} == {"ME", "AL"}
    assert standing.unnamed == set()
    # Montenegro wrote down what it took out.
    readings = world.countries["ME"].vault.readings.of_case(world.case_id)
    restored = [r.asked for r in readings if r.asked.operation is Operation.RESTORE]
    assert {(one.agency, one.groups) for one in restored} == {("xk-node", (FieldGroup.IDENTITY,))}
    # Nobody is asked again. The agency sends the same signed actions again, and all is there.
    asked = [len(world.countries[party].asked) for party in PARTIES]
    world.countries.settle()
    assert [len(world.countries[party].asked) for party in PARTIES] == asked
    vault = world.countries["XK"].vault
    for place in standing.lost:
        row = world.countries.ledger.rows.find_action(place[0])
        assert row is not None
        given = world.opened.disclosures if place[0] == world.opening_id else ()
        vault.deposit(row.event().action, world.case_id, given)
    world.countries.settle()
    world.holds_all()
    assert world.fields("XK") == CASE_FIELDS | {"first_name", "second_name"}


def test_a_third_country_hands_on_what_the_country_of_origin_lost(world: World) -> None:
    """Both lost it at the same time: each gets it from the third, or from the other after that."""
    for party in ("XK", "ME"):
        world.countries.lose(party, "case_id = %s", world.case_id)
    world.countries.settle()
    assert world.fields("XK") == world.fields("ME") == CASE_FIELDS
    lost = world.standing("ME").lost
    assert (world.opening_id, FieldPart.RELEASED) in lost
    # Kosovo's police sends its action again; Montenegro gets what was released without asking.
    vault = world.countries["XK"].vault
    vault.deposit(signed_action.read(world.opened), world.case_id, world.opened.disclosures)
    assert world.countries["ME"].vault.missing.ask_again()
    world.countries.settle()
    assert world.fields("ME") == CASE_FIELDS | {"first_name"}


def test_a_row_that_was_deleted_or_changed_comes_back_and_holds(world: World) -> None:
    change = "UPDATE vault_xk.disclosures SET sealed = sealed || '\\x00'::bytea"
    for statement, field in (
        ("DELETE FROM vault_xk.disclosures", "indicators_note"),
        (change, "first_name"),
        ("DELETE FROM vault_me.disclosures", "indicators"),
    ):
        where = " WHERE field = %s AND case_id = %s"
        world.countries.execute(statement + where, field, world.case_id)
    for party, fields in (("XK", ("indicators_note", "first_name")), ("ME", ("indicators",))):
        (lack,) = world.standing(party).lacking.values()
        assert lack.digests == frozenset(map(world.digest, fields))
        assert lack.why is MissingReason.ROW_GONE
        node = world.countries[party]
        node.checking.check()
        rules = {trouble.rule for trouble in node.checking.troubles()}
        assert rules - {"fields-lost"} == {"vault-differs", "fields-missing"}
    world.countries.settle()
    for party in ("XK", "ME"):
        # What other tests lost stays lost.
        rules = {trouble.rule for trouble in world.countries[party].checking.troubles()}
        assert rules <= {"fields-lost"}
    world.holds_all()


def test_a_key_that_is_gone_is_no_reason_to_ask_until_it_is_given_up(world: World) -> None:
    node = world.countries["ME"]
    copy = world.countries.directory / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(world.countries.directory / "ME", copy)
    for is_put_back in (True, False):
        node.keys.destroy(world.case_id)
        world.countries.settle()
        named = world.standing("ME").named
        assert {one.why for one in named.values()} == {MissingReason.KEY_MISSING}
        assert world.countries["XK"].asked == []
        if is_put_back:  # `case-ledger node restore-keys`
            assert node.vault.restore_keys(copy, [world.case_id]) == 1
        else:  # `case-ledger node accept-history`
            node.given_up.add(world.case_id)
        world.countries.settle()
        assert world.fields("ME") == CASE_FIELDS | {"first_name"}


def test_a_country_gets_only_what_the_ledger_says_that_it_must_hold(world: World) -> None:
    countries = world.countries
    # A case of Kosovo alone.
    alone = signed_action.read(countries.act("xk-dhtqnj", opening(("XK",), first_name=NAME))).id
    countries.settle()
    kosovo, registry = countries["XK"], countries.ledger.adopted()
    asked = FieldsAsked(ask=uuid4(), actions=(alone, world.opening_id, uuid4()))
    key = countries.keys["XK"].public
    with psycopg.connect(countries.conninfo) as connection:
        connection.execute(
            "UPDATE vault_xk.parcels_sent SET settled_at = now(), state = 'taken_in'"
        )
    countries.mailbox.put(pack(asked, None, registry.directory, "AL", "XK", key))
    kosovo.share()
    kosovo.completing.step()
    sent = [
        one for one in kosovo.vault.sent.about([alone, world.opening_id]) if one.settled_at is None
    ]
    # Albania is party to the case, and nothing was released to it.
    assert {(one.recipient, one.about, one.release) for one in sent} == {
        ("AL", world.opening_id, None)
    }
    countries.settle()
    assert world.fields("AL") == CASE_FIELDS
    world.holds_all()


def test_asking_for_the_same_without_end_makes_no_entries_without_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time that Montenegro gives a name back to Kosovo, its access log has an entry."""
    countries, registry = world.countries, world.countries.ledger.adopted()
    montenegro, key = countries["ME"], countries.keys["ME"].public

    def asks(times: int) -> int:
        for _ in range(times):
            montenegro.completing._answered.clear()  # the pause of half a minute is over
            asked = FieldsAsked(ask=uuid4(), actions=(world.opening_id,))
            countries.mailbox.put(pack(asked, None, registry.directory, "XK", "ME", key))
            montenegro.receiving.fetch()
            montenegro.completing.step()
            montenegro.delivery.step()
        readings = montenegro.vault.readings.of_case(world.case_id)
        return sum(r.asked.operation is Operation.RESTORE for r in readings)

    before = asks(0)
    assert asks(GIVEN_AT_MOST) == before + GIVEN_AT_MOST
    assert montenegro.vault.quotas.used_up() == []
    assert asks(5) == before + GIVEN_AT_MOST
    assert montenegro.vault.quotas.used_up() == [UsedUp("XK", Quota.GIVEN)]
    # Many actions within a day have a quota, too, which outlasts the process.
    montenegro.completing._times.clear()
    monkeypatch.setitem(MAX_A_DAY, Quota.GIVEN, 0)
    assert asks(2) == before + GIVEN_AT_MOST
    montenegro.completing._times.clear()
    countries.settle()


@pytest.mark.parametrize("is_handed_in", [False, True])
def test_a_country_that_left_the_case_gets_nothing_that_was_on_its_way(
    begun_countries: Countries, is_handed_in: bool
) -> None:
    """It was asked by mistake. Its parcels were queued, or waited for it at the mailbox."""
    countries, kosovo, case_id = begun_countries, begun_countries["XK"], uuid4()
    opened = countries.act("xk-dhtqnj", opening(("XK",), indicators_note=NOTE), case_id)
    request = InformationRequested(
        acted_at=START,
        addressee="al-nac",
        topics=(InformationTopic.FAMILY,),
        purpose=Purpose.IDENTIFICATION,
    )
    requested = signed_action.read(countries.act("xk-nac", request, case_id)).id
    about = [signed_action.read(opened).id]
    waited = {one.parcel.id for one in countries.mailbox.waiting("AL", 100).parcels}
    while kosovo.sharing.queue():
        pass
    (queued,) = kosovo.vault.sent.about(about)
    if is_handed_in:
        kosovo.delivery.step()
        here = {one.parcel.id for one in countries.mailbox.waiting("AL", 100).parcels}
        assert queued.id in here
    mistaken = Correction(
        acted_at=START,
        corrects=requested,
        effect=CorrectionEffect.ANNULLED,
        reason=CorrectionReason.WRONG_CASE,
    )
    countries.act("xk-nac", mistaken, case_id)
    while kosovo.sharing.queue():
        pass
    kosovo.delivery.step()
    assert {one.parcel.id for one in countries.mailbox.waiting("AL", 100).parcels} == waited
    assert kosovo.vault.sent.about(about) == []


def test_an_answer_counts_as_that_countrys_node_signed_it_alone(world: World) -> None:
    countries = world.countries
    registry, montenegro = countries.ledger.adopted(), countries["ME"]
    content = HeldStatement(
        protocol=registry.protocol_id,
        sender="XK",
        recipient="ME",
        ask=uuid4(),
        held=(ActionHeld(action=world.opening_id, digests=()),),
        iat=int(clock.now().timestamp()),
    )
    key = countries.agencies.keys
    forged = (
        content.model_dump_json(),
        node_statements.sign(content, TYPE, key["al-node"]),
        node_statements.sign(content, TYPE, key["xk-nac"]),
        node_statements.sign(content, "parcel-acknowledgement+jwt", key["xk-node"]),
        node_statements.sign(content.model_copy(update={"recipient": "AL"}), TYPE, key["xk-node"]),
        "nothing",
    )
    public = countries.keys["ME"].public
    for text in forged:
        answer = FieldsAnswered(statement=text)
        parcel = pack(answer, None, registry.directory, "XK", "ME", public)
        with pytest.raises(ParcelError):
            montenegro.completing.take_in(montenegro.vault, parcel, answer, registry)
    # Montenegro asks. What it was told before it asked this is no answer to it.
    lost = [world.opening_id]
    countries.lose("ME", "case_id = %s", world.case_id)
    montenegro.checking.check()
    asked, earlier = uuid4(), uuid4()
    montenegro.vault.missing.asked("XK", lost, earlier)
    montenegro.vault.missing.ask_again()
    montenegro.vault.missing.asked("XK", lost, asked)
    for ask, is_answered in ((earlier, False), (uuid4(), False), (asked, True)):
        signed = content.model_copy(update={"ask": ask})
        text = node_statements.sign(signed, TYPE, key["xk-node"])
        answer = FieldsAnswered(statement=text)
        parcel = pack(answer, None, registry.directory, "XK", "ME", public)
        montenegro.completing.take_in(montenegro.vault, parcel, answer, registry)
        named = world.standing("ME").named[world.opening_id, FieldPart.CASE]
        (kosovo,) = [one for one in named.asked if one.country == "XK"]
        assert (kosovo.answered_at is not None) == is_answered
    montenegro.vault.missing.ask_again()
    countries.settle()
    world.holds_all()
    # An answer to what was not asked changes nothing.
    answer = FieldsAnswered(statement=node_statements.sign(content, TYPE, key["xk-node"]))
    parcel = pack(answer, None, registry.directory, "XK", "ME", public)
    montenegro.completing.take_in(montenegro.vault, parcel, answer, registry)
    montenegro.vault.missing.settle(patience=timedelta(), reachable=["XK", "AL"])
    world.holds_all()


def test_a_check_beside_an_erasure_takes_nothing_for_damaged(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data key goes before the rows, and between the two nothing opens."""
    countries, kosovo = world.countries, world.countries["XK"]
    closed = CaseClosed(acted_at=START, reason=ClosureReason.REINTEGRATED)
    countries.act("xk-nac", closed, world.case_id)
    proposed = ErasureProposed(acted_at=START, ground=ErasureGround.PERSONS_REQUEST)
    proposal = signed_action.read(countries.act("xk-nac", proposed, world.case_id)).id
    approved = ErasureApproved(acted_at=START, proposal=proposal)
    countries.act("xk-ombudsperson", approved, world.case_id)
    kosovo.checking.check_vaults()
    destroy, seen = kosovo.keys.destroy, list[set[str]]()

    def destroyed_and_checked(case_id: UUID) -> bool:
        had_key = destroy(case_id)
        assert world.countries.standing("XK").of_case(case_id).findings == ()
        kosovo.checking.check_vaults()
        seen.append({trouble.rule for trouble in kosovo.checking.troubles()})
        return had_key

    monkeypatch.setattr(kosovo.keys, "destroy", destroyed_and_checked)
    held = "SELECT count(*) FROM vault_xk.disclosures WHERE case_id = %s"
    with psycopg.connect(countries.conninfo) as connection:
        assert connection.execute(held, (world.case_id,)).fetchone() != (0,)
    assert kosovo.vault.erase(world.case_id)
    assert len(seen) == 1
    assert "vault-differs" not in seen[0]
    with psycopg.connect(countries.conninfo) as connection:
        assert connection.execute(held, (world.case_id,)).fetchone() == (0,)


def test_what_waits_for_the_sweep_is_no_finding_until_the_sweep_is_late(world: World) -> None:
    vault = world.countries["XK"].vault
    signed = world.countries.agencies.sign("xk-dhtqnj", opening(first_name=NAME), world.case_id)
    refused = signed_action.read(signed)
    vault.deposit(refused, world.case_id, signed.disclosures)
    try:
        for age, findings in (("35 minutes", 0), ("1 hour", len(signed.disclosures))):
            with psycopg.connect(world.countries.conninfo) as connection:
                connection.execute(
                    "UPDATE vault_xk.disclosures SET received_at = now() - %s::interval"
                    " WHERE action_id = %s",
                    (age, refused.id),
                )
            said = [f for f in world.standing("XK").findings if "no such action" in f]
            assert len(said) == findings, age
    finally:
        vault.discard([refused.id])
