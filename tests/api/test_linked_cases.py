"""Cases are linked and merged through a running node: pages, lists, erasure."""

from pathlib import Path
from uuid import UUID, uuid4

import pytest

from api.background_jobs.eraser import WORK as WORK_OF_ERASER
from api.background_jobs.eraser import Eraser
from api.client import RefusedError
from api.paper.subject_access.document import LabelledFile
from ledger.system import clock
from ledger.vault.vault import Vault
from ledger.vocabulary import Action
from ledger.vocabulary.coordination import CaseClosed
from ledger.vocabulary.erasure import ErasureApproved, ErasureProposed
from ledger.vocabulary.linking import (
    CaseMerged,
    CasesLinked,
    MergeAccepted,
    MergeDeclined,
    MergeProposed,
    MergeUndone,
)
from ledger.vocabulary.person import IdentityRecorded
from ledger.vocabulary.picklists import DocumentKind, Purpose
from tests.api.test_personal_data import later
from tests.support.actions import opening
from tests.support.cosigned import cosigned
from tests.support.papers import pdf
from tests.support.serving import Server
from tests.support.waiting import until
from tests.support.web import signed_in

POLICE, WORK, NAC, THEIRS = "xk-dhtqnj", "xk-csw-prishtina", "xk-nac", "me-police-thb"


