"""The page that writes a map for the import of existing cases from a file's head."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.conftest import Person
from tests.support.messy_files import messy_files

People = Callable[[str], Person]


def test_a_map_is_suggested_looked_at_corrected_and_saved(person: People, tmp_path: Path) -> None:
    files = {one.name: one.content for one in messy_files()}
    worker = person("xk-dhtqnj")
    worker.expected = re.compile("422")
    page = worker.goto("/import-map")
    page.get_by_role("button", name="Read the file").click()
    expect(page.get_by_role("alert")).to_have_text("Choose a file first.")
    page.locator("#file").set_input_files(
        {"name": "cp1250.csv", "mimeType": "text/csv", "buffer": files["cp1250.csv"]}
    )
    page.get_by_role("button", name="Read the file").click()
    rows = page.locator("#persons tbody tr")
    expect(rows).to_have_count(3)
    expect(page.locator("[data-part=encoding]")).to_have_text("cp1250")
    expect(page.locator("[data-part=sheet]")).to_be_hidden()
    expect(rows.first).to_contain_text("Šćepanović")
    worker.sees_no_barrier()
    worker.pictures("import-map")
    suggested = page.locator("#map").input_value()
    assert tomllib.loads(suggested)["encoding"] == "cp1250"
    assert "Šćepanović" not in suggested

    page.locator("#map").fill(suggested.replace("cp1250", "iso8859-5"))
    page.get_by_role("button", name="Try it on the file").click()
    expect(page.locator("#trouble")).to_contain_text("The file cannot be read.")
    page.locator("#map").fill("encoding = [")
    page.get_by_role("button", name="Try it on the file").click()
    expect(page.locator("#trouble")).to_contain_text("The map has a mistake.")
    page.locator("#map").fill(suggested)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save the map").click()
    saved.value.save_as(tmp_path / "map.toml")
    assert (tmp_path / "map.toml").read_text(encoding="utf-8") == suggested

    page.locator("#file").set_input_files(
        {"name": "titles.xlsx", "mimeType": "application/zip", "buffer": files["titles.xlsx"]}
    )
    page.get_by_role("button", name="Read the file").click()
    expect(page.locator("[data-part=sheet]")).to_have_text("Slučajevi")
    expect(rows).to_have_count(3)
    page.locator("#file").set_input_files(
        {"name": "none.xlsx", "mimeType": "application/zip", "buffer": b"PK none"}
    )
    page.get_by_role("button", name="Read the file").click()
    expect(page.locator("#trouble")).to_contain_text("The file cannot be read.")
    assert worker.complained() == []
