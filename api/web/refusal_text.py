"""The reason for a refusal, in the reader's language."""

import re

from api.paper import protocol_changes, rule_text
from api.web.rendering import Words
from ledger.procedure.condition_checks import CONDITION
from ledger.refusals import Refusal

_MARKED = re.compile(r"`([^`]*)`")


def reason(refusal: Refusal, words: Words) -> str:
    """Return a refusal in words, in English if the language has none for it.

    The heading above it says that the action is not possible; the reason does not say it again.
    """
    return reason_of_rule(refusal.rule, words) or quoted(refusal.message)


def quoted(message: str) -> str:
    """Return a message whose names are in quotation marks, as pages write them.

    Messages are for terminals too, which mark names with backticks.
    """
    return _MARKED.sub("“\\1”", message)


def reason_of_rule(rule: str, words: Words) -> str | None:
    """Return why a rule refuses; ``None`` if no text says it."""
    for head, text in (
        ("requires-", "why.requires"),
        ("one-of-", "why.one_of"),
        ("not-while-", "why.not_while"),
        ("safeguard-", "why.safeguard"),
    ):
        if rule.startswith(head):
            return words.texts.text(text, fact=fact(rule.removeprefix(head), words))
    if (told := condition(rule, words)) is not None:
        return told
    return words.texts.find(f"why.{rule}")


def condition(rule: str, words: Words) -> str | None:
    """Return why a condition of the protocol in force forbids an action; ``None``: it has none."""
    name, protocol = rule.removeprefix(CONDITION), words.things.protocol
    if not rule.startswith(CONDITION) or protocol is None or name not in protocol.conditions:
        return None
    kinds = (kind for kind, one in protocol.actions.items() if name in one.conditions)
    kind = next(kinds, None)
    if kind is None:
        return None
    return rule_text.condition_sentence(name, kind, protocol, words.things)


def fact(name: str, words: Words) -> str:
    """Return a fact of a case in words, by the action that establishes it."""
    return protocol_changes.fact(name, words.things)
