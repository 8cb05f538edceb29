"""The form of a text in words, with an example, in place of a regular expression."""

from collections.abc import Mapping
from typing import Any

_DIGEST = "is not 64 digits of a hexadecimal number in small letters"
_THUMBPRINT = "is not 43 characters of base64url (letters, digits, - and _), as of a SHA-256"

_IN_WORDS: Mapping[str, str] = {
    "^[A-Z]{2}$": "is not a country's code of two capital letters, such as AL",
    "^[A-Za-z]{2}$": "is not a country's code of two letters, such as AL",
    "^[a-z]{3}$": "is not a language's code of three small letters (ISO 639-3), such as sqi",
    "^[a-z][a-z0-9-]{2,43}$": (
        "is not an agency's id: 3 to 44 small letters, digits and hyphens, the first a letter,"
        " such as xk-dhtqnj"
    ),
    "^[a-z]{2,3}(-[A-Z][a-z]{3})?(-[A-Z]{2})?$": (
        "is not a language's tag (BCP 47), such as sq, cnr or sr-Cyrl"
    ),
    r"^[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63}){1,8}$": (
        "is not an e-mail address, such as duty@office.example"
    ),
    r"^\+[0-9][0-9 ]{3,24}$": (
        "is not a telephone number with the country's code, such as +383 38 200 000"
    ),
    r"^\+?[1-9]\d{1,14}$": (
        "is not a telephone number (E.164): up to 15 digits without spaces, such as +38338200000"
    ),
    r"^[1-9]\d{0,5}(-[1-9]\d{0,5})?(,[1-9]\d{0,5}(-[1-9]\d{0,5})?)*$": (
        "is not a list of pages, such as 1-3,7"
    ),
    r"^https?://[A-Za-z0-9.\[\]:-]{1,253}(:[0-9]{1,5})?$": (
        "is not an address of scheme, host and port alone, such as https://node.example"
    ),
    "^[a-z][a-z_]{1,39}$": "is not 2 to 40 small letters and underscores, the first a letter",
    "^[a-z_]{1,60}$": "is not a name of small letters and underscores, such as case_opened",
    "^[a-z]{1,40}$": "is not a name of small letters, such as countries",
    "^[0-9a-f]{64}$": _DIGEST,
    "^[A-Za-z0-9_-]{43}$": _THUMBPRINT,
    "^[A-Za-z0-9_-]{1622}$": "is not 1622 characters of base64url: a country's public key",
    r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{86}$": (
        "is not a signature as a compact JWS: three parts of base64url with dots between them"
    ),
    "^OKP$": "is not OKP, the key type of Ed25519",
    "^Ed25519$": "is not Ed25519, the only curve of agencies' keys",
    "^[A-Za-z-]{2,16}$": "is not a language's tag of letters and hyphens, such as sq or sr-Latn",
    "^[A-Z]{2}:[0-9]{1,18}$": "is not a country's code, a colon and a number, such as AL:17",
    "^/([A-Za-z0-9._~-][A-Za-z0-9._~/?&=%-]*)?$": "is not a path of this node, such as /today",
    "^[A-Za-z0-9_+-]{1,30}(/[A-Za-z0-9_+-]{1,30}){0,2}$": (
        "is not the name of a time zone, such as Europe/Tirane"
    ),
}


def in_words(error: Mapping[str, Any]) -> str:
    """Return what one error of pydantic says; of a pattern, the form in words.

    A pattern without words here is not shown either.
    """
    if error["type"] != "string_pattern_mismatch":
        return str(error["msg"]).removeprefix("Value error, ")
    pattern = (error.get("ctx") or {}).get("pattern", "")
    return _IN_WORDS.get(pattern, "has another form than the documentation of this field says")


def has_words(pattern: str) -> bool:
    """Return true if a refusal can say in words what the pattern asks for."""
    return pattern in _IN_WORDS
