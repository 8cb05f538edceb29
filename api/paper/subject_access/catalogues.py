"""The catalogues of messages (gettext ``.po`` files), read as they lie in the package.

python -m api.paper.subject_access.catalogues          lists what is missing or not used
python -m api.paper.subject_access.catalogues --add    adds what is missing, without its text,
                                                 and takes out what is not used
"""

import sys
from collections.abc import Mapping
from functools import cache
from importlib import resources
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po

from api.paper.subject_access.messages import LANGUAGES, required

SOURCE = "en"
"""The language from which the others are translated."""


@cache
def messages(language: str) -> Mapping[str, str]:
    """Return the messages of a language by id, without those that have no text.

    Raises ``FileNotFoundError`` if the language has no catalogue.
    """
    content = BytesIO((_directory() / _file(language)).read_bytes())
    catalogue = read_po(content, locale=language)
    return {str(m.id): str(m.string) for m in catalogue if m.id and m.string and not m.fuzzy}


def missing(language: str) -> tuple[str, ...]:
    """Return the ids of the messages that a language needs and does not have."""
    return tuple(sorted(required() - messages(language).keys()))


def unused(language: str) -> tuple[str, ...]:
    """Return the ids of the messages that no code asks for."""
    return tuple(sorted(messages(language).keys() - required()))


def completed(language: str) -> bytes:
    """Return the ``.po`` file of a language with exactly the messages it needs, sorted by id.

    Messages without a text are there to be filled in; the English text stands above each.
    """
    texts, source = messages(language), messages(SOURCE)
    catalogue = Catalog(locale=language, project="case-ledger", fuzzy=False, charset="utf-8")
    for message in sorted(required()):
        english = (source.get(message, ""),) if language != SOURCE else ()
        catalogue.add(message, texts.get(message, ""), auto_comments=english)
    content = BytesIO()
    write_po(content, catalogue, width=0, sort_output=True, omit_header=True)
    return _HEADER.format(language=language).encode() + content.getvalue()


_HEADER = """\
msgid ""
msgstr ""
"Project-Id-Version: case-ledger\\n"
"Language: {language}\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"

"""


def _directory() -> Path:
    with resources.as_file(resources.files("api") / "locale") as directory:
        return directory


def _file(language: str) -> Path:
    return Path(language, "LC_MESSAGES", "case_ledger.po")


def main(arguments: list[str]) -> int:
    """List or add the missing messages.

    Returns 1 if a message was missing or not used.
    """
    found = [
        f"{language}: {what} {message}"
        for language in LANGUAGES
        for what, ids in (("missing", missing(language)), ("unused", unused(language)))
        for message in ids
    ]
    for line in found:
        print(line)
    if "--add" in arguments:
        for language in LANGUAGES:
            (_directory() / _file(language)).write_bytes(completed(language))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
