"""All ten communication forms between Kosovo's node, Montenegro's node and a ledger node.

Each is sent at one country's node, found on the recipient's desk at the other, acknowledged or
answered there, and printed there.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from api.demo.story import STORY
from api.keys.country_keys import country_key
from api.paper.subject_access.wording import wording
from api.web.texts import texts
from ledger.log.merkle import leaf_hash
from ledger.log.paper_code import paper_code
from ledger.procedure.form_rules import SendableForm, sendable_forms
from ledger.procedure.protocol import Agency
from ledger.signing import keys
from ledger.system import clock
from ledger.vocabulary import Action
from ledger.vocabulary.communication_forms import FormAcknowledged, FormSent
from ledger.vocabulary.coordination import CaseManagerNamed
from ledger.vocabulary.registration import CountryKeyRegistered
from projections.folds.obligation_terms import ObligationKind, ObligationState
from tests.api.test_country_node import Nodes, two_nodes
from tests.api.test_subject_access import squeezed
from tests.support.agencies import PAST, Agencies
from tests.support.databases import new_database
from tests.support.pdf_text import page_texts
from tests.support.serving import Server, running
from tests.support.waiting import until
from tests.support.web import signed_in

CASE = uuid4()
REMARKS = {"XK": "Vërejtje për palën tjetër.", "ME": "Napomena za drugu stranu."}
LANGUAGE = {"XK": "sq", "ME": "cnr"}


@dataclass
class Countries:
    """The countries' nodes, and what was sent so far."""

    nodes: Nodes
    montenegro: Server
    version: int = 0
    position: int = 0

    def at(self, agency: str) -> Server:
        """The node of an agency's country."""
        home = self.nodes.country if agency.startswith("xk") else self.montenegro
        assert home is not None
        return home

    def take(self, agency: str, action: Action) -> UUID:
        with self.at(agency).client(agency) as client:
            receipt = client.append(action, CASE, self.version)
        self.version, self.position = receipt.case_version, receipt.position
        return receipt.action_id

    def sender(self, number: int) -> tuple[Agency, SendableForm]:
        for home in (self.at("xk"), self.at("me")):
            until(lambda: (home.node.ledger.case(CASE) or _NONE).version >= self.version)  # noqa: B023
        case = self.at("xk").node.ledger.case(CASE)
        assert case is not None
        protocol = self.nodes.agencies.protocol
        for agency in protocol.working_agencies:
            for one in sendable_forms(case.state, case.history, agency, protocol):
                if one.form.number == number:
                    return agency, one
        raise AssertionError(f"nobody can send form {number}")


@dataclass
class _None:
    version: int = -1


_NONE = _None()


@pytest.fixture(scope="module")
def countries(
    server: str,
    begun: str,
    migrated: str,
    agencies: Agencies,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Countries]:
    directory = tmp_path_factory.mktemp("forms")
    with (
        two_nodes(server, begun, migrated, agencies, directory) as nodes,
        new_database(server, migrated) as conninfo,
        ExitStack() as stack,
    ):
        changed = {"data_directory": directory / "me", "countries": ("ME",)}
        settings = nodes.country_settings.model_copy(update=changed)
        settings.key_directory.mkdir(parents=True)
        keys.save(agencies.keys["me-node"], settings.key_directory / "me-node.jwk")
        montenegro = stack.enter_context(running(settings, conninfo, agencies))
        rows = montenegro.node.ledger.rows
        until(lambda: (rows.max_notification_id() or 0) > 20, "the first copy")
        found = Countries(nodes, montenegro)
        for home, agency in ((nodes.country_settings, "xk-nac"), (settings, "me-nac")):
            key = CountryKeyRegistered(
                acted_at=PAST, key=str(country_key(home, agency[:2].upper()).public)
            )
            with found.at(agency).client(agency) as coordinator:
                coordinator.append_to_registry(key)
        ids: dict[str, UUID] = {}
        for step in STORY:
            if step.case == "A":
                ids[step.name] = found.take(step.agency, step.action(ids))
        manager = CaseManagerNamed(
            acted_at=clock.now(),
            full_name="Invented Person",
            function="Social worker",
            institution="Centre for social work",
            telephone_24h="+382 20 000 000",
            languages=("cnr",),
        )
        found.take("me-nac", manager)
        yield found


