"""Texts that were decoded by another encoding than they were written in.

A name that is stored wrongly is wrong for good. So an import points at it, and records no such row.
"""

import re

_CODE_PAGES = ("cp1252", "cp1250", "iso8859-1")
_SOUTH_SLAVIC = re.compile(r"[ŠšŽžČčĆćĐđ]")
_WESTERN = re.compile(r"[æÆèÈðÐ]")
"""``č``, ``ć`` and ``đ`` of code page 1250, as code page 1252 shows them."""
_SIGN_IN_WORD = re.compile(r"\w[¹¾©®]|[¹¾©®][a-zëç]")
"""``š`` and ``ž`` of ISO 8859-2, as a Western code page shows them."""
_REPLACED = "\ufffd"


def is_garbled(text: str) -> bool:
    """Return whether a text was decoded by a wrong encoding, as far as its letters tell."""
    if text.isascii():
        return False
    if _REPLACED in text or _SIGN_IN_WORD.search(text) or _is_utf8(text):
        return True
    return any(
        _SOUTH_SLAVIC.search(word) and _WESTERN.search(word) for word in re.split(r"\s+", text)
    )


def _is_utf8(text: str) -> bool:
    """Return whether the bytes that a code page gives back are UTF-8: two signs for each letter."""
    for page in _CODE_PAGES:
        try:
            text.encode(page).decode("utf-8")
        except UnicodeError:
            continue
        return True
    return False
