"""Why something is not possible now, in the reader's language."""

from api.paper import protocol_changes
from api.web.rendering import Words
from ledger.refusals import Refusal


def reason(refusal: Refusal, words: Words) -> str:
    """Return a refusal in words, in English if the language has none for it."""
    rule = refusal.rule
    for head, text in (
        ("requires-", "why.requires"),
        ("not-while-", "why.not_while"),
        ("safeguard-", "why.safeguard"),
    ):
        if rule.startswith(head):
            return words.texts.text(text, fact=fact(rule.removeprefix(head), words))
    return words.texts.find(f"why.{rule}") or refusal.message


def fact(name: str, words: Words) -> str:
    """Return a fact of a case in words, by the action that establishes it."""
    return protocol_changes.fact(name, words.things)
