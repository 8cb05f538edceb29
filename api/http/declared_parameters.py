"""A route that refuses query parameters that it does not declare.

A misspelt filter would otherwise be ignored, and an answer to another question would come back.
"""

import types
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from api.http.error_handlers import responses

Plainly = Callable[[Request], Awaitable[Response | None]]
_plainly: dict[Callable[..., Any], Plainly] = {}
_SEVERAL = (list, tuple, set, frozenset)
_UNPROCESSABLE = 422


def answers_plainly(endpoint: Callable[..., Any]) -> Callable[[Plainly], Plainly]:
    """Let a function answer the requests of an endpoint that have no query and the usual form.

    The framework takes longer to bring together the parameters of an endpoint than the endpoint of
    a busy route takes itself. The function does the same without it. It returns ``None`` for a
    request of any other form, and has not answered it then: the framework reads that request, and
    says what is wrong with it. It authenticates as the endpoint does.
    """

    def register(plainly: Plainly) -> Plainly:
        _plainly[endpoint] = plainly
        return plainly

    return register


class DeclaredParametersRoute(APIRoute):
    """Answers 422 to an unknown query parameter, and to a single one that is given twice."""

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        *,
        responses: Mapping[int | str, dict[str, Any]] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(path, endpoint, responses={**_INVALID, **(responses or {})}, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        declared = dict(_declared(self.dependant))
        endpoint = self.endpoint

        async def checked(request: Request) -> Response:
            if not request.scope["query_string"] and endpoint in _plainly:
                answer = await _plainly[endpoint](request)
                if answer is not None:
                    return answer
            if request.query_params and (errors := list(_errors(request, declared))):
                raise RequestValidationError(errors)
            return await handle(request)

        return checked


_INVALID: Mapping[int | str, dict[str, Any]] = responses(_UNPROCESSABLE)


def _declared(dependant: Dependant) -> Iterator[tuple[str, bool]]:
    """Yield each query parameter of a route and its dependencies, and whether it takes several."""
    for field in dependant.query_params:
        yield field.alias, _takes_several(field.field_info.annotation)
    for needed in dependant.dependencies:
        yield from _declared(needed)


def _errors(request: Request, declared: Mapping[str, bool]) -> Iterable[dict[str, Any]]:
    """Yield the faults of the parameters' names; never a name, which could be anything."""
    given = [name for name, _ in request.query_params.multi_items()]
    if any(name not in declared for name in given):
        known = f"known: {', '.join(sorted(declared))}" if declared else "there are none here"
        yield _error("(unknown)", f"There is no such parameter; {known}")
    for name, several in declared.items():
        if not several and given.count(name) > 1:
            yield _error(name, "It is given more than once")


def _error(name: str, message: str) -> dict[str, Any]:
    return {"type": "query_parameter", "loc": ("query", name), "msg": message, "input": None}


def _takes_several(annotation: Any) -> bool:
    """Return whether a parameter of this type may be given more than once."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _takes_several(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return any(map(_takes_several, get_args(annotation)))
    return (origin or annotation) in _SEVERAL
