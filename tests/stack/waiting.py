"""Waiting for something to become true. A deadline here is "never", far beyond what a slow machine needs; no test measures time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
NEVER = 90.0


class Never(Exception):
    """It did not become true."""


def until(what: str, question: Callable[[], T], deadline: float = NEVER, pause: float = 0.1) -> T:
    """Asks until the answer is true, and returns it."""
    end = time.monotonic() + deadline
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > end:
            raise Never(f"never: {what} (waited {deadline:.0f} s)")
        time.sleep(pause)
