"""Our three daemons, run as systemd runs them: each under a uid of its own, with listening sockets that outlive it.

The sockets are opened here with their owner and mode, once, and passed at every start: whoever connects while a daemon is away
waits in the backlog. A start is over when the daemon says READY=1 (sd_notify).
"""

import os
import re
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from waiting import until

HERE = Path(__file__).parent
READY_WITHIN = 60.0
#: limits.drain of the configuration is 20 s.
STOPPED_WITHIN = 40.0


@dataclass(frozen=True)
class Socket:
    """One `.socket` unit: the name under which it is passed, its path, and who may connect."""

    name: str
    path: Path
    uid: int
    gid: int
    mode: int


@dataclass
class Daemon:
    """One daemon; `start` and `stop` any number of times between `__init__` and `close`."""

    name: str
    program: Path
    config: Path
    uid: int
    sockets: list[Socket]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    listeners: dict[str, socket.socket] = field(default_factory=dict)

    def listen(self) -> None:
        """Opens the sockets. Made under another name and renamed, so that nobody connects before mode and owner are right."""
        for one in self.sockets:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            temporary = one.path.with_suffix(".new")
            listener.bind(str(temporary))
            os.chown(temporary, one.uid, one.gid)
            os.chmod(temporary, one.mode)
            listener.listen(4096)
            temporary.rename(one.path)
            self.listeners[one.name] = listener

    def start(self) -> None:
        """Starts it and waits until it is ready."""
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = self.log.with_suffix(".notify")
        path.unlink(missing_ok=True)
        notify.bind(str(path))
        os.chmod(path, 0o666)
        notify.settimeout(0.1)
        command, environment = self._launch(path)
        with notify, self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[listener.fileno() for listener in self.listeners.values()],
                env=environment,
                # A Ctrl-C of the terminal is for the harness, which stops everything in order.
                start_new_session=True,
            )
            until(f"{self.name} is ready", lambda: self._ready(notify), READY_WITHIN, pause=0)
        path.unlink()

    def _launch(self, notify: Path) -> tuple[list[str], dict[str, str]]:
        """The command that starts it, and its environment."""
        passed = ",".join(f"{name}={listener.fileno()}" for name, listener in self.listeners.items())
        launch = [sys.executable, str(HERE / "launch.py"), str(self.uid), passed]
        command = [str(self.program), "--config", str(self.config), "run"]
        return launch + command, {"PATH": os.environ["PATH"], "NOTIFY_SOCKET": str(notify), "RUST_BACKTRACE": "0"}

    def _ready(self, notify: socket.socket) -> bool:
        if self.process is None or self.process.poll() is not None:
            raise RuntimeError(f"{self.name} did not start:\n{self.tail()}")
        try:
            return b"READY=1" in notify.recv(4096).split(b"\n")
        except TimeoutError:
            return False

    def reload(self) -> None:
        """SIGHUP, and waits until the new configuration counts."""
        assert self.process is not None
        said = "configuration reloaded"
        before = self.log.read_text(errors="replace").count(said)
        self.process.send_signal(signal.SIGHUP)
        until(f"{self.name} reloads", lambda: self.log.read_text(errors="replace").count(said) > before)

    def stop(self) -> int:
        """SIGTERM, and waits for its end; returns its exit status."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOPPED_WITHIN)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.process = None
        return status

    def close(self) -> None:
        """Stops it and closes its sockets."""
        self.stop()
        for listener in self.listeners.values():
            listener.close()
        self.listeners.clear()

    @property
    def pid(self) -> int:
        """Its process id; it must be running."""
        assert self.process is not None
        return self.process.pid

    def memory(self) -> tuple[int, int]:
        """Resident and proportional memory in KiB."""
        text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        found = {key: int(value) for key, value in re.findall(r"^(Rss|Pss): +(\d+) kB", text, re.M)}
        return found["Rss"], found["Pss"]

    def ailments(self) -> list[str]:
        """What must not happen whatever the scene: it ended by itself, or a task of it panicked."""
        found = []
        if self.process is not None and self.process.poll() is not None:
            found.append(f"{self.name} ended by itself with status {self.process.returncode}")
        if self.log.exists():
            found += [line for line in self.log.read_text(errors="replace").splitlines() if "panicked at" in line]
        return found

    def tail(self, lines: int = 30) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
