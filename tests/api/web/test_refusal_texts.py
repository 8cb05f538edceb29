"""Each refusal of the rules that a page can receive is said in the language of the page."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock

import pytest

from api.paper.languages.found import shipped
from api.paper.subject_access.wording import wording
from api.web.refusal_text import condition, reason
from api.web.rendering import Words
from api.web.texts import texts
from ledger.procedure.condition_checks import CONDITION
from ledger.procedure.protocol import shipped_protocol
from ledger.refusals import Ground, Refusal

ROOT = Path(__file__).parents[3]
DECIDING = (
    *sorted((ROOT / "ledger" / "procedure").rglob("*.py")),
    *sorted((ROOT / "ledger" / "signing").glob("*.py")),
    ROOT / "ledger" / "application.py",
    ROOT / "ledger" / "refusals.py",
    ROOT / "api" / "http" / "access.py",
    ROOT / "api" / "services" / "append_service.py",
)
"""The files that refuse what a signed-in person does."""
OF_NODES_AND_PROGRAMS = frozenset(
    {
        "already-anchored",
        "assertion-missing",
        "disclosures-stay",
        "two-credentials",
    }
)
"""Refusals of requests that no page makes."""
HEADS = {
    "requires-": ("requires-case_opened",),
    "one-of-": ("one-of-victim_identified",),
    "not-while-": ("not-while-case_closed",),
    "safeguard-": ("safeguard-guardian_appointed",),
    "no-such-": ("no-such-service", "no-such-measure"),
    "own-": ("own-service", "own-measure"),
    "unconfirmed-": (
        "unconfirmed-adult-by-birthdate",
        "unconfirmed-child-by-birthdate",
        "unconfirmed-older-than-100",
    ),
}
"""The rules with a part that is put in, by how they begin."""


SHARED_MAKERS = ROOT / "ledger" / "refusals.py"
"""The file of the functions that make refusals for all rules."""


def makers_in(file: Path) -> dict[str, int]:
    """Return the functions of a file that take a rule, each with the place of the rule."""
    found = {}
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef):
            names = [one.arg for one in node.args.args]
            if "rule" in names:
                found[node.name] = names.index("rule")
    return found


def rules_in(file: Path) -> Iterator[str]:
    """Yield each rule that a file's refusals name."""
    tree = ast.parse(file.read_text())
    module = importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))
    makers = {"Refusal": 1} | makers_in(SHARED_MAKERS) | makers_in(file)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            place = makers.get(node.func.id)
            if place is not None:
                given = {one.arg: one.value for one in node.keywords}
                rule = node.args[place] if len(node.args) > place else given.get("rule")
                if rule is not None:
                    yield from named(rule, module)


def named(rule: ast.expr, module: ModuleType) -> Iterator[str]:
    """Yield the rules that an expression may be; nothing for one that is handed on."""
    if isinstance(rule, ast.Constant):
        yield str(rule.value)
    elif isinstance(rule, ast.JoinedStr) and isinstance(rule.values[0], ast.FormattedValue):
        head_name = rule.values[0].value
        assert isinstance(head_name, ast.Name)
        assert getattr(module, head_name.id) == CONDITION  # said by the protocol: see below
    elif isinstance(rule, ast.JoinedStr):
        (head, *_) = (one.value for one in rule.values if isinstance(one, ast.Constant))
        yield from HEADS[str(head)]
    elif isinstance(rule, ast.IfExp):
        yield from named(rule.body, module)
        yield from named(rule.orelse, module)
    else:
        found = module
        for name in ast.unparse(rule).split("."):
            found = getattr(found, name, None)  # type: ignore[assignment]
        if isinstance(found, str):
            yield found


def every_rule() -> set[str]:
    found = {rule for file in DECIDING for rule in rules_in(file)}
    return found - OF_NODES_AND_PROGRAMS


def test_the_rules_are_found() -> None:
    found = every_rule()
    assert len(found) > 150
    assert {"lead", "unknown-version", "unread-proposal", "no-such-service"} <= found


@pytest.mark.parametrize("language", shipped())
def test_each_refusal_is_said_in_every_language(language: str) -> None:
    things = MagicMock()
    things.kind.side_effect = lambda name: f"<{name}>"
    words = Words(texts(language), things)
    untold = [
        rule
        for rule in sorted(every_rule())
        if "English" in reason(Refusal(Ground.INVALID, rule, "English"), words)
    ]
    assert untold == [], "add why.RULE to the catalogues of api/locale, with what to do"


def test_each_condition_of_the_protocol_is_said_in_every_language() -> None:
    protocol = shipped_protocol()
    assert len(protocol.conditions) > 5
    for name in protocol.conditions:
        said = {
            condition(f"{CONDITION}{name}", Words(texts(code), wording(code, protocol)))
            for code in shipped()
        }
        assert None not in said, name
        assert len(said) == len(shipped()), name
