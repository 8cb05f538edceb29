"""The namings of case managers that were replaced."""

from datetime import timedelta
from uuid import UUID

from ledger.procedure.replaced_managers import replaced_managers
from ledger.vocabulary.coordination import CaseManagerNamed, Correction
from tests.support.actions import START
from tests.support.agencies import Agencies
from tests.support.several_cases import SeveralCases


def test_a_countrys_next_naming_replaces_the_one_before_for_good(agencies: Agencies) -> None:
    world = SeveralCases(agencies)
    case_id = world.opened("xk-dhtqnj", ("XK", "ME"))
    hours = iter(range(1, 20))

    def named(agency: str) -> UUID:
        manager = CaseManagerNamed(
            acted_at=START + timedelta(hours=next(hours)),
            full_name="zqName",
            function="Social worker",
            institution="Centre for social work",
            telephone_24h="+383 44 100 200",
            languages=("sqi",),
        )
        return world.take(agency, manager, case_id)

    def replaced() -> dict[UUID, UUID]:
        return {**replaced_managers(world.acts(case_id), agencies.protocol)}

    first, theirs = named("xk-csw-peja"), named("me-csw-podgorica")
    assert replaced() == {}
    second = named("xk-nac")  # another agency of the same country
    assert replaced() == {first: second}
    annulled = Correction(
        acted_at=START + timedelta(hours=next(hours)),
        corrects=second,
        effect="annulled",
        reason="entry_error",
    )
    world.take("xk-nac", annulled, case_id)
    assert replaced() == {first: second}
    third = named("xk-csw-peja")
    assert replaced() == {first: second, second: third}
    assert world.cases[case_id].unread(agencies.protocol) == {first, second}
    assert theirs not in world.cases[case_id].unread(agencies.protocol)
