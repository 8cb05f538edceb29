"""An analyst's view as its file declares it: name, version, kinds, hash. The file is not run."""

import ast
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.vocabulary import ALL_ACTIONS
from projections.analysis.view_class import METHODS, ViewError, not_one

_NAME = re.compile(r"[a-z][a-z0-9_]{0,60}")
_HEADER = re.compile(r"^--\s*(name|version|engine):\s*(\S+)\s*$", re.MULTILINE)
_USES = re.compile(r"^--\s*uses:\s*(\S.*?)\s*$", re.MULTILINE)
_FILE = re.compile(r"[A-Za-z0-9_]{1,80}\.(py|sql)")
_ENGINES = ("duckdb", "spark")
_MOST_BYTES = 1024 * 1024

IMPORTABLE = frozenset(
    (
        *("__future__", "abc", "bisect", "calendar", "collections", "contextlib", "copy"),
        *("dataclasses", "datetime", "decimal", "enum", "fractions", "functools", "heapq"),
        *("itertools", "json", "math", "operator", "re", "statistics", "string", "textwrap"),
        *("types", "typing", "uuid", "zoneinfo", "numpy"),
    )
)
"""The modules that a view may import: they compute, and reach nothing outside the process."""
# What gives another answer each time it is asked, or on each machine.
_CALLS = frozenset(
    (
        *("now", "utcnow", "today", "uuid1", "uuid4", "urandom", "getenv"),
        *("input", "open", "id", "hash", "__import__"),
    )
)


@dataclass(frozen=True, slots=True)
class Definition:
    """A view as it is declared, and as it is written."""

    path: Path
    name: str
    version: int
    sha256: str
    """Of the file. What it imports is not in it: a view is one file."""
    text: str
    kinds: frozenset[str] | None = None
    """The kinds that its fold asks for; ``None`` for all."""
    imports: tuple[str, ...] = ()
    """The modules that its text imports."""
    uses: tuple[str, ...] = ()
    """The files, beside its own, of the views whose rows it reads."""
    engine: str | None = None
    """The one engine that the SQL is written for; ``None`` if it means the same in each."""


def read_definition(path: Path) -> Definition:
    """Read what a view's file declares. The file is not run.

    Raises ``ViewError`` if the file does not declare a view, or uses anything but its events.
    """
    content = _read(path)
    return _of_sql(path, content) if path.suffix == ".sql" else _of_python(path, content)


