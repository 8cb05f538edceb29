"""A protocol file is parsed once; a changed file is read again."""

import json
from importlib import resources
from pathlib import Path

import pytest

from ledger.procedure.amendments import text_of
from ledger.procedure.protocol import load_protocol, protocol_from, shipped_protocol
from tests.support.agencies import Agencies, adopted_protocol


def test_an_unchanged_protocol_is_parsed_once() -> None:
    assert shipped_protocol() is shipped_protocol()


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    shipped = resources.files("ledger.procedure") / "protocols" / "kosovo-montenegro-albania.toml"
    text = shipped.read_text(encoding="utf-8")
    file = tmp_path / "protocol.toml"
    file.write_text(text)
    before = load_protocol(file)
    file.write_text(text.replace(f'id = "{before.id}"', 'id = "another"', 1))
    assert load_protocol(file).id == "another"
    file.write_text("parties = [")
    with pytest.raises(ValueError, match=str(file)):
        load_protocol(file)


def test_a_copy_of_the_protocol_has_properties_of_its_own() -> None:
    shipped = shipped_protocol()
    one = shipped.agencies_by_id[shipped.agencies[0].id]
    renamed = one.model_copy(update={"id": "xk-another"})
    copied = shipped.model_copy(update={"agencies": (*shipped.agencies, renamed)})
    assert copied.agencies_by_id["xk-another"] == renamed
    assert "xk-another" not in shipped.agencies_by_id


def test_a_text_is_read_in_json_and_in_toml() -> None:
    shipped = resources.files("ledger.procedure") / "protocols" / "kosovo-montenegro-albania.toml"
    assert protocol_from(shipped.read_text(encoding="utf-8")) == shipped_protocol()
    assert protocol_from(f" {json.dumps(text_of(shipped_protocol()))}") == shipped_protocol()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "Expecting"),
        ("parties = [", "Invalid value"),
        ('{"a":' + "[" * 100_000, "nested too deeply"),
        ("a = " + "[" * 100_000, "nested too deeply"),
        (json.dumps(text_of(shipped_protocol()) | {"edition": 99}), "update this program"),
        (json.dumps(text_of(shipped_protocol()) | {"actions": {}}), "no action establishes"),
    ],
)
def test_a_text_that_does_not_hold_says_why(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        protocol_from(text)


def test_the_shipped_text_fits_into_one_signed_action() -> None:
    for protocol in (shipped_protocol(), adopted_protocol()):
        adoption = Agencies(protocol).adoption().without_disclosures()
        assert len(adoption) < 65_435
