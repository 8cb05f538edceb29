"""Print answers and failures of commands."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.segment import Segment
from rich.text import Text

from ledger.vocabulary.characters import shown_text

if TYPE_CHECKING:
    import httpx
    from pydantic import BaseModel
    from rich.console import ConsoleOptions, RenderableType

    from api.client.schemas.problem import ProblemDetails

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

OUTCOME_UNKNOWN = 4
"""The exit code where an action may be recorded or not."""


class ShownConsole(Console):
    """A console that writes each hidden character as its number.

    A text of another country could show itself as another text by it, or command the terminal.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        # Before a table measures its cells.
        return super().render_str(shown_text(text), **options)

    def render(
        self, renderable: "RenderableType", options: "ConsoleOptions | None" = None
    ) -> Iterator[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else shown_text(text), style, control)


out = ShownConsole()
err = ShownConsole(stderr=True)


def print_json(content: "BaseModel | list[Any] | dict[str, Any]") -> None:
    """Print one JSON document on standard output, without colour and wrapping."""
    if isinstance(content, list | dict):
        typer.echo(json.dumps(content))
    else:
        typer.echo(content.model_dump_json())


def fail(message: str, code: int = 1) -> NoReturn:
    """Print the fault and what to do, and exit."""
    # A person copies paths and commands from it: no line break, no markup read in it.
    err.print(f"[bold red]case-ledger:[/] {escape(message)}", highlight=False, soft_wrap=True)
    raise typer.Exit(code)


def show_problem(problem: "ProblemDetails") -> Panel:
    """Return a panel that shows a refusal to people."""
    lines = [escape(problem.detail or problem.title), f"[dim]rule[/] {problem.rule}"]
    if problem.field:
        lines.append(f"[dim]field[/] {problem.field}")
    return Panel("\n".join(lines), title=f"Refused: {problem.title}", border_style="red")


def _asked(error: "httpx.TransportError") -> str:
    """Return scheme, host and port that the request went to, without its path."""
    try:
        url = error.request.url
    except RuntimeError:  # httpx: no request is attached
        return "this address"
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


@contextmanager
def failures(as_json: bool = False) -> Iterator[None]:
    """Turn errors into a message and an exit code.

    The exit code is 1, or 2 for a refusal, or 4 if the outcome is not known yet.
    """
    try:
        yield
    except Exception as error:
        _explain(error, as_json)
        raise


def _explain(error: Exception, as_json: bool) -> None:
    """Print what a known error means, and exit. Return for any other error."""
    # An error of these libraries is raised only if they are loaded; help does not load them.
    import httpx
    from pydantic import ValidationError

    from api.client import RefusedError, WaitingError
    from ledger.refusals import OperatorError, Refusal

    if isinstance(error, RefusedError):
        if as_json:
            typer.echo(error.problem.model_dump_json(exclude_none=True), err=True)
        else:
            err.print(show_problem(error.problem))
        raise typer.Exit(2) from None
    if isinstance(error, WaitingError):
        if as_json:
            print_json(error.outcome)
        else:
            err.print(
                "[yellow]Waiting.[/] The ledger node is away; the action is kept, and sent when it "
                f"is back. Ask with: case-ledger outbox {error.outcome.action_id}",
                soft_wrap=True,
            )
        raise typer.Exit(OUTCOME_UNKNOWN) from None
    if isinstance(error, Refusal):
        refused = f"[red]Refused[/] ({error.rule}): {escape(error.message)}"
        err.print(refused, highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
    if isinstance(error, httpx.TransportError):
        fail(
            f"the node at {_asked(error)} does not answer ({type(error).__name__}). Is "
            "`case-ledger serve` running there? Name another address with --url or CASE_LEDGER_URL."
        )
    if isinstance(error, ValidationError):
        wrong = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        fail("; ".join(wrong))
    if isinstance(error, OperatorError | ValueError | OSError):
        fail(str(error))
    if isinstance(error, _database_errors()):
        # Its message may hold a value; its class and code do not.
        code = getattr(error, "sqlstate", None) or getattr(error.__cause__, "sqlstate", None)
        named = f"{type(error).__name__}{f', {code}' if code else ''}"
        fail(f"the database refused ({named}); is it migrated, and is this the right login?")


def _database_errors() -> tuple[type[Exception], ...]:
    """Return the errors of the database's libraries that are loaded.

    A command of a client loads neither, and is installed without both.
    """
    classes = (("psycopg", "Error"), ("eventsourcing.persistence", "PersistenceError"))
    return tuple(getattr(sys.modules[m], name) for m, name in classes if m in sys.modules)