def checked_name(where: object, name: Any, version: Any) -> tuple[str, int]:
    """Return a view's name and version. Raises ``ViewError`` if one is not valid."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ViewError(f"{where}: its name must be of small letters, digits and _")
    if type(version) is not int or version < 1:
        raise ViewError(f"{where}: its version must be 1 or more")
    return name, version


def checked_uses(where: object, uses: Any) -> tuple[str, ...]:
    """Return the files of the views that a view reads. Raises ``ViewError`` if one is no file."""
    if isinstance(uses, str) or not all(isinstance(one, str) for one in uses):
        raise ViewError(f"{where}: its uses must be a tuple of texts")
    for one in uses:
        if not _FILE.fullmatch(one):
            raise ViewError(
                f"{where}: it uses {one!r}; name the file of a view in the same directory, as "
                "caseload.sql"
            )
    return tuple(dict.fromkeys(uses))


def checked_kinds(where: object, kinds: Any) -> frozenset[str] | None:
    """Return a view's kinds. Raises ``ViewError`` if there is no such action."""
    if kinds is None:
        return None
    if isinstance(kinds, str) or not all(isinstance(kind, str) for kind in kinds):
        raise ViewError(f"{where}: its kinds must be a tuple of texts")
    if unknown := set(kinds) - ALL_ACTIONS.keys():
        raise ViewError(f"{where}: there is no action {', '.join(sorted(unknown))}")
    return frozenset(kinds)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ViewError(f"{path} cannot be read") from error
    if len(content) > _MOST_BYTES:
        raise ViewError(f"{path} is larger than {_MOST_BYTES} bytes")
    return content


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _decoded(path: Path, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ViewError(f"{path} is not written in UTF-8") from error


def _of_sql(path: Path, content: bytes) -> Definition:
    text = _decoded(path, content)
    said = dict(_HEADER.findall(text))
    name, version = said.get("name", ""), said.get("version", "")
    if not _NAME.fullmatch(name) or not version.isdecimal() or int(version) < 1:
        raise ViewError(f"{path}: begin it with the lines `-- name: NAME` and `-- version: NUMBER`")
    engine = said.get("engine")
    if engine is not None and engine not in _ENGINES:
        raise ViewError(f"{path}: its engine must be one of {', '.join(_ENGINES)}")
    named = [one for line in _USES.findall(text) for one in re.split(r"[,\s]+", line)]
    uses = checked_uses(path, named)
    return Definition(path, name, int(version), _hash(content), text, uses=uses, engine=engine)


def _of_python(path: Path, content: bytes) -> Definition:
    text = _decoded(path, content)
    try:
        tree = ast.parse(content, str(path))
    except (SyntaxError, ValueError, RecursionError) as error:
        line = f"line {error.lineno}: {error.msg}" if isinstance(error, SyntaxError) else str(error)
        raise ViewError(f"{path}: {line}") from error
    for line_number, what in _impure(tree):
        raise ViewError(f"{path}: line {line_number}: {what}; a view depends on its events alone")
    declared = _declared(path, tree)
    name, version = checked_name(path, declared.get("name"), declared.get("version"))
    kinds = checked_kinds(path, declared.get("kinds"))
    uses = checked_uses(path, declared.get("uses", ()))
    imports = tuple(_imports(tree))
    return Definition(path, name, version, _hash(content), text, kinds, imports, uses)


def _declared(path: Path, tree: ast.Module) -> Mapping[str, Any]:
    """Return the attributes of a file's one view, without running the file.

    Raises ``ViewError`` if there is not one view, or if an attribute is not written out.
    """
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    views = [one for one in classes.values() if _methods(one, classes).issuperset(METHODS)]
    if len(views) != 1:
        raise ViewError(not_one(path, len(views)))
    constants = dict(_assigned(tree.body))
    found: dict[str, Any] = {}
    for one in reversed(_with_bases(views[0], classes)):
        for name, value in _assigned(one.body):
            if name in ("name", "version", "kinds", "uses"):
                found[name] = _literal(path, name, value, constants)
    return found


def _with_bases(one: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> list[ast.ClassDef]:
    """Return a class and, after it, its bases in the same file."""
    found = [one]
    for base in one.bases:
        if isinstance(base, ast.Name) and base.id in classes and classes[base.id] is not one:
            others = {name: c for name, c in classes.items() if c is not one}
            found += _with_bases(classes[base.id], others)
    return found


def _methods(one: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> set[str]:
    return {
        node.name
        for part in _with_bases(one, classes)
        for node in part.body
        if isinstance(node, ast.FunctionDef)
    }


def _assigned(body: Sequence[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    for node in body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                yield name, value
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                yield name, value


def _literal(path: Path, name: str, value: ast.expr, constants: Mapping[str, ast.expr]) -> Any:
    match value:
        case ast.Name(id=constant) if constant in constants:
            value = constants[constant]
        case _:
            pass
    match value:
        case ast.Call(func=ast.Name(id="frozenset" | "tuple" | "set"), args=[argument]):
            value = argument
        case _:
            pass
    try:
        return ast.literal_eval(value)
    except (ValueError, TypeError) as error:
        raise ViewError(
            f"{path}: line {value.lineno}: write its {name} out; it is read without running the "
            "file"
        ) from error


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module


def _impure(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    if alias.name.split(".")[0] not in IMPORTABLE:
                        yield node.lineno, f"it imports {alias.name}"
            case ast.ImportFrom(module=module, level=level) if (
                level or str(module).split(".")[0] not in IMPORTABLE
            ):
                yield node.lineno, f"it imports {module or '.'}"
            case ast.ImportFrom(names=names):
                for alias in names:
                    if alias.name in _CALLS:
                        yield node.lineno, f"it imports {alias.name}"
            case ast.Call(func=ast.Attribute(attr=called) | ast.Name(id=called)) if (
                called in _CALLS
            ):
                yield node.lineno, f"it calls {called}()"
