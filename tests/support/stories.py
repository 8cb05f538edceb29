"""Cases with beginnings and ends, for views to count: told at random, the same for a seed."""

from datetime import timedelta
from random import Random
from uuid import UUID

from ledger.vocabulary import Action
from ledger.vocabulary.coordination import CaseClosed, CaseReopened, Correction
from ledger.vocabulary.identification import CaseOpened, VictimIdentified
from ledger.vocabulary.protection import RiskAssessed, ServiceStarted
from ledger.vocabulary.return_and_inclusion import Departed, Received, ReturnDecided
from tests.support.recorded import BEGAN, MemoryLedger

_COUNTRIES = ("XK", "ME", "AL")
_POLICE = {"XK": "xk-dhtqnj", "ME": "me-nac", "AL": "al-nac"}


def tell(ledger: MemoryLedger, random: Random, cases: int) -> None:
    """Record the next step of a random case, until so many have come to their ends."""
    told = [_story(random) for _ in range(cases)]
    ids = [UUID(int=random.getrandbits(128), version=4) for _ in range(cases)]
    done: list[list[UUID]] = [[] for _ in range(cases)]
    open_ones = list(range(cases))
    while open_ones:
        at = random.choice(open_ones)
        agency, action = told[at].pop(0)
        if isinstance(action, Correction):
            action = action.model_copy(update={"corrects": random.choice(done[at])})
        done[at].append(ledger.take(agency, action, ids[at]).action.id)
        if not told[at]:
            open_ones.remove(at)


def _story(random: Random) -> list[tuple[str, Action]]:
    home, abroad = random.sample(_COUNTRIES, 2)
    ours, theirs = _POLICE[home], _POLICE[abroad]
    at = BEGAN + timedelta(days=random.randrange(700), hours=random.randrange(24))
    steps: list[tuple[str, Action]] = [
        (ours, CaseOpened(acted_at=at, age_group=random.choice(("child", "adult")),
            countries=(home, abroad) if random.random() < 0.7 else (home,),
            ground="police_action", indicators=("unaccompanied_child",))),
    ]  # fmt: skip

    def later(agency: str, model: type[Action], chance: float, **fields: object) -> None:
        nonlocal at
        at += timedelta(hours=random.randrange(1, 300))
        if random.random() < chance:
            steps.append((agency, model(acted_at=at, **fields)))

    later(ours, RiskAssessed, 0.5, risk_level="high")
    later(ours, VictimIdentified, 0.8, status="ActualVictimOfTrafficking", decided_by="Police",
        types_of_exploitation=("ForcedBegging",))  # fmt: skip
    later(ours, ServiceStarted, 0.6, service="medical", provider=ours)
    later(ours, ReturnDecided, 0.5, destination=abroad, receiving_agency=theirs)
    later(ours, Departed, 0.5, escort="police")
    later(theirs, Received, 0.5, in_person=True)
    later(ours, Correction, 0.3, corrects=UUID(int=0), effect="annulled", reason="entry_error")
    later(ours, CaseClosed, 0.4, reason=random.choice(("lost_contact", "referred")))
    later(ours, CaseReopened, 0.2, reason="new_information")
    later(ours, Correction, 0.2, corrects=UUID(int=0), effect="clarified", reason="entry_error")
    return steps