class Scene:
    """Agencies that act on cases of one running node."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.hours = 1

    def opened(self, agency: str, country: str) -> UUID:
        with self.server.client(agency) as client:
            receipt = client.open_case(opening((country,)))
            client.case(receipt.case_id, at_least=receipt.position)
        return receipt.case_id

    def take(self, agency: str, case_id: UUID, kind: type[Action], **fields: object) -> UUID:
        self.hours += 1
        with self.server.client(agency) as client:
            version = client.case(case_id).view.version
            action = kind.model_validate({"acted_at": later(self.hours), **fields})
            receipt = client.append(action, case_id, version)
            client.case(case_id, at_least=receipt.position)
        return receipt.action_id

    def document(self, agency: str, case_id: UUID, file: Path, content: bytes) -> UUID:
        file.write_bytes(content)
        with self.server.client(agency) as client:
            version = client.case(case_id).view.version
            receipt = client.add_document(
                case_id, version, file, kind=DocumentKind.REPORT, title="Report", group=None
            )
            client.case(case_id, at_least=receipt.position)
        return receipt.action_id

    def refused(self, agency: str, case_id: UUID, kind: type[Action], **fields: object) -> str:
        with pytest.raises(RefusedError) as refused:
            self.take(agency, case_id, kind, **fields)
        return f"{refused.value.problem.rule}: {refused.value.problem.detail}"

    def page(self, agency: str, path: str) -> str:
        with signed_in(self.server, agency) as browser:
            answer = browser.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    def merged(self, ends: UUID, goes_on: UUID, by: str, to: str, told: tuple[str, ...]) -> None:
        proposal = self.take(by, ends, MergeProposed, addressee=to, told=told, continues_in=goes_on)
        with self.server.client(to) as client:
            view = client.case(ends).view
        acceptance = self.take(
            to, goes_on, MergeAccepted, ended_case=ends, proposal=proposal,
            countries=told[:1], opened_at=view.opened_at,
        )  # fmt: skip
        self.take(by, ends, CaseMerged, continues_in=goes_on, acceptance=acceptance)


@pytest.fixture
def scene(served_once: Server) -> Scene:
    return Scene(served_once)


def test_a_link_is_shown_where_both_cases_may_be_seen(scene: Scene) -> None:
    here, there = scene.opened(POLICE, "XK"), scene.opened(WORK, "XK")
    link = {"linked_case": there, "relation": "sibling", "told": ("XK",)}
    scene.take(WORK, here, CasesLinked, **link)
    assert f'href="/cases/{there}"' in scene.page(POLICE, f"/cases/{here}")
    # A case that the agency may not see and one that does not exist are refused alike.
    foreign = scene.opened(THEIRS, "ME")
    told = [
        scene.refused(POLICE, here, CasesLinked, **{**link, "linked_case": other})
        for other in (foreign, uuid4(), here)
    ]
    assert len(set(told)) == 1
    assert told[0].startswith("unknown-linked-case")
    # Nor is a country told of a case to which it is no party.
    both = scene.opened(POLICE, "ME")
    assert scene.refused(POLICE, both, CasesLinked, **{**link, "told": ("XK", "ME")}).startswith(
        "told"
    )
    scene.take(POLICE, both, CasesLinked, **link)
    assert str(there) in scene.page(POLICE, f"/cases/{both}")
    theirs = scene.page(THEIRS, f"/cases/{both}")
    assert str(there) not in theirs
    with scene.server.client(THEIRS) as client:
        assert str(there) not in client.case(both).model_dump_json()


def test_a_merge_goes_by_pages_and_leads_on(scene: Scene) -> None:
    ends, goes_on = scene.opened(POLICE, "XK"), scene.opened(THEIRS, "ME")
    proposed = {"addressee": THEIRS, "told": ("XK", "ME"), "continues_in": goes_on}
    proposal = scene.take(POLICE, ends, MergeProposed, **proposed)
    assert str(goes_on) not in scene.page(POLICE, f"/cases/{ends}").split("lanes")[0]
    path = f"/cases/{goes_on}/act/merge_accepted?other={ends}"
    shown = scene.page(THEIRS, path)
    assert f'<option value="{proposal}" selected>' in shown
    assert f'<option value="{ends}" selected>' in shown
    with scene.server.client(THEIRS) as client:
        view = client.case(ends).view
    acceptance = scene.take(
        THEIRS, goes_on, MergeAccepted, ended_case=ends, proposal=proposal,
        countries=("XK",), opened_at=view.opened_at,
    )  # fmt: skip
    decline = {"proposal": proposal, "reason": "withdrawn"}
    assert scene.refused(NAC, ends, MergeDeclined, **decline).startswith("merge-accepted")
    shown = scene.page(POLICE, f"/cases/{ends}/act/case_merged?other={goes_on}")
    assert f'<option value="{acceptance}" selected>' in shown
    scene.take(POLICE, ends, CaseMerged, continues_in=goes_on, acceptance=acceptance)
    for agency in (POLICE, THEIRS):
        assert f'href="/cases/{goes_on}"' in scene.page(agency, f"/cases/{ends}")
        assert f'href="/cases/{ends}"' in scene.page(agency, f"/cases/{goes_on}")
    assert scene.refused(NAC, ends, CaseClosed, reason="reintegrated").startswith("merged-case")
    with signed_in(scene.server, POLICE) as browser:
        assert browser.get(f"/cases/{ends}/act").status_code == 200


def test_a_case_ends_only_in_the_case_that_its_proposal_names(scene: Scene) -> None:
    """The country's node knows which case that is; the ledger does not."""
    ends, goes_on = scene.opened(POLICE, "XK"), scene.opened(THEIRS, "ME")
    elsewhere = scene.opened(THEIRS, "ME")
    proposed = {"addressee": THEIRS, "told": ("XK", "ME"), "continues_in": goes_on}
    proposal = scene.take(POLICE, ends, MergeProposed, **proposed)
    with scene.server.client(THEIRS) as client:
        accept = {
            "ended_case": ends, "proposal": proposal, "countries": ("XK",),
            "opened_at": client.case(ends).view.opened_at,
        }  # fmt: skip
    acceptance = scene.take(THEIRS, elsewhere, MergeAccepted, **accept)
    # One proposal is accepted once, and an acceptance that was undone ends nothing.
    again = scene.refused(THEIRS, goes_on, MergeAccepted, **accept)
    assert again.startswith("merge-accepted")
    end = {"continues_in": elsewhere, "acceptance": acceptance}
    assert "names another case" in scene.refused(POLICE, ends, CaseMerged, **end)
    scene.take(THEIRS, elsewhere, MergeUndone, merge=acceptance, ground="another_person")
    acceptance = scene.take(THEIRS, goes_on, MergeAccepted, **accept)
    scene.take(THEIRS, goes_on, MergeUndone, merge=acceptance, ground="another_person")
    end = {"continues_in": goes_on, "acceptance": acceptance}
    assert "was undone" in scene.refused(POLICE, ends, CaseMerged, **end)


