"""The texts that a language's catalogues lack, as commands print them."""

from rich.markup import escape

from api.cli.output import out
from api.paper.languages.checking import Findings
from api.paper.subject_access.catalogues import lines


def show(found: Findings) -> None:
    """Print what a language has, and a line for each message that it lacks."""
    language = found.language
    out.print(
        f"[bold]{language.code}[/] {escape(language.name)}, dates and numbers of {language.locale},"
        f" {language.direction}",
        highlight=False,
    )
    for file in found.files:
        out.print(f"  {file.name}: {file.needed - len(file.missing)} of {file.needed} texts")
    for line in lines(found):
        out.print(f"  {escape(line)}", soft_wrap=True, highlight=False)


def as_json(found: Findings) -> dict[str, object]:
    """Return the findings as JSON."""
    return {
        "language": found.language.code,
        "name": found.language.name,
        "locale": str(found.language.locale),
        "direction": found.language.direction,
        "files": [
            {
                "name": one.name,
                "needed": one.needed,
                "missing": list(one.missing),
                "unused": list(one.unused),
                "faulty": [{"id": message, "why": why} for message, why in one.faulty],
            }
            for one in found.files
        ],
        "unlabelled": list(found.unlabelled),
        "letters_without_glyph": list(found.without_glyph),
    }
