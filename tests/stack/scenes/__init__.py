"""The scenes, in the order they are played. Each is a letter, a title, and a function of the stack and the story."""

from collections.abc import Callable
from dataclasses import dataclass

from narrate import Story
from stack import Stack


@dataclass(frozen=True)
class Scene:
    """One scene."""

    letter: str
    title: str
    play: Callable[[Stack, Story], None]


def all_scenes() -> list[Scene]:
    """Every scene."""
    from scenes import accounts, admission, dmarc, examples, faults, inbound, keys, learning, load, logins, outages, proofs, reports, restarts, sharing
    from scenes import spam, submission, units

    modules = (
        *(examples, inbound, learning, spam, dmarc, logins, proofs, submission, keys, reports, sharing, accounts, admission),
        *(outages, restarts, faults, load, units),
    )
    return [scene for module in modules for scene in module.SCENES]
