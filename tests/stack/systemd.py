"""A stand-in for systemd on a machine of its own where none runs: what asks `systemctl` asks us, and we start and stop what it names.

Our daemons run as their units say (units.py); of programs that are not installed only the name and the state is known. What systemd does
beyond that is not proven by it.
"""

import json
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path

from units import UnitDaemon

#: Before /usr/bin, where systemd's own is, in root's path and in that of `gatepost setup`.
SYSTEMCTL = Path("/usr/sbin/systemctl")
#: What programs take as the sign that systemd runs (sd_booted(3)).
BOOTED = Path("/run/systemd/system")

PROGRAM = """#!/usr/bin/python3 -B
# Stands in for systemctl in tests: tests/stack/systemd.py answers.
import json, socket, sys
with socket.socket(socket.AF_UNIX) as asked:
    asked.connect({path!r})
    asked.sendall(json.dumps(sys.argv[1:]).encode())
    asked.shutdown(socket.SHUT_WR)
    status, text = json.loads(asked.makefile().read())
print(text, end="", file=sys.stderr if status else sys.stdout)
sys.exit(status)
"""


@dataclass
class Unit:
    """A service: one of our daemons, or the name of somebody else's."""

    daemon: UnitDaemon | None = None
    enabled: bool = True
    active: bool = False

    def start(self) -> None:
        if self.daemon and not self.active:
            # Sockets= pulls them in.
            self.daemon.listen()
            self.daemon.start()
        self.active = True

    def stop(self) -> None:
        if self.daemon and self.active:
            self.daemon.close()
        self.active = False


@dataclass
class Systemd:
    """Answers `systemctl` between `start` and `stop`; `asked` is what changed something."""

    units: dict[str, Unit]
    place: Path
    asked: list[str] = field(default_factory=list)
    _listener: socket.socket | None = None

    def start(self) -> None:
        """From now on this machine looks as if systemd ran it."""
        BOOTED.mkdir(parents=True, exist_ok=True)
        SYSTEMCTL.write_text(PROGRAM.format(path=str(self.place)))
        SYSTEMCTL.chmod(0o755)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.place))
        self._listener.listen()
        threading.Thread(target=self._answer, args=(self._listener,), daemon=True).start()

    def stop(self) -> None:
        """Stops every unit, and answers no more."""
        if self._listener:
            self._listener.close()
            SYSTEMCTL.unlink()
            BOOTED.rmdir()
            self._listener = None
        for unit in self.units.values():
            unit.stop()

    def _answer(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                words = json.loads(connection.makefile().read())
                try:
                    status, text = self._obey(words)
                except Exception as error:
                    status, text = 1, f"systemctl {' '.join(words)}: {error}\n"
                connection.sendall(json.dumps([status, text]).encode())

    def _obey(self, words: list[str]) -> tuple[int, str]:
        """The exit status, as systemctl(1) has it, and what is printed."""
        verb, *names = [word for word in words if not word.startswith("-")]
        if unknown := [name for name in names if name not in self.units]:
            # 4: no such unit.
            return 4, f"Unit {unknown[0]} could not be found.\n"
        units = [self.units[name] for name in names]
        now = "--now" in words
        match verb:
            case "cat":
                return 0, ""
            case "is-active":
                return (0 if any(unit.active for unit in units) else 3), ""
            case "is-enabled":
                return (0 if any(unit.enabled for unit in units) else 1), ""
            case "enable" | "disable":
                self.asked.append(" ".join(words))
                for unit in units:
                    unit.enabled = verb == "enable"
                    if now:
                        unit.start() if unit.enabled else unit.stop()
                return 0, ""
            case "start" | "stop":
                self.asked.append(" ".join(words))
                for unit in units:
                    unit.start() if verb == "start" else unit.stop()
                return 0, ""
        return 1, f"systemctl {' '.join(words)}: not known to the stand-in of the tests\n"
