"""The parts of a person's file: each has the fields of one group that this country recorded."""

from api.paper.subject_access.parts import parts
from ledger.vocabulary.levels import FieldGroup
from tests.api.test_subject_access import story


def test_each_part_has_one_group_and_nothing_of_another_country() -> None:
    file = story("en")
    made = dict(parts(file))
    assert None in made
    assert len(made) > 3
    for group, part in made.items():
        assert {(one.group, one.received_from) for one in part.held} <= {(group, None)}
        assert bool(part.trail) is (group is None)
        assert part.accesses == ()
    own = [one for one in file.held if one.received_from is None]
    assert sorted(map(repr, own)) == sorted(
        repr(one) for part in made.values() for one in part.held
    )
    assert {one.group for one in own} - {None} == set(made) & set(FieldGroup)
    assert any(one.received_from for one in file.held)
