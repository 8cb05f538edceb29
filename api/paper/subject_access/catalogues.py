"""The catalogues that ship with this program, or those of a folder: what is missing.

python -m api.paper.subject_access.catalogues [FOLDER]          lists what is missing or not used
python -m api.paper.subject_access.catalogues [FOLDER] --add    adds what is missing, without its
                                                     text, and takes out what is not used
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from api.paper.languages.catalogue import messages
from api.paper.languages.checking import Findings, check_folder, completed, language_folders
from api.paper.languages.found import CATALOGUES, language, package_folder, shipped
from api.paper.subject_access.messages import required


def missing(code: str) -> tuple[str, ...]:
    """Return the ids of the messages that a shipped language needs and does not have."""
    return tuple(sorted(required() - messages(language(code)).keys()))


def unused(code: str) -> tuple[str, ...]:
    """Return the ids of the messages that no code asks for."""
    return tuple(sorted(messages(language(code)).keys() - required()))


def lines(found: Findings) -> Iterator[str]:
    """Yield a line for each finding of a language."""
    code = found.language.code
    for file in found.files:
        yield from (f"{code}: missing {one}" for one in file.missing)
        yield from (f"{code}: unused {one}" for one in file.unused)
        yield from (f"{code}: faulty {one}: its text {why}" for one, why in file.faulty)
    yield from (f"{code}: no label for {one}" for one in found.unlabelled)
    if found.without_glyph:
        yield f"{code}: the fonts of PDF files lack {' '.join(found.without_glyph)}"


def complete(folder: Path) -> None:
    """Write the catalogues of a language's folder with what is missing, to be filled in.

    The page texts that ship with this program are written by hand.
    """
    for name in CATALOGUES[:1] if folder.parent == package_folder() else CATALOGUES:
        file = folder / "LC_MESSAGES" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(completed(folder, name))


def main(arguments: Sequence[str]) -> int:
    """List or add the missing messages.

    Returns 1 if a message was missing, faulty or not used.
    """
    named = [Path(one) for one in arguments if not one.startswith("-")]
    folders = [one for place in named for one in language_folders(place)]
    if not named:
        folders = [package_folder() / code for code in shipped()]
    found = [line for folder in folders for line in lines(check_folder(folder))]
    if not named:
        found += [f"{code}: missing {one}" for code in shipped() for one in missing(code)]
    for line in dict.fromkeys(found):
        print(line)
    if "--add" in arguments:
        for folder in folders:
            complete(folder)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
