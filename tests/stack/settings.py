"""The configuration files of `examples/`, with the few places rewritten that a private instance must have elsewhere.

The files are those that an operator copies; the table below is everything that differs. What a private instance needs beyond
(queue directory, ports, logs) is appended by `servers.py`. A rewriting that no longer finds its text is an error: the example and
this table have drifted apart.
"""

import re
from dataclasses import dataclass
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

#: Paths of a real host, by where they lie in the private directory. The first that fits is taken.
PLACES = [
    ("/var/spool/postfix", "spool"),
    ("/etc/gatepost", "etc/gatepost"),
    ("/etc/dovecot", "etc/dovecot"),
    ("/etc/ssl/mail", "etc/tls"),
    ("/run/gatepost", "run/gatepost"),
    ("/run/postgresql", "run/postgresql"),
    ("/var/vmail", "vmail"),
]


@dataclass(frozen=True)
class Ports:
    """The tcp ports of a private instance, all on 127.0.0.1."""

    smtp: int
    submission: int
    submissions: int
    imap: int
    imaps: int
    pop3: int
    pop3s: int
    sieve: int
    postgresql: int
    dns: int
    outside: int
    standby: int
    web: int


class Drifted(Exception):
    """An example no longer holds what is rewritten here."""


def private(text: str, directory: Path) -> str:
    """A text with the paths of the private directory."""
    places = dict(PLACES)
    # Where a path begins: the end of /var/spool/postfix/run/gatepost is none.
    return re.sub(rf"(?<!\w)(?:{'|'.join(map(re.escape, places))})", lambda match: str(directory / places[match[0]]), text)


def example(name: str, directory: Path, changes: dict[str, str]) -> str:
    """The text of an example with the paths of the private directory and the given changes, each of which must apply."""
    text = private((EXAMPLES / name).read_text(), directory)
    for old, new in changes.items():
        if old not in text:
            raise Drifted(f"examples/{name} no longer holds {old!r}")
        text = text.replace(old, new)
    return text
