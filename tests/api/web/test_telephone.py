"""Telephone numbers in local writing."""

import pytest

from api.web.telephone import Telephone, read_telephone


@pytest.mark.parametrize(
    ("typed", "country", "number", "of"),
    [
        ("044 100 200", "XK", "+383 44 100 200", "XK"),
        ("044/100-200", "XK", "+383 44 100 200", "XK"),
        ("00383 44 100 200", "ME", "+383 44 100 200", "XK"),
        ("067 123 456", "ME", "+382 67 123 456", "ME"),
        ("+382 67 123 456", "XK", "+382 67 123 456", "ME"),
        ("069 20 12345", "AL", "+355 69 201 2345", "AL"),
        ("(201) 555-0123", "US", "+1 201 555 0123", "US"),
    ],
)
def test_local_writing_is_read_by_the_country_of_the_reader(
    typed: str, country: str, number: str, of: str
) -> None:
    assert read_telephone(typed, country) == Telephone(number, of)


@pytest.mark.parametrize("typed", ["112", "ask the mother", "", "+383 44 100", "0" * 60, "+"])
def test_a_text_that_is_no_number_is_refused(typed: str) -> None:
    assert read_telephone(typed, "XK") is None
