"""Problem details of the API in the language that a request asks for.

``title`` and ``detail`` are for people, ``rule`` is for programs (RFC 9457, section 3.1). The texts
are those of the pages.
"""

from fastapi import Request
from rfc9457 import Problem

from api.paper.languages.found import SOURCE
from api.runtime.problem import problem
from api.web.languages import language_of
from api.web.refusal_text import reason_of_rule
from api.web.rendering import Words


def in_language(request: Request, told: Problem) -> Problem:
    """Return a problem in the language that the request asks for.

    The detail in English stays as ``detail_en``: it may name a day or a value that the text of the
    rule does not have. A part without a text in the language stays English.
    """
    language = language_of(request)
    if language.code == SOURCE:
        return told
    words = Words.of(request)
    extras = dict(told.extras)
    rule = str(extras.pop("rule", ""))
    detail = reason_of_rule(rule, words)
    if detail is None or "{" in detail:
        detail = told.detail
    elif told.detail:
        extras["detail_en"] = told.detail
    headers = {
        **(told.headers or {}),
        "Content-Language": language.tag,
        "Vary": "Accept-Language, Cookie",
    }
    title = words.texts.find(f"problem.{told.status}.title") or told.title
    return problem(told.status, title, rule, detail, headers, **extras)
