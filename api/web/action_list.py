"""The list of an agency's actions on a case: by stage, the possible ones before the others."""

from collections.abc import Mapping
from dataclasses import dataclass

from api.web.refusal_text import reason
from api.web.rendering import Words
from ledger.procedure.available_actions import Offer
from ledger.vocabulary import CASE_ACTIONS
from ledger.vocabulary.picklists import Stage


@dataclass(frozen=True, slots=True)
class StageActions:
    """The actions of one stage, in the order of the offers."""

    stage: Stage
    possible: tuple[str, ...]
    """Kinds of actions that the rules accept now."""
    impossible: tuple[tuple[str, str], ...]
    """The other kinds, each with the reason in words."""


def by_stage(offers: Mapping[str, Offer], words: Words) -> tuple[StageActions, ...]:
    """Return the actions of each stage that has any."""
    stages = (_of_stage(stage, offers, words) for stage in Stage)
    return tuple(one for one in stages if one.possible or one.impossible)


def _of_stage(stage: Stage, offers: Mapping[str, Offer], words: Words) -> StageActions:
    own = [(kind, one) for kind, one in offers.items() if CASE_ACTIONS[kind].stage is stage]
    return StageActions(
        stage=stage,
        possible=tuple(kind for kind, one in own if one.refusal is None),
        impossible=tuple((kind, reason(one.refusal, words)) for kind, one in own if one.refusal),
    )
