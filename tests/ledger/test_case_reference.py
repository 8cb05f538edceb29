"""A case has a reference that people can say; a wrong or exchanged character is noticed."""

from itertools import combinations
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.vocabulary.case_reference import ALPHABET, case_reference, read_reference


@pytest.mark.parametrize(
    ("case_id", "reference"),
    [
        ("00000000-0000-0000-0000-000000000000", "AMH-RWA-C3X"),
        ("0b6ff5ce-6df1-4e8c-9f0e-6e9a3d1f7d44", "TYB-2WM-5FN"),
        ("ffffffff-ffff-ffff-ffff-ffffffffffff", "G7B-AP6-XQF"),
    ],
)
def test_every_program_derives_the_same(case_id: str, reference: str) -> None:
    assert case_reference(UUID(case_id)) == reference


@given(st.uuids())
def test_what_is_typed_in_another_way_is_the_same(case_id: UUID) -> None:
    reference = case_reference(case_id)
    for typed in (
        reference.lower(),
        reference.replace("-", " "),
        f" {reference.replace('-', '')} ",
    ):
        assert read_reference(typed) == reference


@given(st.uuids())
def test_a_wrong_character_and_two_that_were_exchanged_are_noticed(case_id: UUID) -> None:
    characters = case_reference(case_id).replace("-", "")
    wrong = {
        characters[:place] + other + characters[place + 1 :]
        for place in range(len(characters))
        for other in ALPHABET
    }
    for one, two in combinations(range(len(characters)), 2):
        exchanged = list(characters)
        exchanged[one], exchanged[two] = exchanged[two], exchanged[one]
        wrong.add("".join(exchanged))
    for text in wrong - {characters}:
        with pytest.raises(ValueError, match="is wrong; compare it again"):
            read_reference(text)


@pytest.mark.parametrize(
    ("text", "message"), [("K7Q-F3M", "has 9 characters"), ("K7Q-F3M-9X0", "has the character 0")]
)
def test_what_is_no_reference_is_told(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_reference(text)
