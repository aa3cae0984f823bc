"""Our systemd units, read and obeyed as far as a test can: what a `.service` and its `.socket` units say becomes a running daemon.

No systemd runs where tests run. So the units of `packaging/systemd` (or the installed ones) are read here, their sockets opened, their
credentials and state directories made, and `sandbox.py` puts the limits on that they ask for. What is not known here is an error: a line
of a unit that nobody tries out is not proven to work.
"""

import grp
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from daemons import HERE, Daemon, Socket
from servers import VMAIL, uid_of

UNITS = HERE.parents[1] / "packaging/systemd"

#: Directives that `sandbox.py` carries out, and those that mean nothing to one process in a test.
LIMITS = (
    *("NoNewPrivileges", "CapabilityBoundingSet", "AmbientCapabilities", "ProtectSystem", "ProtectHome", "InaccessiblePaths", "PrivateTmp"),
    *("PrivateDevices", "PrivateUsers", "PrivateIPC", "PrivateMounts", "ProtectProc", "ProcSubset", "ProtectHostname", "RestrictNamespaces", "RestrictRealtime"),
    *("RestrictSUIDSGID", "LockPersonality", "MemoryDenyWriteExecute", "RestrictAddressFamilies", "SystemCallArchitectures", "SystemCallFilter"),
    *("UMask", "LimitNOFILE", "LimitCORE"),
)
OBEYED = ("Type", "User", "ExecStart", "ExecReload", "Sockets", "WatchdogSec", "StateDirectory", "StateDirectoryMode", "LoadCredential")
#: Implied by having no capabilities and a read-only file system, or of concern to systemd alone.
IMPLIED = (
    *("ProtectClock", "ProtectControlGroups", "ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables", "KeyringMode", "RemoveIPC"),
    *("Restart", "RestartSec", "RestartPreventExitStatus", "TimeoutStopSec", "SystemCallErrorNumber"),
)


class Unknown(Exception):
    """A unit says something that is not carried out here."""


def read(path: Path, rewrite: Callable[[str], str] = lambda text: text) -> dict[str, list[str]]:
    """The directives of a unit, each with its values in their order; an empty value takes those before away (systemd.syntax(7))."""
    found: dict[str, list[str]] = {}
    for line in rewrite(path.read_text()).splitlines():
        if not line or line[0] in "#;[":
            continue
        key, _, value = line.partition("=")
        found[key] = [*found.get(key, []), value] if value else []
    return found


def group_of(name: str, ids: dict[str, int]) -> int:
    """A group's number; those of the private instance go before the system's."""
    return ids[name] if name in ids else grp.getgrnam(name).gr_gid


def sockets_of(service: dict[str, list[str]], units: Path, rewrite: Callable[[str], str], ids: dict[str, int]) -> list[Socket]:
    """The sockets that a service names."""
    found = []
    for name in " ".join(service["Sockets"]).split():
        unit = read(units / name, rewrite)
        (path,), (user,), (group,) = unit["ListenStream"], unit["SocketUser"], unit["SocketGroup"]
        uid = ids[user] if user in ids else uid_of(user)
        found.append(Socket(unit["FileDescriptorName"][0], Path(path), uid, group_of(group, ids), int(unit["SocketMode"][0], 8)))
    return found


@cache
def call_set(name: str) -> frozenset[str]:
    """The system calls of one of systemd's sets, its sets included."""
    printed = subprocess.run(["systemd-analyze", "syscall-filter", name], check=True, capture_output=True, text=True).stdout
    calls: set[str] = set()
    for word in (line.strip() for line in printed.splitlines()[1:]):
        if word.startswith("@"):
            calls |= call_set(word)
        elif word and not word.startswith("#"):
            calls.add(word)
    return frozenset(calls)


def allowed_calls(lines: list[str]) -> list[str]:
    """What `SystemCallFilter=` lines allow (systemd.exec(5)): the first decides that it is an allow list, `~` takes away."""
    calls: set[str] = set(call_set("@default"))
    for line in lines:
        words = line.removeprefix("~").split()
        named = {call for word in words for call in (call_set(word) if word.startswith("@") else [word])}
        calls = calls - named if line.startswith("~") else calls | named
    return sorted(calls)


