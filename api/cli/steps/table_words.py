"""The words of tables in the language of the person at the terminal.

The language is that of ``--language`` or ``CASE_LEDGER_LANGUAGE``, else that of the locale. English
has the machine names as words. JSON is not translated.
"""

import os
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING

from api.cli.steps.plain_words import plain

if TYPE_CHECKING:
    from api.paper.subject_access.wording import Wording

VARIABLES = ("CASE_LEDGER_LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")
"""The variables that name the language, the first that is set first."""


def words(name: str) -> str:
    """Return a machine name such as ``victim_identified`` or ``FollowUp`` as words for people."""
    wording = _wording()
    if wording is None:
        return plain(name)
    if isinstance(name, StrEnum):
        return wording.picked(name)
    return _named(wording).get(name) or plain(name)


def owed(kind: str) -> str:
    """Return the name of a step that is owed."""
    wording = _wording()
    return plain(kind) if wording is None else wording.owed(kind)


def said(name: str, **values: str) -> str:
    """Return one of the fixed texts of tables, with its ``{places}`` filled in."""
    return (_wording() or _in_language("en")).text(f"cli.{name}", **values)


def country(code: str) -> str:
    """Return a country's name."""
    return (_wording() or _in_language("en")).country(code)


def day(moment: datetime) -> str:
    """Return a moment's day, by UTC."""
    wording = _wording()
    if wording is None:
        return f"{moment:%d %b %Y}"
    from babel.dates import format_date

    return format_date(moment, "medium", locale=wording.locale_name)


def language() -> str:
    """Return the code of the language that the environment names, and English if it has none."""
    from api.paper.languages.found import SOURCE, languages

    for variable in VARIABLES:
        named = os.environ.get(variable, "")
        # A locale such as sq_AL.UTF-8, or a list as browsers send it.
        code = named.split(",")[0].split(";")[0].split(".")[0].split("@")[0].replace("_", "-")
        if not code:
            continue
        known = languages()
        return next((one for one in (code, code.split("-")[0]) if one in known), SOURCE)
    return SOURCE


def _wording() -> "Wording | None":
    """Return the words of another language than English."""
    code = language()
    return None if code == "en" else _in_language(code)


@cache
def _in_language(code: str) -> "Wording":
    from api.paper.subject_access.wording import wording

    return wording(code)


@cache
def _named(wording: "Wording") -> Mapping[str, str]:
    """Return the texts of names of kinds, facts, fields, roles and values, by machine name.

    Where several things have a name, that of the action counts.
    """
    from ledger.procedure.protocol import shipped_protocol

    found: dict[str, str] = {}
    for one, text in wording.named("value.").items():
        found[one.rpartition(".")[2]] = text
    protocol = shipped_protocol()
    for head in ("role.", "field.", "kind."):
        found |= wording.named(head)
    for kind, rule in protocol.actions.items():
        for name in rule.may_establish:
            found.setdefault(name, wording.kind(kind))
    return found
