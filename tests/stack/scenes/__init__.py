"""The scenes, in the order they are played. Each is a letter of its own (`tests/stack --list`), a title, and a function of the stack and the story.

Those with `demo=True` show the main job at work, quickly; `examples/demo` plays them if nothing else is asked for.
"""

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
    demo: bool = False

    def wanted(self, which: str) -> bool:
        """Whether it is among `which`: `all` (or nothing), `demo`, or letters."""
        return which in ("", "all") or (self.demo if which == "demo" else self.letter in which)


def all_scenes() -> list[Scene]:
    """Every scene."""
    from scenes import accounts, admission, dmarc, doctor, examples, failover, faults, inbound, keys, learning, load, logins, nextcloud, outages, proofs
    from scenes import reports, restarts, setup, sharing, spam, submission, units, verdicts, webmail

    modules = (
        *(examples, inbound, learning, spam, verdicts, dmarc, logins, proofs, submission, keys, reports, sharing, accounts, admission),
        *(nextcloud, webmail, setup, doctor),
        *(outages, failover, restarts, faults, load, units),
    )
    scenes = [scene for module in modules for scene in module.SCENES]
    letters = [scene.letter for scene in scenes]
    if twice := {letter for letter in letters if letters.count(letter) > 1}:
        raise ValueError(f"two scenes with the letter {', '.join(sorted(twice))}")
    return scenes
