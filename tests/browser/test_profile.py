"""The whole profile of Chromium, on disk, after documents were looked at and saved on pages."""

import secrets
from pathlib import Path

from playwright.sync_api import Playwright, expect

from ledger.vocabulary.picklists import DocumentKind, Purpose
from tests.browser.conftest import ARGUMENTS, CHROMIUM, SECONDS, SHELL, Person
from tests.support.actions import opening
from tests.support.browser_profile import files_with
from tests.support.document_work import MARKER, paper
from tests.support.serving import Server

POLICE = "xk-dhtqnj"
NAME, TITLE = secrets.token_hex(9), secrets.token_hex(9)
"""Random words: databases that compress have no part of one from another."""
CACHED = b"RFC 7638 thumbprint of an Ed25519"
"""Words of a script that browsers may keep: where they are found, the whole cache is searched."""


def test_what_was_typed_and_opened_is_nowhere_in_the_profile(
    playwright: Playwright, node: Server, tmp_path: Path
) -> None:
    (file := tmp_path / "paper.pdf").write_bytes(paper(20_000))
    with node.client(POLICE) as client:
        case = client.open_case(opening()).case_id
        added = client.add_document(
            case, 1, file, kind=DocumentKind.REPORT, title=TITLE, group=None
        )
        client.case(case, at_least=added.position)
        preview = client.preview(case, added.action_id, purpose=Purpose.PROTECTION)
    context = playwright.chromium.launch_persistent_context(
        tmp_path / "profile",
        executable_path=SHELL if SHELL.exists() else CHROMIUM,
        args=ARGUMENTS,
        locale="en-GB",
        downloads_path=tmp_path / "downloads",
    )
    context.set_default_timeout(SECONDS)
    police = Person(POLICE, node, context, context.new_page())
    police.watch()
    police.sign_in()
    page = police.goto(f"/cases/{case}/act/risk_assessed")
    page.locator("#f-risk_level").select_option("high")
    page.locator("#f-threats").fill(NAME)
    page.wait_for_load_state("load")
    page = police.goto(f"/cases/{case}/documents")
    expect(page.locator("main")).to_contain_text(TITLE)
    page.select_option("#open-purpose", "protection")
    page.get_by_role("button", name="View").click()
    expect(page.locator("#preview-page")).to_contain_text("Page 1 of")
    for name in ("Download", "Signed original"):
        with page.expect_download() as coming:
            page.get_by_role("button", name=name).click()
        assert coming.value.path().stat().st_size > 0
    context.close()
    assert police.complaints == []
    assert files_with(tmp_path / "profile", [CACHED]) != []
    picture = preview.picture[len(preview.picture) // 2 :][:24]
    sought = [MARKER, picture, NAME.encode(), TITLE.encode()]
    assert files_with(tmp_path / "profile", sought) == []
