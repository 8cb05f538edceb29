"""Pages for caseworkers, coordinators and oversight bodies, made on the server."""

from collections.abc import Iterator

from starlette.routing import BaseRoute

from api.web.errors import as_page
from api.web.problem_text import in_language
from api.web.routes import (
    action_help,
    acts,
    agencies,
    agreement,
    api_reference,
    audit,
    case_list,
    cases,
    changes,
    communication_forms,
    components,
    coordination,
    directory,
    documents,
    drafts,
    entry,
    figures,
    file_numbers,
    filing,
    finding,
    import_map,
    meeting,
    members,
    oversight,
    parcels,
    printing,
    redactions,
    saved_filters,
    today,
)

__all__ = ["as_page", "in_language", "routes"]

_ROUTERS = (
    entry.router,
    documents.router,
    redactions.router,
    acts.router,
    communication_forms.router,
    case_list.router,
    cases.router,
    changes.router,
    oversight.router,
    printing.router,
    agencies.router,
    directory.router,
    agreement.router,
    audit.router,
    coordination.router,
    parcels.router,
    meeting.router,
    drafts.router,
    members.router,
    figures.router,
    filing.router,
    components.router,
    finding.router,
    action_help.router,
    api_reference.router,
    file_numbers.router,
    import_map.router,
    saved_filters.router,
    today.router,
)


def routes() -> Iterator[BaseRoute]:
    """Yield the routes of all pages."""
    for router in _ROUTERS:
        yield from router.routes
