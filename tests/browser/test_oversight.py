"""Oversight: replay, the filtered trail, and a browser that finds out a server that tampers."""

import base64
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from api.demo.story import STORY
from ledger.log.merkle import Tree, leaf_hash, node_hash
from ledger.vocabulary.protection import RiskAssessed
from tests.browser.conftest import SECONDS, Person
from tests.support.serving import Server
from tests.support.story import Told

OMBUDSPERSON = "xk-ombudsperson"
People = Callable[[str], Person]


@pytest.fixture
def watcher(person: People) -> Person:
    return person(OMBUDSPERSON)


def grow(node: Server, story: Told) -> None:
    """One more event, published."""
    with node.client("xk-dhtqnj") as police:
        version = police.case(story.cases["B"]).view.version
        receipt = police.append(
            RiskAssessed(acted_at=datetime.now(UTC), risk_level="high"), story.cases["B"], version
        )
        published = 0
        while published < receipt.position:
            published = police.ready().published


def verify(page: Page) -> str:
    """Press the button, and give what it says."""
    page.get_by_role("button", name="Verify now").click()
    expect(page.locator("#verify:enabled")).to_be_visible(timeout=SECONDS)
    return page.locator("#verify-said").inner_text()


def test_replay_shows_what_was_known_after_each_action(watcher: Person, story: Told) -> None:
    page = watcher.goto(f"/cases/{story.cases['A']}/replay")
    expect(page.locator("#moment")).to_contain_text("Return and social inclusion")
    page.locator("#version").focus()
    page.locator("#version").evaluate(
        "one => { one.value = 3; one.dispatchEvent(new Event('input', { bubbles: true })) }"
    )
    expect(page.locator("#moment")).to_contain_text("After 3 of")
    expect(page.locator("#moment svg .dot")).to_have_count(3)
    expect(page.locator("#moment dl")).to_contain_text("First assistance and protection")
    watcher.sees_no_barrier()
    watcher.picture("replay")
    medical = [step.name for step in STORY if step.case == "A"].index("A.medical") + 1
    watcher.goto(f"/cases/{story.cases['A']}/replay?version={medical}")
    expect(page.locator("#moment .note")).to_contain_text("Service started: Medical")
    last = page.locator("#moment svg title").last
    expect(last).to_contain_text(f"{medical}. Service started: Medical")


def test_the_trail_is_filtered(watcher: Person, story: Told) -> None:
    page = watcher.goto(f"/cases/{story.cases['A']}/trail")
    watcher.sees_no_barrier()
    page.get_by_label("Country").select_option("ME")
    page.get_by_label("Kind").select_option("received")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text("Valid")
    watcher.picture("trail")


def test_oversight_opens_no_personal_field(watcher: Person, story: Told) -> None:
    page = watcher.goto(f"/cases/{story.cases['A']}/personal")
    expect(page.locator("main")).to_contain_text("Your role never opens personal data")
    assert page.locator("form[action*=personal]").count() == 0
    watcher.sees_no_barrier()


def test_the_browser_proves_that_the_case_is_in_the_log(
    watcher: Person, story: Told, node: Server
) -> None:
    grow(node, story)
    page = watcher.goto(f"/cases/{story.cases['A']}/verify")
    said = verify(page)
    shown = page.locator("[data-where^='trail.']").count()
    assert shown >= story.versions["A"]
    assert f"all {shown} actions shown are in the log" in said
    assert "the keys are pinned now" in said
    watcher.sees_no_barrier()
    watcher.picture("verify")
    grow(node, story)
    page = watcher.goto("/verify")
    said = verify(page)
    assert re.search(r"Nothing of the \d+ events that this browser saw before was changed", said)
    watcher.sees_no_barrier()


def tampered(page: Page, where: str, change: Callable[[bytes], bytes]) -> None:
    """From now on, what the server answers there is changed on its way."""

    def answer(route: Route) -> None:
        told = route.fetch()
        route.fulfill(response=told, body=change(told.body()))

    page.route(where, answer)


def of_another_time(proof: bytes) -> bytes:
    """A receipt whose event says that it was recorded at another time."""
    lines = proof.decode().split("\n")
    entry = base64.b64decode(lines[1].removeprefix("extra "))
    changed = re.sub(rb'"recorded_at":"2', b'"recorded_at":"3', entry)
    assert changed != entry
    lines[1] = "extra " + base64.b64encode(changed).decode()
    return "\n".join(lines).encode()


def longer(checkpoint: bytes) -> bytes:
    """A checkpoint of more events, under the signatures of another."""
    lines = checkpoint.decode().split("\n")
    lines[1] = str(int(lines[1]) + 1)
    return "\n".join(lines).encode()


def unwitnessed(note: bytes) -> bytes:
    """A note with one cosignature of three, of which two are a quorum."""
    gone = (b"witness-al", b"witness-me")
    return b"\n".join(line for line in note.split(b"\n") if not any(w in line for w in gone))


def flipped(tile: bytes) -> bytes:
    return bytes([tile[0] ^ 1]) + tile[1:]


def other_keys(policy: bytes) -> bytes:
    return policy.replace(b"quorum parties", b"quorum none")


def shown_otherwise(page: bytes) -> bytes:
    changed = page.replace(b'"kind": "sheltered"', b'"kind": "shelter_left"')
    assert changed != page
    return changed


