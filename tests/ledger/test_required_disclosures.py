"""The fields that each country must hold by the ledger, and those that a vault lacks."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from uuid import UUID, uuid4

from ledger.events.event import ActionRecorded
from ledger.procedure.agreement import Agreement
from ledger.procedure.case import Case, decide
from ledger.procedure.case_state import Erasure
from ledger.signing import signed_action
from ledger.signing.sd_jwt import Disclosure
from ledger.vault.required_disclosures import (
    FieldPart,
    ListedDeposit,
    MissingReason,
    RequiredPart,
    Row,
    case_fields,
    lacks,
    must_hold,
    stated,
)
from ledger.vocabulary import Action
from ledger.vocabulary.coordination import (
    CasePrioritised,
    ConsentGiven,
    Correction,
    InformationRequested,
)
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import (
    ConsentForm,
    ConsentGiver,
    ConsentScope,
    CorrectionEffect,
    CorrectionReason,
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

AGENCIES = Agencies()
POLICE, SOCIAL_WORK = "xk-dhtqnj", "xk-csw-prishtina"


@dataclass
class Told:
    """A case of Kosovo and Montenegro without a database, and what each vault holds of it."""

    case_id: UUID = field(default_factory=uuid4)
    case: Case | None = None
    disclosed: dict[UUID, tuple[str, Sequence[Disclosure]]] = field(default_factory=dict)
    """What each action discloses, and its country."""

    def act(self, agency: str, action: Action) -> UUID:
        issued = AGENCIES.sign(agency, action, self.case_id)
        signed = signed_action.read(issued)
        now = START + timedelta(hours=len(self.disclosed))
        event = decide(self.case, signed, self.case_id, AGENCIES.protocol, now)
        event = replace(event, position=100 + len(self.disclosed), recorded_at=now)
        assert isinstance(event, ActionRecorded)
        self.case = Case.projector(Agreement.of(AGENCIES.protocol))(self.case, [event])
        self.disclosed[signed.id] = (agency[:2].upper(), issued.disclosures)
        return signed.id

    def digests(self, action: UUID, *names: str) -> frozenset[str]:
        _, disclosures = self.disclosed[action]
        return frozenset(d.digest for d in disclosures if d.name in names)

    def due(self, party: str) -> dict[tuple[UUID, FieldPart], RequiredPart]:
        assert self.case is not None
        found = must_hold(self.case, party, AGENCIES.protocol)
        assert len(found) == len({(one.action, one.part) for one in found})
        return {(one.action, one.part): one for one in found}

    def vault(self, party: str) -> tuple[dict[UUID, list[ListedDeposit]], dict[UUID, set[Row]]]:
        """Return the vault of a country as it is once everything arrived."""
        listed: dict[UUID, list[ListedDeposit]] = {}
        rows: dict[UUID, set[Row]] = {}

        def deposit(action: UUID, sender: str | None, given: Sequence[Disclosure]) -> None:
            fields = {one.digest: one.name for one in given}
            listed.setdefault(action, []).append(ListedDeposit(sender, fields, is_whole=True))
            rows.setdefault(action, set()).update((digest, sender) for digest in fields)

        for one in self.due(party).values():
            origin, given = self.disclosed[one.action]
            if one.part is FieldPart.OWN:
                deposit(one.action, None, given)
            elif one.part is FieldPart.CASE:
                named = case_fields(one.kind)
                deposit(one.action, origin, [d for d in given if d.name in named])
            else:
                assert one.digests is not None
                deposit(one.action, origin, [d for d in given if d.digest in one.digests])
        return listed, rows

    def lacking(
        self,
        party: str,
        listed: dict[UUID, list[ListedDeposit]],
        rows: dict[UUID, set[Row]],
        *,
        noted_from: int = 0,
        key_is_there: bool = True,
    ) -> dict[tuple[UUID, FieldPart], tuple[frozenset[str] | None, MissingReason]]:
        found = lacks(
            self.due(party).values(),
            listed,
            rows,
            noted_from=noted_from,
            key_is_there=key_is_there,
        )
        return {(one.due.action, one.due.part): (one.digests, one.why) for one in found}


def told() -> tuple[Told, UUID, UUID]:
    """A case on which Montenegro was asked and a name was released to it."""
    made = Told()
    opened = made.act(POLICE, opening(("XK",), first_name="zq", indicators_note="note"))
    made.act(SOCIAL_WORK, GuardianAppointed(acted_at=START, guardian_kind=GuardianKind.RELATIVE))
    consent = made.act(
        SOCIAL_WORK,
        ConsentGiven(
            acted_at=START,
            scopes=(ConsentScope.INFORMATION_EXCHANGE,),
            given_by=ConsentGiver.GUARDIAN,
            form=ConsentForm.WRITTEN,
            groups=(FieldGroup.IDENTITY,),
            recipients=("ME",),
        ),
    )
    made.act("xk-nac", CasePrioritised(acted_at=START, priority=Priority.HIGH))
    made.act(
        SOCIAL_WORK,
        InformationRequested(
            acted_at=START,
            addressee="me-nac",
            topics=(InformationTopic.IDENTITY,),
            purpose=Purpose.PROTECTION,
            question="who",
        ),
    )
    digests = made.digests(opened, "first_name")
    made.act(
        SOCIAL_WORK,
        InformationReleased(
            acted_at=START,
            recipient="ME",
            groups=(FieldGroup.IDENTITY,),
            purpose=Purpose.PROTECTION,
            basis=LegalBasis.CONSENT,
            basis_action=consent,
            released=(ReleasedFields(action=opened, digests=tuple(digests)),),
        ),
    )
    return made, opened, consent


def test_each_country_must_hold_its_own_the_case_fields_and_what_was_released() -> None:
    made, opened, consent = told()
    own, theirs = made.due("XK"), made.due("ME")
    # A release itself discloses nothing.
    assert {part for _, part in own} == {FieldPart.OWN}
    assert {own[key].kind for key in own} == {
        "case_opened",
        "guardian_appointed",
        "consent_given",
        "case_prioritised",
        "information_requested",
    }
    released = theirs[opened, FieldPart.RELEASED]
    assert released.digests == made.digests(opened, "first_name")
    assert (released.origin, released.holders) == ("XK", ("XK",))
    # Montenegro joined with the fifth action; it must hold the `case` fields of all before.
    assert theirs[opened, FieldPart.CASE].digests is None
    assert theirs[consent, FieldPart.CASE].holders == ("XK",)
    assert own[opened, FieldPart.OWN].holders == ("ME",)
    assert made.due("AL") == {}


def test_a_vault_in_which_everything_arrived_lacks_nothing_and_one_row_is_missed_by_name() -> None:
    made, opened, _ = told()
    for party in ("XK", "ME"):
        listed, rows = made.vault(party)
        assert made.lacking(party, listed, rows) == {}
        for action, held in rows.items():
            for row in held:
                less = rows | {action: held - {row}}
                found = made.lacking(party, listed, less)
                assert set(found.values()) == {(frozenset({row[0]}), MissingReason.ROW_GONE)}
                assert {key[0] for key in found} == {action}
    # A row under another country's name is not the country's own.
    listed, rows = made.vault("XK")
    moved: set[Row] = {(digest, "ME") for digest, _ in rows[opened]}
    assert (opened, FieldPart.OWN) in made.lacking("XK", listed, rows | {opened: moved})


def test_a_deposit_that_is_gone_with_its_inventory_is_missed_though_it_disclosed_nothing() -> None:
    made, opened, _ = told()
    for party in ("XK", "ME"):
        listed, rows = made.vault(party)
        for action, part in made.due(party):
            if part is FieldPart.RELEASED:
                continue
            kept = [
                d for d in listed[action] if part is FieldPart.CASE and "first_name" in _names(d)
            ]
            found = made.lacking(party, listed | {action: kept}, rows | {action: set()})
            assert found[action, part] == (None, MissingReason.NOT_RECEIVED)
    # A deposit that was made to look as though it were from before the inventory does not count.
    listed, rows = made.vault("XK")
    emptied = ListedDeposit(None, {}, is_whole=True, is_authenticated=False)
    found = made.lacking("XK", listed | {opened: [emptied]}, rows | {opened: set()})
    assert found == {(opened, FieldPart.OWN): (None, MissingReason.NOT_RECEIVED)}
    # Of actions from before the check nothing can be said.
    assert made.lacking("XK", {}, {}, noted_from=1000) == {}
    listed, rows = made.vault("ME")
    del listed[opened], rows[opened]
    found = made.lacking("ME", listed, rows, noted_from=1000)
    assert list(found) == [(opened, FieldPart.RELEASED)]


def _names(listed: ListedDeposit) -> set[str]:
    return set(listed.fields.values())


def test_what_came_back_from_another_country_is_not_known_to_be_all() -> None:
    made, opened, _ = told()
    listed, rows = made.vault("XK")
    part = {made.disclosed[opened][1][0].digest: made.disclosed[opened][1][0].name}
    back = ListedDeposit(None, part, is_whole=False)
    held: set[Row] = {(digest, None) for digest in part}
    found = made.lacking("XK", listed | {opened: [back]}, rows | {opened: held})
    assert found == {(opened, FieldPart.OWN): (None, MissingReason.NOT_RECEIVED)}
    # With the inventory of the deposit that was whole, the rest has its names.
    found = made.lacking("XK", listed | {opened: [*listed[opened], back]}, rows | {opened: held})
    assert found == {
        (opened, FieldPart.OWN): (_digests(made, opened) - set(part), MissingReason.ROW_GONE)
    }
    assert stated("case_opened", FieldPart.OWN, [back], is_noted=False) is None


def _digests(made: Told, action: UUID) -> frozenset[str]:
    return frozenset(one.digest for one in made.disclosed[action][1])


def test_without_the_persons_key_all_of_the_person_is_missing() -> None:
    made, opened, _ = told()
    listed, rows = made.vault("ME")
    found = made.lacking("ME", listed, rows, key_is_there=False)
    assert found[opened, FieldPart.RELEASED][1] is MissingReason.KEY_MISSING
    assert {why for _, why in found.values()} == {MissingReason.KEY_MISSING}


def test_no_country_must_hold_what_an_annulled_action_disclosed() -> None:
    made = Told()
    opened = made.act(POLICE, opening(("XK",), first_name="zq"))
    asked = made.act(
        POLICE,
        InformationRequested(
            acted_at=START,
            addressee="me-nac",
            topics=(InformationTopic.IDENTITY,),
            purpose=Purpose.PROTECTION,
        ),
    )
    assert set(made.due("ME")) == {(opened, FieldPart.CASE), (asked, FieldPart.CASE)}
    own = made.act("me-nac", CasePrioritised(acted_at=START, priority=Priority.HIGH))
    assert made.due("ME")[own, FieldPart.OWN].holders == ("XK",)
    wrong = Correction(
        acted_at=START,
        corrects=asked,
        effect=CorrectionEffect.ANNULLED,
        reason=CorrectionReason.WRONG_CASE,
    )
    corrected = made.act(POLICE, wrong)
    # Montenegro is not party to the case any more. Of the annulled request nothing is due.
    # It keeps what its own agency disclosed. It would refuse that from others (`not-a-party`), and
    # so asks nobody for it; what only it might hold is asked from it.
    assert {key: due.holders for key, due in made.due("ME").items()} == {(own, FieldPart.OWN): ()}
    assert {key: due.holders for key, due in made.due("XK").items()} == {
        **{(one, FieldPart.OWN): () for one in (opened, corrected)},
        (own, FieldPart.CASE): ("ME",),
    }


def test_an_ordered_erasure_ends_all() -> None:
    made, _, _ = told()
    proposed = Erasure(ground="persons_request", since=START, proposal=uuid4(), by="xk-nac")
    for erasure in (proposed, proposed.model_copy(update={"order": uuid4()})):
        assert made.case is not None
        state = made.case.state.model_copy(update={"erasure": erasure})
        made.case = replace(made.case, state=state)
        assert [bool(made.due(party)) for party in ("XK", "ME")] == [not erasure.order] * 2
