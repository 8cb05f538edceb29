"""Existing cases as an agency's own system has them: rows of HTCDS, with invented people."""

import csv
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from ledger.vocabulary import picklists as lists

OPENED = "case_opened.acted_at"
IDENTIFIED = "victim_identified.acted_at"

MAP = """
[defaults]
"case_opened.ground" = "referral_from_abroad"
"not_a_victim.ground" = "indicators_not_confirmed"

[columns]
vic_TypeOfExploitation = ["vic_TypeOfExploitation", "case_opened.indicators"]
found_on = "case_opened.acted_at"
decided_on = "victim_identified.acted_at"

[values."case_opened.indicators"]
ForcedBegging = "begging_in_the_street"
ForcedMarriage = "early_or_arranged_marriage"
ForcedLabour = "debt_or_unpaid_work"
ChildLabour = "out_of_school"
"""
_EXPLOITATION = ("ForcedBegging", "ForcedMarriage", "ForcedLabour", "ChildLabour")


def mark(dice: random.Random) -> str:
    """A text that can be recognised wherever it turns up."""
    return f"zq{dice.randbytes(8).hex()}"


def row(dice: random.Random) -> dict[str, str]:
    """A row that :data:`MAP` makes acceptable for a coordinator."""
    found = date(2019, 1, 1) + timedelta(days=dice.randrange(1500))
    made = {
        "found_on": found.isoformat(),
        "case_opened.age_group": "child",
        "prs_FirstName": mark(dice),
        "prs_SecondName": mark(dice),
        "prs_Birthdate": f"{found.year - dice.randrange(5, 15)}-{dice.randrange(1, 13):02}-11",
        "prs_Gender": dice.choice(list(lists.Gender)),
        "prs_Citizenship": dice.choice(("XK", "ME", "AL", "XK;AL")),
        "prs_IdentityNumber": mark(dice),
        "prs_MobilePhone": f"+999 {dice.randrange(10**11, 10**12)}",
        "prs_MailingStreet": f"{mark(dice)}, 12",
        "prs_MailingCity": mark(dice),
        "vic_TypeOfExploitation": ";".join(
            dice.sample(_EXPLOITATION, dice.randrange(1, len(_EXPLOITATION)))
        ),
        "decided_on": (found + timedelta(days=dice.randrange(30))).isoformat(),
        "vic_TraffickingStatus": dice.choice(
            ("PossibleVictimOfTrafficking", "ActualVictimOfTrafficking")
        ),
        "vic_TraffickingStatusDecisionMakingOrg": dice.choice(list(lists.DecisionMakingOrg)),
    }
    if dice.random() < 0.6:
        made |= {
            "vic_MethodsOfControl": ";".join(dice.sample(list(lists.MethodOfControl), 3)),
            "vic_AgeWhenTrafficked": str(dice.randrange(5, 17)),
            "hte_Description": f'{mark(dice)}\nshe said "no", twice',
            "hte_City": mark(dice),
        }
    if dice.random() < 0.5:
        started = found + timedelta(days=40)
        made |= {
            "service_started.acted_at": started.isoformat(),
            "service_started.service": "psychosocial",
            "service_started.provider": "xk-csw-prishtina",
            "service_started.health_note": mark(dice),
        }
        if dice.random() < 0.5:
            made |= {
                "service_ended.acted_at": (started + timedelta(days=90)).isoformat(),
                "service_ended.reason": "completed",
            }
    if dice.random() < 0.4:
        made |= {
            "spl_Type": "Health;Education",
            "spl_ActionPlan": mark(dice),
            "reintegration_planned.acted_at": (found + timedelta(days=60)).isoformat(),
        }
    if dice.random() < 0.4:
        made |= {
            "cas_Status": "Closed",
            "cas_ReasonForCaseClosure": mark(dice),
            "case_closed.reason": "lost_contact",
            "case_closed.acted_at": (found + timedelta(days=400)).isoformat(),
        }
    return made


def rows(number: int, seed: int = 0) -> list[dict[str, str]]:
    """So many rows, the same for the same seed."""
    dice = random.Random(seed)
    return [row(dice) for _ in range(number)]


def write_csv(path: Path, content: Iterable[Mapping[str, str]]) -> Path:
    """A CSV whose columns are all that any row has."""
    made = list(content)
    columns: Sequence[str] = list(dict.fromkeys(name for one in made for name in one))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(made)
    return path


def write_json_lines(path: Path, content: Iterable[Mapping[str, Any]]) -> Path:
    """One object a line."""
    path.write_text("".join(json.dumps(one) + "\n" for one in content), encoding="utf-8")
    return path


def write_map(path: Path) -> Path:
    """The map that goes with :func:`rows`."""
    path.write_text(MAP, encoding="utf-8")
    return path
