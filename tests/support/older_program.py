"""A program that is older than the ledger: without a kind of action, or with an earlier edition."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

from api.demo import forked
from api.demo.forked import Forked
from ledger.vocabulary import ALL_ACTIONS, CASE_ACTIONS, REGISTRY_ACTIONS, upcasting
from ledger.vocabulary.upcasting import Upcasters


def remove_kind(kind: str) -> None:
    """Make this process a program from before ``kind`` existed."""
    for known in (ALL_ACTIONS, CASE_ACTIONS, REGISTRY_ACTIONS):
        known.pop(kind, None)


@contextmanager
def without_newest_version(kind: str) -> Iterator[None]:
    """Be a program from before ``kind`` had its newest schema version."""
    *_, newest = (step for step in upcasting.UPCASTERS if step.kind == kind)
    steps = [step for step in upcasting.UPCASTERS if step is not newest]
    with patch.object(upcasting, "UPCASTERS", Upcasters(*steps)):
        yield


@contextmanager
def without_kind(kind: str) -> Iterator[None]:
    """Be a program from before ``kind`` existed, for as long as the block runs."""
    with ExitStack() as stack:
        for known in (ALL_ACTIONS, CASE_ACTIONS, REGISTRY_ACTIONS):
            stack.enter_context(patch.dict(known))
        remove_kind(kind)
        yield


OLDER_WITHOUT = "contact_point_named"
"""The kind that the processes of :class:`OlderForked` do not have."""


class OlderForked(Forked):
    """A process that is a program from before ``OLDER_WITHOUT`` existed."""

    def __init__(
        self, words: Sequence[str], env: Mapping[str, str], *, out: Path, err: Path
    ) -> None:
        forked._FORKS.set_forkserver_preload([forked._LOADED])
        self._process = forked._FORKS.Process(
            target=_main, args=(list(words), dict(env), str(Path.cwd()), str(out), str(err))
        )
        with patch.dict(os.environ, TERM="dumb"):
            self._process.start()


def _main(words: list[str], env: dict[str, str], directory: str, out: str, err: str) -> None:
    """In the new process: be the command of the older program."""
    remove_kind(OLDER_WITHOUT)
    forked._main(words, env, directory, out, err)
