"""The keyed tokens by which a country finds persons in its own vault.

A token is the first eight bytes of an HMAC-SHA256 under a secret of the vault. The secret is in a
file apart from the database. Names have one form for what the languages write in several ways
(:mod:`ledger.vault.duplicates.normalising`); names one error apart have a variant in common.
"""

import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ledger.vault.duplicates.identity_forms import deletion_variants
from ledger.vault.duplicates.normalising import digits_and_letters, fold, plain_parts

SEARCH = "SEARCH"
"""The name of the secret among a country's masks. No country has this code."""
_NAMES = frozenset({"first_name", "middle_name", "second_name"})
_NUMBER, _PHONE = "identity_number", "phone"
SEARCHED_FIELDS = frozenset({*_NAMES, _NUMBER, _PHONE})
"""The personal fields that have tokens. The migration of the vault names the same."""
_MOST_WORDS = 6
_PHONE_DIGITS = 8
"""So many last digits of a telephone number are compared: without a country's or an area's code."""
_FEWEST_PHONE_DIGITS = 6


@dataclass(frozen=True, slots=True)
class SearchKey:
    """The secret of the tokens, and an id that names it without telling it."""

    id: bytes
    secret: bytes = field(repr=False)

    @classmethod
    def of(cls, secret: bytes) -> "SearchKey":
        """Derive the key of the tokens from a secret of the vault."""
        derived = hmac.digest(secret, b"case-ledger search key 1\n", "sha256")
        return cls(hmac.digest(derived, b"name", "sha256")[:8], derived)

    def token(self, form: str) -> int:
        """Return the token of a form, as a signed number of 64 bits."""
        digest = hmac.digest(self.secret, form.encode(), "sha256")
        return int.from_bytes(digest[:8], "big", signed=True)

    def tokens(self, forms: Sequence[str]) -> list[int]:
        """Return the tokens of some forms."""
        return [self.token(form) for form in forms]


SearchKeys = Mapping[str, Callable[[], SearchKey | None]]
"""Returns the key of each country's search index; ``None`` if it does not open."""


@dataclass(frozen=True, slots=True)
class SoughtWord:
    """The forms of one word of a question. A statement that has any of them matches."""

    exact: tuple[str, ...]
    similar: tuple[str, ...] = ()
    """The forms of a word that may be misspelt."""


def stated_forms(name: str, value: Any) -> Sequence[str]:
    """Return the forms under which a field's value is found."""
    if not isinstance(value, str):
        return ()
    if name in _NAMES:
        return [
            form
            for plain in plain_parts(value)
            for form in (f"name|{fold(plain)}", *_similar(plain))
        ]
    if name == _NUMBER:
        number = digits_and_letters(value)
        return () if number is None else (f"number|{number}",)
    return _phone(value) if name == _PHONE else ()


def sought_words(text: str, *, phones: bool) -> Sequence[SoughtWord]:
    """Return the words of a question; none if it says too little to search by.

    A text with a digit is one identity number, and with ``phones`` one telephone number too. Every
    other text is names, in any order and in either script.
    """
    if any(character.isdigit() for character in text):
        number = digits_and_letters(text)
        forms = [] if number is None else [f"number|{number}"]
        if phones:
            forms += _phone(text)
        return [SoughtWord(tuple(forms))] if forms else []
    plain = [part for word in text.split() for part in plain_parts(word)]
    return [
        SoughtWord((f"name|{fold(part)}",), tuple(_similar(part)))
        for part in dict.fromkeys(plain[:_MOST_WORDS])
    ]


def _similar(plain: str) -> Sequence[str]:
    variants = deletion_variants(plain) | deletion_variants(fold(plain))
    return [f"similar|{variant}" for variant in sorted(variants)]


def _phone(number: str) -> Sequence[str]:
    if any(character.isalpha() for character in number):
        return ()
    digits = "".join(character for character in number if character.isdecimal()).lstrip("0")
    return [f"phone|{digits[-_PHONE_DIGITS:]}"] if len(digits) >= _FEWEST_PHONE_DIGITS else []
