"""The words of tables in the language of the person at the terminal.

The language is that of ``--language`` or ``CASE_LEDGER_LANGUAGE``, else that of the locale. English
has the machine names as words. JSON is not translated.
"""

import os
import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING

from api.cli.steps.english_texts import COUNTRIES, TEXTS
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
    wording = _wording()
    if wording is None:
        return TEXTS[name].format(**values)
    return wording.text(f"cli.{name}", **values)


def country(code: str) -> str:
    """Return a country's name."""
    wording = _wording()
    return COUNTRIES.get(code, code) if wording is None else wording.country(code)


def day(moment: datetime) -> str:
    """Return a moment's day, by UTC."""
    wording = _wording()
    if wording is None:
        return f"{moment:%d %b %Y}"
    from babel.dates import format_date

    return format_date(moment, "medium", locale=wording.locale_name)


def language() -> str:
    """Return the code of the language that the environment names.

    It is English where the environment names none, a language without a catalogue, or one that this
    installation cannot read: a client's has no library for that.
    """
    named = next(filter(None, (os.environ.get(one) for one in VARIABLES)), "")
    # A locale such as sq_AL.UTF-8, or a list as browsers send it.
    code = re.split(r"[,;.@]", named)[0].replace("_", "-")
    if code.split("-")[0] in ("", "C", "POSIX", "en"):
        return "en"
    try:
        from api.paper.languages.found import languages
    except ModuleNotFoundError:
        return "en"
    known = languages()
    return next((one for one in (code, code.split("-")[0]) if one in known), "en")


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
