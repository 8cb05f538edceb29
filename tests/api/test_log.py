"""The ledger as a transparency log, read as a stranger's program would read it."""

import hashlib

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.client.assertion import make_assertion
from ledger.log.checkpoint import Checkpoint
from ledger.log.merkle import Frontier, Tree, check_inclusion, leaf_hash
from ledger.log.note import Note
from ledger.log.policy import Policy
from ledger.log.tiles import TileName, read_bundle, tiles_of
from ledger.log.tlog_proof import TlogProof
from tests.support.actions import opening
from tests.support.serving import Server
from tests.support.waiting import until


@pytest.fixture
def served(served_once: Server) -> Server:
    """One server: most tests look at nothing but what they record themselves."""
    return served_once


def get(served: Server, path: str, agency: str | None = None) -> httpx.Response:
    headers = {}
    if agency is not None:
        token = make_assertion(agency, served.agencies.keys[agency], "case-ledger")
        headers["Authorization"] = f"Bearer {token}"
    return httpx.get(served.url + path, headers=headers)


def published(served: Server, size: int) -> Checkpoint:
    """The published checkpoint, once it covers ``size`` events."""
    policy = Policy.parse(get(served, "/log/policy").text)

    def covers() -> Checkpoint | None:
        answer = get(served, "/log/checkpoint")
        if not answer.is_success:
            return None
        checkpoint, cosigned = policy.check(Note.parse(answer.text))
        assert cosigned.keys() == {"AL", "ME", "XK"}
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"
        return checkpoint if checkpoint.size >= size else None

    return until(covers)


def test_metrics_say_what_waits_for_publication(served: Server) -> None:
    with served.client("xk-dhtqnj") as police:
        receipt = police.open_case(opening())
    published(served, receipt.position)
    text = httpx.get(f"{served.url}/metrics").text
    ready = httpx.get(f"{served.url}/ready").json()
    told = {f.name: f.samples for f in text_string_to_metric_families(text)}
    assert told["case_ledger_head"][0].value == ready["head"]
    assert told["case_ledger_published"][0].value == ready["published"]
    assert told["case_ledger_unpublished_seconds"][0].value == 0
    assert {s.labels["witness"]: s.value for s in told["case_ledger_cosigned"]} == ready[
        "witnesses"
    ]
    assert {s.labels["view"] for s in told["case_ledger_view_position"]} == set(ready["views"])
    assert told["case_ledger_not_to_be_relied_on"][0].value == 0
    assert str(receipt.case_id) not in text


def test_metrics_say_how_the_steps_of_each_worker_went(served: Server) -> None:
    def steps() -> dict[str, float]:
        text = httpx.get(f"{served.url}/metrics").text
        told = {f.name: f.samples for f in text_string_to_metric_families(text)}
        failures = {s.labels["worker"]: s.value for s in told["case_ledger_worker_failures"]}
        found = {s.labels["worker"]: s.value for s in told["case_ledger_worker_steps"]}
        assert failures.keys() == found.keys()
        return found

    before = steps()["erase"]
    served.worker("erase").wait_for_step()
    served.worker("tell").wait_for_step()
    assert steps()["erase"] > before
    work = {"sign", "gather", "follow", "send", "fetch", "match", "complete", "sweep", "listen"}
    assert work <= steps().keys()


def test_the_whole_log_is_rebuilt_from_its_files(served: Server) -> None:
    receipt = served.client("xk-dhtqnj").open_case(opening())
    checkpoint = published(served, receipt.position)
    content: dict[TileName, bytes] = {}
    for tile in tiles_of(checkpoint.size):
        answer = get(served, f"/log/{tile.path}", "xk-nac" if tile.level is None else None)
        assert answer.status_code == 200, tile.path
        assert answer.headers["content-type"] == "application/octet-stream"
        kept = "no-store" if tile.level is None else "public, max-age=31536000, immutable"
        assert answer.headers["cache-control"] == kept
        content[tile] = answer.content
    entries = [e for tile, held in content.items() if tile.level is None for e in read_bundle(held)]
    leaves = [leaf_hash(entry) for entry in entries]
    assert b"".join(held for tile, held in content.items() if tile.level == 0) == b"".join(leaves)
    assert Frontier().extend(leaves)[0].root() == checkpoint.root
    tree = Tree(checkpoint.size, lambda _, start, count: leaves[start : start + count])
    check_inclusion(
        leaves[3], 3, checkpoint.size, tree.inclusion(3, checkpoint.size), checkpoint.root
    )