@dataclass
class UnitDaemon(Daemon):
    """A daemon that runs as its unit says. `keep` is a directory that stays visible where the unit hides what is around it."""

    service: dict[str, list[str]] = field(default_factory=dict)
    gid: int = 0
    keep: Path | None = None
    state: Path = Path("/var/lib")
    credentials: Path = Path("/run/credentials")
    #: What a system call does that the unit does not allow: in tests it ends the process, so that none goes unnoticed.
    forbidden: str = "kill"
    environment: dict[str, str] = field(default_factory=dict)
    _heard: set[bytes] = field(default_factory=set)

    @classmethod
    def of(cls, name: str, units: Path, rewrite: Callable[[str], str], ids: dict[str, int], **given: object) -> "UnitDaemon":
        """Reads NAME.service and its sockets. `ids` are users and groups that are no accounts of this system."""
        service = read(units / f"{name}.service", rewrite)
        known = {*LIMITS, *OBEYED, *IMPLIED, "Description", "Documentation", "After", "Before", "StartLimitIntervalSec", "WantedBy", "Also"}
        if unknown := service.keys() - known:
            raise Unknown(f"{name}.service: {', '.join(sorted(unknown))} is not tried by tests/stack/units.py")
        (user,) = service["User"]
        uid = ids[user] if user in ids else uid_of(user)
        sockets = sockets_of(service, units, rewrite, ids)
        return cls(name=name, uid=uid, gid=group_of(user, ids), sockets=sockets, service=service, **given)  # type: ignore[arg-type]

    def listen(self) -> None:
        """Opens the sockets, and makes their directories as systemd does."""
        for one in self.sockets:
            one.path.parent.mkdir(parents=True, exist_ok=True)
        super().listen()

    def _launch(self, notify: Path) -> tuple[list[str], dict[str, str]]:
        self._heard = set()
        environment = {"PATH": os.environ["PATH"], "NOTIFY_SOCKET": str(notify), "RUST_BACKTRACE": "0", **self.environment}
        environment["WATCHDOG_USEC"] = environment.get("WATCHDOG_USEC") or str(int(self.service["WatchdogSec"][0].removesuffix("s")) * 1_000_000)
        writable = []
        if names := self.service.get("StateDirectory"):
            directory = self.state / names[0]
            directory.mkdir(parents=True, exist_ok=True)
            os.chown(directory, self.uid, self.gid)
            directory.chmod(int(self.service["StateDirectoryMode"][0], 8))
            environment["STATE_DIRECTORY"] = str(directory)
            writable.append(str(directory))
        environment["CREDENTIALS_DIRECTORY"] = str(self._load_credentials())
        specification = {
            "uid": self.uid,
            "gid": self.gid,
            "sockets": {name: listener.fileno() for name, listener in self.listeners.items()},
            "limits": {key: self.service[key] for key in LIMITS if key in self.service and (key != "PrivateUsers" or user_namespaces_allowed())},
            "calls": allowed_calls(self.service["SystemCallFilter"]),
            "forbidden": self.forbidden,
            "writable": writable,
            "keep": str(self.keep) if self.keep else None,
        }
        program = [str(self.program), *self._arguments()]
        return [sys.executable, "-B", str(HERE / "sandbox.py"), json.dumps(specification), *program], environment

    def _ready(self, notify: socket.socket) -> bool:
        """Ready, and it has told the watchdog that it lives: it does so at once, and then twice in WatchdogSec=."""
        if self.process is None or self.process.poll() is not None:
            raise RuntimeError(f"{self.name} did not start, or was ended by the limits of its unit:\n{self.tail()}")
        try:
            self._heard |= set(notify.recv(4096).split(b"\n"))
        except TimeoutError:
            return False
        return {b"READY=1", b"WATCHDOG=1"} <= self._heard

    def _arguments(self) -> list[str]:
        """The words of ExecStart behind the program, and the configuration of a private instance."""
        words = self.service["ExecStart"][0].split()[1:]
        return words if self.config == Path("/etc/gatepost/gatepost.toml") else ["--config", str(self.config), *words]

    def _load_credentials(self) -> Path:
        """Copies for this daemon alone, as LoadCredential= makes them: each file of a directory as ID_FILE."""
        target = self.credentials / f"{self.name}.service"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True, mode=0o755)
        for line in self.service.get("LoadCredential", []):
            id, _, source = line.partition(":")
            files = {f"{id}_{path.name}": path for path in Path(source).iterdir()} if Path(source).is_dir() else {id: Path(source)}
            for name, path in files.items():
                shutil.copy(path, target / name)
                os.chmod(target / name, 0o400)
                os.chown(target / name, self.uid, self.gid)
        os.chown(target, self.uid, self.gid)
        target.chmod(0o500)
        return target

    def close(self) -> None:
        """Stops it, and leaves neither sockets nor credentials."""
        super().close()
        shutil.rmtree(self.credentials / f"{self.name}.service", ignore_errors=True)
        for one in self.sockets:
            one.path.unlink(missing_ok=True)


def namespaces_allowed() -> bool:
    """Whether this machine lets root make mount namespaces: a container often does not."""
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0


@cache
def user_namespaces_allowed() -> bool:
    """Whether the kernel gives root a user namespace: never in a chroot."""
    return subprocess.run(["unshare", "--user", "true"], capture_output=True).returncode == 0


def private_ids(uids: dict[str, int]) -> dict[str, int]:
    """The accounts that a private instance has as numbers only."""
    return {"_gatepost-milter": uids["milter"], "_gatepost-auth": uids["dovecot-auth"], "_gatepost-policy": uids["postfix-policy"], "vmail": VMAIL}
