"""A Python environment with the wheel of this program and the dependencies of some extras alone.

Nothing is downloaded: the files of the dependencies are links to those of the environment that runs
the tests, and so is their bytecode, which would take seconds to compile.
"""

import os
import subprocess
import sys
import venv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import cache_from_source
from pathlib import Path
from zipfile import ZipFile

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class BaseEnvironment:
    """The environment, and what is installed in it."""

    directory: Path
    installed: frozenset[str]
    """The names of the distributions beside the wheel's own."""
    library_bytes: int
    """The sizes of the files of all libraries, without bytecode."""
    own_bytes: int
    """The sizes of the wheel's own files, without bytecode."""

    def run(self, *arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
        """Run its interpreter, with nothing of the environment that runs the tests."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return subprocess.run(
            [self.directory / "bin" / "python", *arguments],
            cwd=cwd,
            env={**kept, "XDG_DATA_HOME": str(cwd / "data")},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def command(self, *arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
        """Run ``case-ledger``."""
        return self.run("-c", "from api.cli import app; app()", *arguments, cwd=cwd)


def base_environment(directory: Path, *extras: str) -> BaseEnvironment:
    """Make the environment in an empty directory."""
    venv.create(directory, symlinks=True, with_pip=False)
    packages = next(directory.glob("lib/python*/site-packages"))
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = directory.glob("*.whl")
    with ZipFile(wheel) as archive:
        archive.extractall(packages)
    (own,) = metadata.distributions(path=[str(packages)])
    needed = dict(_needed(own, extras))
    for distribution in needed.values():
        for file in distribution.files or ():
            source, target = Path(str(distribution.locate_file(file))), packages / file
            if ".." in file.parts or file.suffix == ".pyc":
                continue
            if source.is_file() and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(source)
                _link_bytecode(source, target)
    files = [file for file in packages.rglob("*") if file.is_file() and file.suffix != ".pyc"]
    of_libraries, own_files = (
        sum(file.stat().st_size for file in files if file.is_symlink() is of_library)
        for of_library in (True, False)
    )
    return BaseEnvironment(directory, frozenset(needed), of_libraries, own_files)


def _link_bytecode(source: Path, target: Path) -> None:
    """Link the bytecode of a module, if there is any.

    Bytecode names the time and size of its source. The linked source has the same.
    """
    if source.suffix == ".py":
        compiled, wanted = (Path(cache_from_source(path)) for path in (source, target))
        if compiled.is_file():
            wanted.parent.mkdir(exist_ok=True)
            wanted.symlink_to(compiled)


def _needed(
    own: metadata.Distribution, extras: Iterable[str]
) -> Iterator[tuple[str, metadata.Distribution]]:
    """Yield each distribution that another one with these extras requires, by its name."""
    seen: set[tuple[str, str]] = set()
    asked = [(own, extra) for extra in ("", *extras)]
    while asked:
        distribution, extra = asked.pop()
        for text in distribution.requires or ():
            required = Requirement(text)
            if required.marker is not None and not required.marker.evaluate({"extra": extra}):
                continue
            found = metadata.distribution(required.name)
            for wanted in ("", *required.extras):
                if (found.name, wanted) not in seen:
                    seen.add((found.name, wanted))
                    asked.append((found, wanted))
            yield found.name, found
