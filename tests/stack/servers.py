"""The servers of others: PostgreSQL, Postfix, Dovecot, and what stands for the outside: a DNS server and an SMTP server.

Each is a private instance below one directory, on loopback ports and unix sockets, with the stock binaries of the distribution.
"""

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

from settings import EXAMPLES, Ports, example
from waiting import until

HERE = Path(__file__).parent
VMAIL = 5000
PSQL = ("psql", "-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1")


class Trouble(Exception):
    """A server of others did not do what it always does; the text says what it printed."""


def run(*command: str | Path, stdin: str = "", user: str | None = None, environment: dict[str, str] | None = None) -> str:
    """Runs a command to its end and returns what it printed; anything but status 0 is an error that shows all of it."""
    words = [str(word) for word in command]
    if user:
        words = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", *words]
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, cwd="/", env={**os.environ, **(environment or {})})
    if done.returncode:
        raise Trouble(f"{' '.join(words)}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Child:
    """A server that runs in the foreground as a child of ours."""

    def __init__(self, command: list[str | Path], log: Path) -> None:
        with log.open("ab") as output:
            self._log = log
            self._process = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd="/"
            )

    def answers_on(self, port: int) -> None:
        """Waits until it accepts connections."""
        until(f"somebody answers on port {port}", lambda: self._alive() and accepts(port))

    def _alive(self) -> bool:
        if self._process.poll() is not None:
            raise Trouble(f"{self._process.args!r} ended:\n{self._log.read_text()}")
        return True

    def stop(self) -> None:
        """SIGTERM, and waits; SIGKILL to its whole process group for what does not go."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


class Postgres:
    """A throw-away cluster with the tutorial's database, served on a unix socket and on loopback tcp as in that setup."""

    def __init__(self, directory: Path, ports: Ports) -> None:
        self.socket = directory / "run/postgresql"
        self.port = ports.postgresql
        self._data = directory / "postgresql"
        self._log = directory / "log/postgresql.log"
        self._bin = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
        self._running = False

    def create(self, hba: str | None = None, tables: bool = True) -> None:
        """Makes the cluster, with examples/pg_hba.conf or another, starts it, and loads the tutorial's objects and test data."""
        for path in (self._data, self.socket):
            path.mkdir(parents=True)
            shutil.chown(path, "postgres", "postgres")
        self._log.touch()
        shutil.chown(self._log, "postgres")
        run(self._bin / "initdb", "-D", self._data, "-U", "postgres", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8", user="postgres")
        (self._data / "pg_hba.conf").write_text(hba or (EXAMPLES / "pg_hba.conf").read_text())
        with (self._data / "postgresql.conf").open("a") as conf:
            conf.write(
                f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = '{self.socket}'\n"
                "max_connections = 200\nfsync = off\nfull_page_writes = off\n"
            )
        self.start()
        if tables:
            self.make_tables()

    def make_tables(self) -> None:
        """The tutorial's database, with its test data."""
        self.sql("CREATE DATABASE mail_server", database="postgres")
        self.sql((HERE.parent / "support/mail_server.sql").read_text())

    def start(self) -> None:
        """Starts the server, if it does not run, and waits until it answers."""
        if self._running:
            return
        run(self._bin / "pg_ctl", "-D", self._data, "-l", self._log, "-w", "-t", "60", "start", user="postgres")
        self._running = True

    def stop(self, mode: str = "immediate") -> None:
        """Stops it, by default as a crash does."""
        if self._running:
            run(self._bin / "pg_ctl", "-D", self._data, "-m", mode, "-w", "stop", user="postgres")
            self._running = False

    def sql(self, statements: str, database: str = "mail_server") -> str:
        """Runs statements as the owner; returns rows as lines of tab-separated values."""
        return run(*PSQL, "-h", self.socket, "-p", str(self.port), "-d", database, stdin=statements, user="postgres").strip()

    def sql_as(self, role: str, statements: str) -> str:
        """The same as another role, with its password over tcp, as Nextcloud does. The tutorial's roles have their name as password."""
        place = ("-h", "127.0.0.1", "-p", str(self.port), "-U", role, "-d", "mail_server")
        return run(*PSQL, *place, stdin=statements, environment={"PGPASSWORD": role}).strip()


class Postfix:
    """A private instance from the distribution's master.cf, examples/main.cf and examples/master.cf."""

    STOCK = Path("/usr/share/postfix/master.cf.dist")

    def __init__(self, directory: Path, ports: Ports) -> None:
        self.config = directory / "etc/postfix"
        self.spool = directory / "spool"
        self.log = directory / "log/postfix.log"
        self.version = run("postconf", "-d", "-h", "mail_version").strip()
        self._data = directory / "postfix-data"
        self._ports = ports
        self._running = False

    def configure(self) -> None:
        """Writes its files."""
        directory = self.config.parents[1]
        self.write(example("main.cf", directory, {}), self.STOCK.read_text() + example("master.cf", directory, {}))

    def write(self, main: str, master: str) -> None:
        """Writes these files, with what a private instance needs beyond."""
        self.config.mkdir(parents=True)
        self._data.mkdir()
        shutil.chown(self._data, "postfix")
        main += f"""
# --- A private instance
queue_directory = {self.spool}
data_directory = {self._data}
maillog_file = {self.log}
maillog_file_prefixes = {self.log.parent}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
# Scenes appear from any address; what leaves goes to the stand-in for the outside.
smtpd_authorized_xclient_hosts = 127.0.0.0/8
relayhost = [127.0.0.1]:{self._ports.outside}
# Scenes do not wait for the usual five minutes.
minimal_backoff_time = 1s
maximal_backoff_time = 5s
queue_run_delay = 2s
"""
        (self.config / "main.cf").write_text(main)
        for service in ("smtp", "submission", "submissions"):
            if any(line.split()[:2] == [service, "inet"] for line in master.splitlines()):
                master = moved(master, service, getattr(self._ports, service))
        (self.config / "master.cf").write_text(master)
        # What the distribution copies into the chroot for name lookups; no server answers there, so that nothing asks the network.
        chroot = self.spool / "etc"
        chroot.mkdir()
        (chroot / "hosts").write_text("127.0.0.1 localhost\n")
        (chroot / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        for name in ("services", "nsswitch.conf"):
            shutil.copy(Path("/etc") / name, chroot)

    def start(self) -> None:
        """Starts it."""
        run("postfix", "-c", self.config, "start")
        self._running = True
        until("Postfix answers", lambda: accepts(self._ports.smtp))

    def stop(self) -> None:
        """Stops it with all its processes."""
        if self._running:
            run("postfix", "-c", self.config, "stop")
            self._running = False

    def reload(self) -> None:
        """Has every process begun anew: smtpd reads what mechanisms there are when it connects, and keeps the connection."""
        run("postfix", "-c", self.config, "reload")

    def queue(self) -> list[str]:
        """The queued messages, one JSON line each."""
        return run("postqueue", "-c", self.config, "-j").splitlines()

    def flush(self) -> None:
        """Tries everything queued again now."""
        run("postqueue", "-c", self.config, "-f")


def moved(master: str, service: str, port: int) -> str:
    """master.cf with an inet service on a loopback port."""
    lines = master.splitlines(keepends=True)
    for index, line in enumerate(lines):
        words = line.split()
        if words[:2] == [service, "inet"]:
            lines[index] = line.replace(service, f"127.0.0.1:{port}", 1)
            return "".join(lines)
    raise Trouble(f"master.cf has no inet service {service}")


class Dovecot:
    """A private instance from examples/dovecot-2.3.conf or dovecot-2.4.conf, whichever is installed."""

    def __init__(self, directory: Path, ports: Ports) -> None:
        self.version = ".".join(run("dovecot", "--version").split()[0].split(".")[:2])
        self.config = directory / "etc/dovecot/dovecot.conf"
        self.log = directory / "log/dovecot.log"
        self._directory = directory
        self._ports = ports
        self._child: Child | None = None

    def configure(self) -> None:
        """Writes its files and compiles the Sieve script."""
        ports = {143: self._ports.imap, 993: self._ports.imaps, 110: self._ports.pop3, 995: self._ports.pop3s, 4190: self._ports.sieve}
        text = example(
            f"dovecot-{self.version}.conf", self._directory, {f"port = {old}\n": f"port = {new}\n" for old, new in ports.items()}
        )
        text += self.private()
        sieve = self.config.parent / "sieve"
        sieve.mkdir(parents=True)
        self.config.write_text(text)
        for name in ("spam-to-junk", "learn-spam", "learn-ham"):
            script = sieve / f"{name}.sieve"
            shutil.copy(EXAMPLES / script.name, script)
            run("sievec", "-c", self.config, script)

    def private(self) -> str:
        """What a private instance needs beyond."""
        return f"""
# --- A private instance
listen = 127.0.0.1
base_dir = {self._directory}/run/dovecot
log_path = {self.log}
state_dir = {self._directory}/run/dovecot-state
"""

    def start(self) -> None:
        """Starts it."""
        self._child = Child(["dovecot", "-F", "-c", self.config], self.log.with_suffix(".err"))
        self._child.answers_on(self._ports.imap)

    def stop(self) -> None:
        """Stops it with all its processes."""
        if self._child:
            self._child.stop()
            self._child = None


class Outside:
    """The rest of the world: a DNS server with our zone file, and an SMTP server that keeps what it gets (Postfix's smtp-sink)."""

    def __init__(self, directory: Path, ports: Ports) -> None:
        self.zone = directory / "zone"
        self.mail = directory / "outside"
        self._log = directory / "log/outside.log"
        self._ports = ports
        self._children: list[Child] = []

    def start(self) -> None:
        """Starts both."""
        self.mail.mkdir()
        shutil.chown(self.mail, "postfix")
        self._children = [
            Child([sys.executable, HERE / "nameserver.py", self.zone, "127.0.0.1", str(self._ports.dns)], self._log),
            Child(["smtp-sink", "-u", "postfix", "-d", self.mail / "%s.", f"127.0.0.1:{self._ports.outside}", "100"], self._log),
        ]
        for child, port in zip(self._children, (self._ports.dns, self._ports.outside)):
            child.answers_on(port)

    def stop(self) -> None:
        """Stops both."""
        for child in self._children:
            child.stop()
        self._children.clear()

    def received(self, message_id: str) -> list[bytes]:
        """What came with that Message-ID, as it was sent: without the lines that smtp-sink puts on top."""
        found = []
        for path in self.mail.iterdir():
            whole = path.read_bytes()
            if message_id.encode() in whole:
                found.append(strip_dump(whole))
        return found


def strip_dump(whole: bytes) -> bytes:
    """A dump of smtp-sink without its own header (smtp-sink(1), "DUMP FILE FORMAT"): X-… lines, then a Received of three lines."""
    lines = whole.splitlines(keepends=True)
    start = next(index for index, line in enumerate(lines) if not line.startswith(b"X-"))
    assert lines[start].startswith(b"Received:"), lines[start]
    start += 1
    while lines[start][:1] in (b" ", b"\t"):
        start += 1
    return b"".join(line.rstrip(b"\r\n") + b"\r\n" for line in lines[start:])


def accepts(port: int) -> bool:
    """Whether somebody listens on that loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_ports() -> Ports:
    """Ports that nobody uses at the moment, below those that the kernel gives to clients."""
    names = list(Ports.__dataclass_fields__)
    candidates = random.sample(range(20000, 32000), 200)
    free = [port for port in candidates if not accepts(port)]
    return Ports(**dict(zip(names, free)))


def uid_of(name: str) -> int:
    """The number of a system user."""
    return pwd.getpwnam(name).pw_uid