def desk(countries: Countries, agency: str, path: str) -> str:
    with signed_in(countries.at(agency), agency) as browser:
        browser.cookies.set("case-ledger-language", LANGUAGE[agency[:2].upper()])
        answer = browser.get(path)
    assert answer.status_code == 200, answer.text[:300]
    return answer.text


def paper(countries: Countries, agency: str, action: UUID, beside: str) -> str:
    path = f"/cases/{CASE}/forms/sent/{action}/form.pdf?beside={beside}"
    with signed_in(countries.at(agency), agency) as browser:
        browser.cookies.set("case-ledger-language", LANGUAGE[agency[:2].upper()])
        answer = browser.get(path)
    assert answer.status_code == 200, answer.text[:300]
    return squeezed("".join(page_texts(answer.content)))


def test_every_form_goes_from_one_countrys_node_to_the_other(countries: Countries) -> None:
    agencies = countries.nodes.agencies
    sent: dict[int, UUID] = {}
    for number in range(1, 11):
        agency, one = countries.sender(number)
        here, there = agency.id, one.addressees[0]
        home, other = agency.party, agencies.protocol.agencies_by_id[there].party
        assert {home, other} == {"XK", "ME"}
        action = countries.take(
            here,
            FormSent(
                acted_at=datetime.now(UTC),
                form_number=number,
                addressee=there,
                actions=one.proposed,
                answers=one.answers[0] if one.answers else None,
                remarks=REMARKS[home],
            ),
        )
        sent[number] = action
        path = f"/cases/{CASE}/forms/sent/{action}"
        title = one.form.title_in(LANGUAGE[other])

        def received(path: str = path, there: str = there, said: str = REMARKS[home]) -> bool:
            """Return whether the form and its sealed remarks are at the recipient's node."""
            with signed_in(countries.at(there), there) as browser:
                answer = browser.get(path)
            return answer.status_code == 200 and said in answer.text

        until(received, f"form {number}")
        page = desk(countries, there, path)
        assert title in page
        desk_of_the_case = desk(countries, there, f"/cases/{CASE}?at_least={countries.position}")
        assert f'href="{path}"' in desk_of_the_case, number
        with countries.at(there).client("me-nac" if other == "ME" else "xk-nac") as client:
            list(client.obligations(case_id=CASE, at_least=countries.position))
        coordinator = f"{other.lower()}-nac"
        board = desk(countries, coordinator, "/board")
        assert f'href="{path}"' in board
        assert wording(LANGUAGE[other]).picked(ObligationKind.FORM_ACKNOWLEDGEMENT) in board
        (row,) = countries.at(there).node.ledger.rows_at([countries.position])
        beside = "cnr" if other == "XK" else "en"
        text = paper(countries, there, action, beside)
        assert paper_code(leaf_hash(bytes(row.state))) in text
        assert squeezed(REMARKS[home]) in text, number
        for language in (LANGUAGE[other], beside):
            assert squeezed(one.form.title_in(language)) in text
            assert squeezed(texts(language).text("forms.source.assumption")) in text
        if one.form.answered_by is None:
            countries.take(there, FormAcknowledged(acted_at=datetime.now(UTC), sent=action))
    until(lambda: countries.at("me-nac").node.ledger.head() >= countries.position)
    with countries.at("me-nac").client("me-nac") as client:
        owed = list(client.obligations(case_id=CASE, at_least=countries.position))
    kinds = (ObligationKind.FORM_ACKNOWLEDGEMENT, ObligationKind.FORM_ANSWER)
    of_forms = [one for one in owed if one.kind in kinds]
    assert {one.concerning for one in of_forms} == set(sent.values())
    assert {one.state for one in of_forms} == {ObligationState.DISCHARGED}
    answers = [one for one in of_forms if one.kind is ObligationKind.FORM_ANSWER]
    assert {one.concerning for one in answers} == {sent[number] for number in (1, 3, 7)}


def test_the_ledger_node_holds_no_remark_of_a_form(countries: Countries) -> None:
    ledger = countries.nodes.ledger
    assert ledger is not None
    with signed_in(ledger, "xk-nac") as browser:
        text = browser.get(f"/cases/{CASE}/forms").text
    assert not any(remark in text for remark in REMARKS.values())
