"""When Python's garbage collector looks for cycles: seldom, and never at what stays."""

import gc

_NEW_OBJECTS = 50_000


def collect_seldom() -> None:
    """Take what there is by now as there to stay, and look at what is new once it is much.

    To look at all that a node has loaded takes a tenth of a second, for which every request waits.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)
