"""For agencies: a map for the import of existing cases, written from a file's head."""

import base64
import binascii
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import Field
from starlette.responses import JSONResponse

from api.client.schemas.document import Document
from api.http.access import Caller, TheCaller
from api.http.costly import Costly
from api.importing.tables import ImportFileError
from api.importing.trial import SUFFIXES, Trial, tried
from api.web.errors import PageRoute
from api.web.rendering import PAGE_HEADERS, Words, page
from ledger.vocabulary.picklists import AgeGroup

router = APIRouter(include_in_schema=False, route_class=PageRoute)
MOST_BYTES = 240_000
"""Of a file's head; encoded, it fits into a body."""
_MOST_MAP = 60_000


class HeadOfFile(Document):
    """The head of a file with existing cases, in base64, and the map that is to be tried on it."""

    content: Annotated[str, Field(max_length=MOST_BYTES * 4 // 3 + 4)]
    suffix: Annotated[str, Field(max_length=8)]
    is_head: bool = False
    map: Annotated[str, Field(max_length=_MOST_MAP)] | None = None


@router.get("/import-map")
def show(request: Request, caller: TheCaller) -> Response:
    """Show the form that takes a file. Its head goes to this node, which keeps nothing of it."""
    return page(request, "import_map.html", caller, most=MOST_BYTES, suffixes=SUFFIXES)


@router.post("/import-map")
async def trial(request: Request, caller: TheCaller, sent: HeadOfFile) -> JSONResponse:
    """Return the guesses on a file, a map for it, and its first persons. Nothing is kept.

    The head is personal data: it is in memory alone, and no log has it.
    """
    costly: Costly = request.app.state.costly
    words = Words.of(request)
    try:
        content = base64.b64decode(sent.content, validate=True)
        found = await costly.run(caller.agency.id, _tried, caller, content, sent)
    except binascii.Error:
        return _wrong(words.texts.text("import.no_table"))
    except ImportFileError as error:
        return _wrong(words.texts.text("import.not_read", why=str(error)))
    except ValueError as error:
        return _wrong(words.texts.text("import.no_map", why=str(error).partition("\n")[0]))
    return JSONResponse(_told(found, words), headers=PAGE_HEADERS)


def _tried(caller: Caller, content: bytes, sent: HeadOfFile) -> Trial:
    party = caller.agency.party
    return tried(content, sent.suffix, sent.map, party, is_head=sent.is_head)


def _wrong(said: str) -> JSONResponse:
    return JSONResponse({"problem": said}, status_code=422, headers=PAGE_HEADERS)


def _told(found: Trial, words: Words) -> dict[str, object]:
    form = found.form
    return {
        "encoding": form.encoding,
        "delimiter": {"\t": "Tab"}.get(form.delimiter or "", form.delimiter),
        "sheet": form.sheet,
        "map": found.map,
        "persons": [
            [
                str(one.row),
                one.name,
                one.born,
                words.things.picked(AgeGroup(one.age_group)),
                one.citizenship,
                one.opened,
                ", ".join(words.things.kind(kind) for kind in one.actions),
            ]
            for one in found.persons
        ],
    }
