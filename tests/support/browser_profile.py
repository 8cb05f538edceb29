"""Search of a browser's whole profile for words that must not be in it."""

from collections.abc import Collection
from pathlib import Path


def files_with(profile: Path, words: Collection[bytes], leave_out: str = "downloads") -> list[str]:
    """Return the files of a profile that have any of the words, each with the words it has.

    The words are sought as they are, and in UTF-16, as browsers keep JavaScript's strings. The
    databases of browsers compress by copying what came before (Snappy, LZ4), so a word that is as
    good as random stands in them where it is first. ``leave_out`` is the folder of what a person
    saved on purpose.
    """
    found = []
    for file in sorted(profile.rglob("*")):
        if leave_out in file.relative_to(profile).parts or not file.is_file():
            continue
        content = file.read_bytes()
        has = [word.decode(errors="replace") for word in words if _is_in(word, content)]
        if has:
            found.append(f"{file.relative_to(profile)}: {', '.join(has)}")
    return found


def _is_in(word: bytes, content: bytes) -> bool:
    if word in content:
        return True
    try:
        wide = word.decode("utf-8").encode("utf-16-le")
    except UnicodeDecodeError:
        return False
    return wide in content
