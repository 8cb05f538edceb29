"""Why something is not possible now, in the reader's language."""

from api.web.rendering import Words
from ledger.refusals import Refusal
from ledger.vocabulary import CASE_ACTIONS
from ledger.vocabulary.picklists import ConsentScope


def reason(refusal: Refusal, words: Words) -> str:
    """A refusal in words; in English where there are none of its own."""
    rule = refusal.rule
    for head, text in (("requires-", "why.requires"), ("not-while-", "why.not_while")):
        if rule.startswith(head):
            return words.texts.text(text, fact=fact(rule.removeprefix(head), words))
    return words.texts.find(f"why.{rule}") or refusal.message


def fact(name: str, words: Words) -> str:
    """What holds of a case, by the action that establishes it."""
    if name in CASE_ACTIONS:
        return words.things.kind(name)
    head, _, scope = name.partition("_")
    if head == "consent" and scope in set(ConsentScope):
        return f"{words.things.kind('consent_given')}: {words.things.picked(ConsentScope(scope))}"
    return name
