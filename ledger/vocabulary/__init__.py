"""The vocabulary: every case action as a model that declares each field's level.

The models are loaded at the first use of a name of this package. A program that needs the picklists
alone, such as the help of a command, does not load pydantic.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ledger.vocabulary.action import Action
    from ledger.vocabulary.kinds import (
        ALL_ACTIONS,
        CASE_ACTIONS,
        NOT_UNDERSTOOD,
        REGISTRY_ACTIONS,
        build_models,
    )
else:

    def __getattr__(name: str) -> object:
        """Load the models, and return the object that the package exports by this name."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from ledger.vocabulary import action, kinds

        found = getattr(action if name == "Action" else kinds, name)
        globals()[name] = found  # the next use finds the name without this function
        return found


__all__ = [
    "ALL_ACTIONS",
    "CASE_ACTIONS",
    "NOT_UNDERSTOOD",
    "REGISTRY_ACTIONS",
    "Action",
    "build_models",
]
