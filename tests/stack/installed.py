"""The mail server of the scenes on what our packages installed: default paths, default configuration, default ports, the units' accounts.

For a root of its own with network and process namespaces (`tests/installation`), because it takes the host's places: it writes
/etc/postfix and /etc/dovecot as the README says, from the installed examples, and listens on port 25. What differs from a real host is in
`PRIVATE`: where mail that leaves goes, and that scenes may pretend to come from anywhere.
"""

import shutil
from pathlib import Path

from servers import VMAIL, Dovecot, Outside, Postfix, Postgres, run, uid_of
from settings import Ports
from stack import UIDS, Stack
from units import UnitDaemon

EXAMPLES = Path("/usr/share/doc/gatepost/examples")
#: Where systemd finds them in either release; /lib is a link to /usr/lib.
UNITS = Path("/lib/systemd/system")
#: Below /run, which the units do not hide: the scenes' logs, zone and what left.
DIRECTORY = Path("/run/gatepost-scenes")
PORTS = Ports(
    smtp=25, submission=587, submissions=465, imap=143, imaps=993, pop3=110, pop3s=995, sieve=4190, postgresql=5432, dns=53, outside=2525,
    standby=5433, web=8080,
)
PRIVATE = """
smtpd_authorized_xclient_hosts = 127.0.0.0/8
relayhost = [127.0.0.1]:{outside}
minimal_backoff_time = 1s
maximal_backoff_time = 5s
queue_run_delay = 2s
maillog_file = {log}
maillog_file_prefixes = {log.parent}
"""


class InstalledPostgres(Postgres):
    """The cluster that Debian's package made."""

    def __init__(self) -> None:
        self.socket = Path("/run/postgresql")
        self.port = PORTS.postgresql
        self._version = max(path.name for path in Path("/etc/postgresql").iterdir())
        self._running = False

    def create(self) -> None:
        """Starts it, lets the daemons in by their system users, and loads the tutorial's database."""
        directory = Path("/etc/postgresql", self._version, "main")
        ours = [
            "local postgres postgres peer",
            "local mail_server gatepost_milter,gatepost_auth,gatepost_policy peer map=gatepost",
            *(line for line in (EXAMPLES / "pg_hba.conf").read_text().splitlines() if "gatepost" not in line),
        ]
        (directory / "pg_hba.conf").write_text("\n".join(ours) + "\n")
        with (directory / "pg_ident.conf").open("a") as file:
            file.write((EXAMPLES / "pg_ident.conf").read_text())
        self.start()
        self.make_tables()

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        run("pg_ctlcluster", self._version, "main", "start")
        self._running = True

    def stop(self, mode: str = "immediate") -> None:
        """Stops it."""
        if self._running:
            run("pg_ctlcluster", "-m", mode, self._version, "main", "stop")
            self._running = False


class InstalledPostfix(Postfix):
    """Debian's Postfix in its own places, with the installed examples."""

    def __init__(self) -> None:
        super().__init__(DIRECTORY, PORTS)
        self.config, self.spool = Path("/etc/postfix"), Path("/var/spool/postfix")

    def configure(self) -> None:
        """Writes its files."""
        main = (EXAMPLES / "main.cf").read_text() + PRIVATE.format(outside=PORTS.outside, log=self.log)
        (self.config / "main.cf").write_text(main)
        (self.config / "master.cf").write_text(self.STOCK.read_text() + (EXAMPLES / "master.cf").read_text())
        self.fill_chroot()

    def fill_chroot(self) -> None:
        """What Debian's unit copies there at every start."""
        chroot = self.spool / "etc"
        chroot.mkdir(exist_ok=True)
        for name in ("hosts", "resolv.conf", "services", "nsswitch.conf"):
            shutil.copy(Path("/etc") / name, chroot)


class InstalledDovecot(Dovecot):
    """Debian's Dovecot in its own places, with the installed example."""

    def __init__(self) -> None:
        super().__init__(DIRECTORY, PORTS)
        self.config = Path("/etc/dovecot/dovecot.conf")

    def configure(self) -> None:
        """Writes its files and compiles the Sieve scripts."""
        text = (EXAMPLES / f"dovecot-{self.version}.conf").read_text()
        self.config.write_text(f"{text}\nlisten = 127.0.0.1\nlog_path = {self.log}\n")
        sieve = self.config.parent / "sieve"
        sieve.mkdir(exist_ok=True)
        for name in ("spam-to-junk", "learn-spam", "learn-ham"):
            shutil.copy(EXAMPLES / f"{name}.sieve", sieve)
            run("sievec", "-c", self.config, sieve / f"{name}.sieve")


class Installed(Stack):
    """As `Stack`, without a single path or port of its own."""

    def __init__(self) -> None:
        self.directory = DIRECTORY
        self.ports = PORTS
        self.programs = Path("/usr/bin")
        self.postgres = InstalledPostgres()
        self.postfix = InstalledPostfix()
        self.dovecot = InstalledDovecot()
        self.outside = Outside(DIRECTORY, PORTS)
        self.config = Path("/etc/gatepost/gatepost.toml")
        self.tls = Path("/etc/ssl/mail")
        self.confined = True
        self.daemons = {name: self._daemon(name) for name in UIDS}
        self.stranger_key = b""

    def _daemon(self, name: str) -> UnitDaemon:
        program = f"gatepost-{name}"
        return UnitDaemon.of(
            *(program, UNITS, lambda text: text, {}),
            program=Path("/usr/sbin", program),
            config=self.config,
            log=DIRECTORY / f"log/{program}.log",
        )

    def _make_directories(self) -> None:
        for name in ("log", "vmail"):
            (DIRECTORY / name).mkdir(parents=True)
        self.tls.mkdir(parents=True, exist_ok=True)
        Path("/etc/resolv.conf").write_text("nameserver 127.0.0.1\n")
        assert uid_of("vmail") == VMAIL, "sysusers.d gives the owner of the mail another number than the Dovecot examples have"

    def _configure(self) -> None:
        """Nothing: the installed file is what is tried."""

    def _install_schema(self) -> None:
        self.gatepost("schema", "install")
        # Strangers of the scenes do not come again.
        self.gatepost("settings", "set", "*", "greylist", "off")
