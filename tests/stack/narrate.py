"""Tells what happens, scene by scene, and counts what was as it should be.

Spoken aloud for the demo; kept back for the test, where only a scene that failed is told.
"""

import sys
import textwrap
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message

WIDTH = 118
#: Header fields worth showing, in this order.
SHOWN = ("Authentication-Results", "DKIM-Signature", "X-Spam", "X-Spamd-Result", "X-Rspamd-Action", "Subject")


class Story:
    """The scenes as they are played. Only the main thread tells."""

    def __init__(self, aloud: bool) -> None:
        self.passed = 0
        self.failed: list[str] = []
        self.not_run: list[str] = []
        #: Scenes that failed.
        self.broken = 0
        self._aloud = aloud
        self._kept: list[str] = []
        self._scenes: list[str] = []
        self._scene = ""
        self._colours = aloud and sys.stdout.isatty()

    @contextmanager
    def scene(self, letter: str, title: str) -> Iterator[None]:
        """One scene; an exception in it is one failure, and the next scene is played all the same."""
        passed, failed, started = self.passed, len(self.failed), time.monotonic()
        self._scene = letter
        self._kept.clear()
        self._line("\n" + self._paint("1", f"── {letter}. {title} ".ljust(WIDTH, "─")))
        try:
            yield
        except Exception as error:
            self.check(f"the scene is played to its end: {type(error).__name__}: {error}", False, traceback.format_exc())
        bad = len(self.failed) - failed
        self.broken += bad > 0
        verdict = f"{bad} FAILED" if bad else "ok"
        self._scenes.append(f"scene {letter}  {title}: {self.passed - passed + bad} checks, {verdict}, {time.monotonic() - started:.1f} s")
        if not self._aloud:
            if bad:
                print("\n".join(self._kept))
            print(self._scenes[-1], flush=True)

    def say(self, text: str) -> None:
        """A sentence of explanation."""
        for line in textwrap.wrap(text, WIDTH - 3):
            self._line(f"   {line}")

    def sent(self, line: str) -> None:
        """What a client sent."""
        self._line(self._paint("36", f"   → {clip(line)}"))

    def answered(self, line: str) -> None:
        """What a server answered."""
        self._line(self._paint("33", f"   ← {clip(line)}"))

    def printed(self, text: str) -> None:
        """What a program printed, or rows of a table."""
        for line in text.splitlines():
            self._line(self._paint("2", f"     {clip(line)}"))

    def mail(self, place: str, message: Message) -> None:
        """Where a message ended up, with the header fields that matter."""
        self.say(f"stored: {place}")
        for name in SHOWN:
            for value in message.get_all(name, []):
                lines = [part for line in f"{name}: {value}".splitlines() for part in textwrap.wrap(line.strip(), WIDTH - 10)]
                for index, line in enumerate(lines):
                    self._line(self._paint("2", f"     | {'    ' if index else ''}{line}"))

    def check(self, what: str, right: bool, seen: object = "") -> None:
        """Something that must be so; `seen` is told if it is not."""
        if right:
            self.passed += 1
            self._line(self._paint("32", f"   ✓ {what}"))
            return
        self.failed.append(f"{self._scene}: {what}")
        self._line(self._paint("31;1", f"   ✗ {what}"))
        self.printed(str(seen))

    def figure(self, text: str) -> None:
        """A measured figure: told in any case."""
        print(f"   {text}", flush=True)

    def skip(self, what: str, why: str) -> None:
        """Something that this machine does not allow; told at the end again."""
        self.not_run.append(f"{self._scene}: {what}: {why}")
        self._line(self._paint("35;1", f"   ! NOT RUN: {what}: {why}"))

    def summary(self) -> bool:
        """The end: each scene, what failed, what could not be run, and the counts alone on the last line. True if all was right."""
        print("\n".join(["", "Summary", *self._scenes, ""]) if self._aloud else "")
        for line in self.not_run:
            print(f"NOT RUN  {line}")
        for line in self.failed:
            print(f"FAILED   {line}")
        print(f"{self.passed} passed, {len(self.failed)} failed", flush=True)
        return not self.failed

    def _line(self, line: str) -> None:
        if self._aloud:
            print(line, flush=True)
        else:
            self._kept.append(line)

    def _paint(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._colours else text


def clip(line: str) -> str:
    """A line that fits."""
    return line if len(line) <= WIDTH - 6 else line[: WIDTH - 7] + "…"