def test_an_agency_reads_no_case_in_which_it_has_no_part(scene: Scene) -> None:
    """Neither on the trail nor in the person's file: a linked case is another person's."""
    ends, goes_on = scene.opened(POLICE, "XK"), scene.opened(THEIRS, "ME")
    proposed = {"addressee": THEIRS, "told": ("XK", "ME"), "continues_in": goes_on}
    scene.take(POLICE, ends, MergeProposed, **proposed)
    sibling = scene.opened(WORK, "XK")
    link = {"linked_case": sibling, "relation": "sibling", "told": ("XK",)}
    scene.take(WORK, ends, CasesLinked, **link)
    shown = scene.page(POLICE, f"/cases/{ends}")
    assert str(sibling) in shown
    assert str(goes_on) not in shown
    with scene.server.client(WORK) as client:
        file = client.subject_access(ends, "en")
    assert str(sibling).encode() not in file
    assert str(goes_on).encode() not in file


def test_the_file_of_a_person_has_what_both_cases_hold(scene: Scene) -> None:
    ends, goes_on = scene.opened(POLICE, "XK"), scene.opened(WORK, "XK")
    for agency, case_id, name in ((POLICE, ends, "Zqfirst"), (WORK, goes_on, "Zqsecond")):
        scene.take(
            agency, case_id, IdentityRecorded, ground="learned", source="own_statement",
            certainty="probable", first_name=name,
        )  # fmt: skip
    scene.merged(ends, goes_on, POLICE, WORK, ("XK",))
    with scene.server.client(WORK) as client:
        for case_id, other in ((ends, goes_on), (goes_on, ends)):
            told = LabelledFile.model_validate_json(client.subject_access(case_id, "en")).file
            assert told.merged_cases == (other,)
            names = {one.value for one in told.held if one.field == "first_name"}
            assert names == {"Zqfirst", "Zqsecond"}
            assert {entry.case_id for entry in told.trail} == {ends, goes_on}
        assert client.subject_access(goes_on, "en", pdf=True).startswith(b"%PDF")


def test_the_documents_of_merged_cases_are_read_through_both(scene: Scene, tmp_path: Path) -> None:
    ends, goes_on = scene.opened(POLICE, "XK"), scene.opened(WORK, "XK")
    files = {ends: pdf(1000), goes_on: pdf(2000)}
    added = {
        POLICE: scene.document(POLICE, ends, tmp_path / "first.pdf", files[ends]),
        WORK: scene.document(WORK, goes_on, tmp_path / "second.pdf", files[goes_on]),
    }
    scene.merged(ends, goes_on, POLICE, WORK, ("XK",))
    with scene.server.client(WORK) as client:
        for case_id in (ends, goes_on):
            page = client.documents(case_id)
            assert {(one.id, one.case_id) for one in page.documents} == {
                (added[POLICE], ends), (added[WORK], goes_on)
            }  # fmt: skip
            for one in page.documents:
                to = tmp_path / f"{case_id}-{one.id}"
                client.download(case_id, one.id, to, purpose=Purpose.PROTECTION)
                assert to.read_bytes() == files[one.case_id]
                # The entry is on the document's own case.
                last = client.readings(one.case_id).readings[-1]
                assert (last.concerning, last.asked.case_id) == (one.id, one.case_id)
    with scene.server.client(THEIRS) as client, pytest.raises(RefusedError) as refused:
        client.documents(goes_on)
    assert refused.value.problem.rule == "unknown-case"
    # An erasure destroys them in both cases.
    scene.take(NAC, goes_on, CaseClosed, reason="reintegrated")
    proposal = scene.take(WORK, goes_on, ErasureProposed, ground="persons_request")
    scene.take("xk-ombudsperson", goes_on, ErasureApproved, proposal=proposal)
    vault = scene.server.node.vaults.of("XK")
    until(lambda: vault.erased([ends, goes_on]) == {ends, goes_on})
    until(lambda: vault.documents.held([*added.values()]) == {})