LIES = {
    "changed event": (
        "**/log/proof/*",
        of_another_time,
        "is not in the log as the server gives it",
    ),
    "forged checkpoint": ("**/log/checkpoint", longer, "missing or false"),
    "missing witnesses": ("**/log/checkpoint", unwitnessed, "missing or false"),
    "receipt without witnesses": ("**/log/proof/*", unwitnessed, "missing or false"),
    "rewritten past": ("**/log/tile/**", flipped, "the past was changed"),
    "other keys": ("**/log/policy", other_keys, "other keys than those pinned"),
    "page that says otherwise": ("**/verify", shown_otherwise, "Signed: sheltered"),
    "unreadable proof": ("**/log/proof/*", lambda _: b"nonsense", "nothing is proved"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_server_that_tampers_is_found_out(
    watcher: Person, story: Told, node: Server, lie: str
) -> None:
    where, change, said = LIES[lie]
    if lie == "rewritten past":  # at a power of two, no proof needs the hash that is changed
        with node.client("xk-dhtqnj") as police:
            if (size := police.ready().published) & (size - 1) == 0:
                grow(node, story)
    page = watcher.goto("/verify")
    verify(page)
    if lie == "rewritten past":
        grow(node, story)
    tampered(page, where, change)
    page.goto(f"{node.url}/cases/{story.cases['A']}/verify")
    try:
        told = verify(page)
        assert told.startswith("This does not hold.") or "nothing is proved" in told
        assert said in told
        if lie == "forged checkpoint":
            watcher.picture("verify-forged")
    finally:
        page.unroute_all(behavior="wait")
    if lie == "rewritten past":  # what failed moved no pin: the truth holds again
        page.reload()
        assert verify(page).startswith("Proved")


def test_a_log_that_was_rolled_back_is_found_out(
    watcher: Person, story: Told, node: Server
) -> None:
    page = watcher.goto("/verify")
    verify(page)
    before = page.request.get(f"{node.url}/log/checkpoint").body()
    grow(node, story)
    assert verify(page).startswith("Proved")
    tampered(page, "**/log/checkpoint", lambda _: before)
    assert "shorter than this browser saw it before" in verify(page)
    page.unroute_all()


def tiles(leaves: list[bytes]) -> dict[str, list[bytes]]:
    """The hashes of each tile level of a tree."""
    levels, current = {"0": leaves}, leaves
    for level in (1, 2):
        above = []
        for start in range(0, len(current) // 256 * 256, 256):
            hashes = current[start : start + 256]
            while len(hashes) > 1:
                hashes = [node_hash(a, b) for a, b in zip(hashes[::2], hashes[1::2], strict=True)]
            above += hashes
        levels[str(level)] = current = above
    return levels


def test_proofs_are_those_of_the_ledger(watcher: Person) -> None:
    """Each proof that Python makes holds in the browser, and what the browser makes is the same."""
    leaves = [leaf_hash(str(n).encode()) for n in range(700)]
    levels = tiles(leaves)

    def read(level: int, start: int, count: int) -> list[bytes]:
        return levels[str(level)][start : start + count]

    def b64(hashes: Any) -> list[str]:
        return [base64.b64encode(h).decode() for h in hashes]

    sizes = [*range(1, 10), 255, 256, 257, 511, 513, 700]
    tree = Tree(700, read)
    roots = {size: b64([tree.root(size)])[0] for size in sizes}
    pairs = [(m, n, b64(tree.consistency(m, n))) for n in sizes for m in sizes if m <= n]
    paths = [(i, n, b64(tree.inclusion(i, n))) for n in sizes for i in {0, n // 2, n - 1}]
    page = watcher.goto("/verify")
    modules = page.locator("script[type=module]").first.get_attribute("src")
    assert modules is not None
    wrong = page.evaluate(
        """async ([at, levels, leaves, roots, pairs, paths]) => {
            const { continues, includes, Tiles } = await import(`${at}/merkle.js`);
            const { fromBase64, base64, concat } = await import(`${at}/bytes.js`);
            const root = (size) => fromBase64(roots[size]);
            const wrong = [];
            for (const [older, newer, path] of pairs) {
                const [first, second] = [{ size: older, root: root(older) },
                                         { size: newer, root: root(newer) }];
                const proof = path.map(fromBase64);
                if (!(await continues(first, second, proof))) wrong.push(["holds", older, newer]);
                const other = { size: newer, root: root(newer === 1 ? 2 : 1) };
                if (await continues(first, other, proof)) wrong.push(["other", older, newer]);
                if (await continues(first, second, [...proof, root(1)]))
                    wrong.push(["longer", older, newer]);
                const tiles = new Tiles(newer, async (path) => {
                    const [, level, name] = /^tile\\/(\\d)\\/(.*)$/.exec(path);
                    const start = Number(name.slice(0, 3)) * 256;
                    const width = Number(/p\\/(\\d+)$/.exec(name)?.[1] ?? 256);
                    return concat(...levels[level].slice(start, start + width).map(fromBase64));
                });
                const made = (await tiles.consistency(older)).map(base64);
                if (String(made) !== String(path)) wrong.push(["made", older, newer]);
            }
            for (const [index, size, path] of paths) {
                const proof = path.map(fromBase64);
                const leaf = fromBase64(leaves[index]);
                if (!(await includes(leaf, index, size, proof, root(size))))
                    wrong.push(["in", index, size]);
                const other = fromBase64(leaves[index + 1] ?? leaves[0]);
                if (await includes(other, index, size, proof, root(size)))
                    wrong.push(["not in", index, size]);
            }
            return wrong;
        }""",
        [
            modules.rsplit("/", 1)[0], {k: b64(v) for k, v in levels.items()}, b64(leaves),
            {str(k): v for k, v in roots.items()}, pairs, paths,
        ],
    )  # fmt: skip
    assert wrong == []
