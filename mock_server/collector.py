"""
How the garbage collector is kept from going through what stays.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

THRESHOLDS: Final = (20_000, 20, 50)
"""After how many new objects it looks, and how seldom at those that were kept."""


@contextmanager
def spared_collector() -> Iterator[None]:
    """
    Have the garbage collector leave alone what exists, while the context lasts.

    Almost everything here is freed without it. What is kept (modules, rules, the
    journal) would be gone through again and again, at a fifth of all that is spent.
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
