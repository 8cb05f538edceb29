"""When Python's garbage collector looks for cycles: seldom, and never at what stays."""

import gc

SELDOM, SERVING = 50_000, 3_000
"""So many new objects: where nothing waits meanwhile, and where requests do."""


def collect_seldom(new_objects: int = SELDOM) -> None:
    """Take what there is by now as there to stay, and look at what is new once it is so much.

    To look at all that a node has loaded takes a tenth of a second, for which every request waits;
    and so does freeing 50,000 objects of pages.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(new_objects)