def test_an_erasure_destroys_what_both_cases_hold(scene: Scene) -> None:
    ends, goes_on = scene.opened(POLICE, "XK"), scene.opened(WORK, "XK")
    scene.merged(ends, goes_on, POLICE, WORK, ("XK",))
    scene.take(NAC, goes_on, CaseClosed, reason="reintegrated")
    proposal = scene.take(WORK, goes_on, ErasureProposed, ground="persons_request")
    scene.take("xk-ombudsperson", goes_on, ErasureApproved, proposal=proposal)
    vault = scene.server.node.vaults.of("XK")
    until(lambda: vault.erased([ends, goes_on]) == {ends, goes_on})


def test_the_eraser_does_not_pass_a_case_that_it_could_not_erase(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes back to the order where a merged case is held, and where the vault fails."""
    vault, eraser = scene.server.node.vaults.of("XK"), scene.server.worker("erase")
    ends, goes_on = scene.opened(POLICE, "XK"), scene.opened(WORK, "XK")
    scene.merged(ends, goes_on, POLICE, WORK, ("XK",))
    scene.take(NAC, goes_on, CaseClosed, reason="reintegrated")
    proposal = scene.take(WORK, goes_on, ErasureProposed, ground="persons_request")
    tried: list[UUID] = []

    def failing(self: Vault, case_id: UUID) -> bool:
        tried.append(case_id)
        if case_id == ends:
            raise OSError("the disk is away")
        return erase(self, case_id)

    erase, is_held = Vault.erase, Eraser._is_held
    with monkeypatch.context() as patched:
        patched.setattr(Eraser, "_is_held", lambda *_: True)
        ordered = scene.take("xk-ombudsperson", goes_on, ErasureApproved, proposal=proposal)
        eraser.wait_for_step()
        assert vault.erased([ends, goes_on]) == {goes_on}
        row = scene.server.node.ledger.row_of_action(ordered)
        assert row is not None
        assert vault.progress(WORK_OF_ERASER) < row.position
        patched.setattr(Vault, "erase", failing)
        patched.setattr(Eraser, "_is_held", is_held)
        until(lambda: tried.count(ends) > 1)
        assert vault.progress(WORK_OF_ERASER) < row.position
        assert vault.erased([ends]) == set()
    until(lambda: vault.erased([ends]) == {ends})
    until(lambda: vault.progress(WORK_OF_ERASER) >= row.position)


def test_the_end_of_the_period_erases_both_cases(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends, goes_on = scene.opened(POLICE, "XK"), scene.opened(WORK, "XK")
    vault, eraser = scene.server.node.vaults.of("XK"), scene.server.worker("erase")
    assert isinstance(eraser, Eraser)
    # The period of the case that continues is over, as the case's own page would say it.
    monkeypatch.setattr(Eraser, "_retained", lambda *_: iter([[goes_on]]))
    monkeypatch.setattr(
        "api.background_jobs.eraser.may_be_erased", lambda state, *_: state.case_id == goes_on
    )
    times = cosigned(clock.now(), range(3))
    proposed = {"addressee": WORK, "told": ("XK",), "continues_in": goes_on}
    proposal = scene.take(POLICE, ends, MergeProposed, **proposed)
    with scene.server.client(WORK) as client:
        view = client.case(ends).view
    acceptance = scene.take(
        WORK, goes_on, MergeAccepted, ended_case=ends, proposal=proposal, countries=("XK",),
        opened_at=view.opened_at,
    )  # fmt: skip
    assert eraser.retire(times) == 0  # a merge that is half done is erased by nobody
    scene.take(POLICE, ends, CaseMerged, continues_in=goes_on, acceptance=acceptance)
    assert eraser.retire(times) == 2
    assert vault.erased([ends, goes_on]) == {ends, goes_on}