def test_a_receipt_verifies_offline(served: Server) -> None:
    receipt = served.client("xk-dhtqnj").open_case(opening(("XK",)))
    checkpoint = published(served, receipt.position)
    path = f"/log/proof/{receipt.position}"
    answer = get(served, path, "xk-dhtqnj")
    proof = TlogProof.parse(answer.text)
    policy = Policy.parse(get(served, "/log/policy").text)
    assert proof.check(leaf_hash(proof.extra), policy)[0] == checkpoint
    assert proof.index == receipt.position - 1
    # Another country's agency sees only its own cases; its coordinator sees the ledger.
    assert get(served, path, "me-csw-niksic").json()["rule"] == "unknown-position"
    assert get(served, path, "me-nac").status_code == 200
    assert get(served, path).status_code == 401
    assert get(served, "/log/proof/99999", "me-nac").status_code == 404


def test_a_receipt_waits_for_the_view_that_says_who_sees_the_event(
    served: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt = served.client("xk-dhtqnj").open_case(opening(("XK",)))
    published(served, receipt.position)
    path = f"/log/proof/{receipt.position}"
    until(lambda: get(served, path, "xk-dhtqnj").status_code == 200)
    views = served.node.views
    behind = [receipt.position - 1] * 3
    real, seen = views.position, views.positions_seen_by
    monkeypatch.setattr(views, "position", lambda name: behind.pop() if behind else real(name))
    monkeypatch.setattr(
        views, "positions_seen_by", lambda *of, **more: [] if behind else seen(*of, **more)
    )
    assert get(served, path, "xk-dhtqnj").status_code == 200
    assert not behind


@pytest.mark.parametrize(
    ("path", "agency", "status"),
    [
        ("/log/tile/entries/000.p/20", None, 401),
        ("/log/tile/entries/000.p/20", "xk-dhtqnj", 403),
        ("/log/tile/entries/000.p/20", "xk-ombudsperson", 200),
        ("/log/tile/0/000", None, 404),
        ("/log/tile/0/000.p/20", None, 200),
        ("/log/tile/0/000.p/255", None, 404),
        ("/log/tile/0/0", None, 404),
        ("/log/tile/1/000.p/1", None, 404),
        ("/log/tile/0/..%2f..%2fcheckpoint", None, 404),
        ("/log/tile/63/x999/x999/x999/999", None, 404),
    ],
)
def test_who_reads_which_tile(served: Server, path: str, agency: str | None, status: int) -> None:
    published(served, 20)
    assert get(served, path, agency).status_code == status


def test_each_witness_shows_what_it_cosigned(served: Server) -> None:
    checkpoint = published(served, 1)
    origin = hashlib.sha256(checkpoint.origin.encode()).hexdigest()
    for party in ("xk", "me", "al"):
        answer = get(served, f"/witness/{party}/{origin}/checkpoint")
        assert Checkpoint.parse(Note.parse(answer.text).text).size >= checkpoint.size
    assert get(served, f"/witness/de/{origin}/checkpoint").status_code == 404
    assert get(served, f"/witness/xk/{'0' * 64}/checkpoint").status_code == 404
    for body, status in ((b"nonsense", 400), (b"old 0\n\n" + b"a\n0\nb\n\n", 400)):
        sent = httpx.post(f"{served.url}/witness/xk/add-checkpoint", content=body)
        assert sent.status_code == status
    assert httpx.get(f"{served.url}/ready").json()["published"] >= checkpoint.size
