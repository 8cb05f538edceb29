"""The characters that a name or a text may have: one that a reader cannot see is refused.

A character that is not seen can make two names look like one, or a name look like another (Unicode
Technical Report 36). Letters of every script are welcome, those written from right to left too:
only the *controls* of direction are refused.
"""

import re
import unicodedata

_DIRECTIONS = "\u202a-\u202e\u2066-\u2069"
_CONTROLS = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f"
_IN_NO_TEXT = re.compile(f"[{_CONTROLS}{_DIRECTIONS}]")
_JOINERS = "\u200c\u200d"
"""Zero width non-joiner and joiner: some scripts need them between letters."""
_OF_LINES = "\t\n\r\x85"
_PERHAPS_HIDDEN = re.compile(r"[^\w\s\x21-\x7e]|[\x1c-\x1f\u2028\u2029]")
"""Finds all hidden characters and some others: most texts have none and are not looked at again."""
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters and symbols by their category, of which nothing is seen."""


def checked_text(text: str) -> str:
    """Return a text of several lines. Raises ``ValueError`` that names no character."""
    if _IN_NO_TEXT.search(text):
        raise ValueError("has a control character, which nobody can see; leave it out")
    return _with_something_to_see(text)


def checked_name(name: str) -> str:
    """Return a name, of one line. Raises ``ValueError`` that names no character."""
    for index, character in enumerate(name):
        category = unicodedata.category(character)
        if category in ("Cc", "Cs", "Zl", "Zp"):
            raise ValueError("has a control character, which nobody can see; leave it out")
        if category == "Cf" and not (character in _JOINERS and _is_between_letters(name, index)):
            raise ValueError("has a character of direction or format, which nobody can see")
    return _with_something_to_see(name)


def shown_name(name: str) -> str:
    """Return a name in which each character that is refused is written as its number.

    For names that another country's node took in: that node may not have refused them.
    """
    shown = "".join(
        character if _is_in_names(name, index) else f"[U+{ord(character):04X}]"
        for index, character in enumerate(name)
    )
    if any(map(_is_seen, shown)):
        return shown
    return "".join(f"[U+{ord(character):04X}]" for character in name)


def shown_text(text: str) -> str:
    """Return a text of several lines in which each character that is not seen is its number.

    For texts that another country's node took in, or that were recorded by an earlier program. A
    joiner between two letters or two symbols stays: some scripts and emoji need it.
    """
    if _PERHAPS_HIDDEN.search(text) is None:
        return text
    return "".join(
        f"[U+{ord(character):04X}]" if _is_hidden(text, index) else character
        for index, character in enumerate(text)
    )


def is_plain(text: str) -> bool:
    """Return whether a request's parameter has no control character and none of direction."""
    return _IN_NO_TEXT.search(text) is None


def _is_in_names(name: str, index: int) -> bool:
    """Return whether a name may have its character at this place."""
    category = unicodedata.category(name[index])
    if category in ("Cc", "Cs", "Zl", "Zp"):
        return False
    return category != "Cf" or (name[index] in _JOINERS and _is_between_letters(name, index))


def _is_hidden(text: str, index: int) -> bool:
    character = text[index]
    category = unicodedata.category(character)
    if category in ("Cc", "Cs", "Zl", "Zp"):
        return character not in _OF_LINES
    return category == "Cf" and not (character in _JOINERS and _is_between(text, index, "LMS"))


def _is_seen(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNPS" and character not in _BLANK


def _is_between_letters(name: str, index: int) -> bool:
    return _is_between(name, index, "LM")


def _is_between(name: str, index: int, categories: str) -> bool:
    around = name[max(0, index - 1) : index] + name[index + 1 : index + 2]
    return len(around) == 2 and all(unicodedata.category(c)[0] in categories for c in around)


def _with_something_to_see(text: str) -> str:
    if not any(map(_is_seen, text)):
        raise ValueError("has nothing that can be seen")
    return text
