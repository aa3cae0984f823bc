"""The whole mail server of the tutorial in a directory of its own: PostgreSQL, our three daemons, Postfix, Dovecot, and the outside.

Everything listens on loopback ports and unix sockets, and everything is gone at the end. Needs root: Postfix and Dovecot do, and
our daemons run under three uids of their own.
"""

import os
import shutil
import ssl
import tempfile
from pathlib import Path

from daemons import Daemon
from letters import STRANGER_HOST, STRANGER_IP
from servers import VMAIL, Dovecot, Outside, Postfix, Postgres, free_ports, run, uid_of
from settings import example, private
from units import UNITS, UnitDaemon, namespaces_allowed, private_ids

#: Numbers that no distribution gives away; no account is created for them.
UIDS = {"milter": 64101, "dovecot-auth": 64102, "postfix-policy": 64103}
ROLES = {"milter": "gatepost_milter", "dovecot-auth": "gatepost_auth", "postfix-policy": "gatepost_policy"}
#: The daemon whose password only root can read, and systemd passes on.
BY_SYSTEMD = "postfix-policy"

ALICE, BOB, CARL = "alice@example.com", "bob@example.com", "carl@123qwe.com"
PASSWORDS = {ALICE: "alice123", BOB: "bob123", CARL: "carl123"}
SELECTOR = "gatepost1"

#: Domains of honest people in whose name others write, and a mailing list.
BANK, SHOP = "bank.test", "shop.test"
LIST_IP, LIST_HOST = "192.0.2.26", "mx.list.test"
#: Another one that seals what it passes on, and whose word nobody takes.
DOUBTFUL = "doubtful.test"

ZONE = f"""
outside.test. 3600 IN MX 10 {STRANGER_HOST}.
outside.test. 3600 IN TXT "v=spf1 ip4:{STRANGER_IP} -all"
_dmarc.outside.test. 3600 IN TXT "v=DMARC1; p=reject; rua=mailto:agg@reports.test,mailto:victim@elsewhere.test"
outside.test._report._dmarc.reports.test. 3600 IN TXT "v=DMARC1"
{STRANGER_HOST}. 3600 IN A {STRANGER_IP}
{".".join(reversed(STRANGER_IP.split(".")))}.in-addr.arpa. 3600 IN PTR {STRANGER_HOST}.
{BANK}. 3600 IN A 203.0.113.80
{BANK}. 3600 IN TXT "v=spf1 -all"
_dmarc.{BANK}. 3600 IN TXT "v=DMARC1; p=reject"
{SHOP}. 3600 IN A 203.0.113.81
_dmarc.{SHOP}. 3600 IN TXT "v=DMARC1; p=quarantine"
list.test. 3600 IN TXT "v=spf1 ip4:{LIST_IP} -all"
{LIST_HOST}. 3600 IN A {LIST_IP}
{".".join(reversed(LIST_IP.split(".")))}.in-addr.arpa. 3600 IN PTR {LIST_HOST}.
example.com. 3600 IN MX 10 mail.example.com.
mail.example.com. 3600 IN A 198.51.100.25
example.com. 3600 IN TXT "v=spf1 mx -all"
_dmarc.example.com. 3600 IN TXT "v=DMARC1; p=quarantine"
"""


class Stack:
    """One running mail server. `start`, then scenes, then `stop`, which is safe at any time."""

    def __init__(self, programs: Path) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="gatepost-"))
        os.chmod(self.directory, 0o755)
        self.ports = free_ports()
        self._built = programs
        self.programs = self.directory / "bin"
        self.postgres = Postgres(self.directory, self.ports)
        self.postfix = Postfix(self.directory, self.ports)
        self.dovecot = Dovecot(self.directory, self.ports)
        self.outside = Outside(self.directory, self.ports)
        self.config = self.directory / "etc/gatepost/gatepost.toml"
        self.tls = self.directory / "etc/tls"
        self.confined = namespaces_allowed()
        self.daemons = {name: self._daemon(name) for name in UIDS}
        self.stranger_key = b""
        self.trust: ssl.SSLContext

    def _make_directories(self) -> None:
        for name in ("log", "bin", "etc/gatepost", "etc/tls", "run/gatepost/pipe", "spool/run/gatepost", "vmail"):
            (self.directory / name).mkdir(parents=True)
        os.chown(self.directory / "vmail", VMAIL, VMAIL)
        # The checkout may lie where only root can look.
        for name in ("gatepost", *(f"gatepost-{name}" for name in UIDS)):
            shutil.copy(self._built / name, self.programs)

    def _daemon(self, name: str) -> Daemon:
        """As its unit says; where the machine allows no namespaces, without the unit's limits."""
        rewrite = lambda text: private(text, self.directory)
        program = f"gatepost-{name}"
        daemon = UnitDaemon.of(
            *(program, UNITS, rewrite, private_ids(UIDS)),
            program=self.programs / program,
            config=self.config,
            log=self.directory / f"log/{program}.log",
            keep=self.directory,
            state=self.directory / "var/lib",
            credentials=self.directory / "run/credentials",
        )
        if self.confined:
            return daemon
        return Daemon(daemon.name, daemon.program, daemon.config, daemon.uid, daemon.sockets, daemon.log)

    def start(self) -> None:
        """Starts everything, in the order of a host that boots."""
        self._make_directories()
        self._make_certificate()
        self.postgres.create()
        self._configure()
        self._install_schema()
        for domain in ("example.com", "123qwe.com"):
            self.gatepost("dkim", "generate", domain, "--selector", SELECTOR)
        self._make_zone()
        self.outside.start()
        for domain in ("example.com", "123qwe.com"):
            self.gatepost("dkim", "activate", domain)
        for daemon in self.daemons.values():
            daemon.listen()
            daemon.start()
        self.postfix.configure()
        self.postfix.start()
        self.dovecot.configure()
        self.dovecot.start()

    def stop(self, logs: Path | None = None) -> None:
        """Stops everything and removes the directory, its logs copied if wished; goes on whatever fails."""
        steps = [
            self.postfix.stop,
            self.dovecot.stop,
            *(daemon.close for daemon in self.daemons.values()),
            self.outside.stop,
            self.postgres.stop,
        ]
        errors = []
        for step in steps:
            try:
                step()
            except Exception as error:
                errors.append(error)
        if logs:
            shutil.copytree(self.directory / "log", logs, dirs_exist_ok=True)
        shutil.rmtree(self.directory)
        if errors:
            raise ExceptionGroup("stopping", errors)

    def gatepost(self, *arguments: str, stdin: str = "") -> str:
        """Our admin tool, as the admin runs it: `sudo -u postgres gatepost …`."""
        return run(self.programs / "gatepost", "--config", self.config, *arguments, stdin=stdin, user="postgres")

    def ailments(self) -> list[str]:
        """What no scene may cause: see `Daemon.ailments`."""
        return [ailment for daemon in self.daemons.values() for ailment in daemon.ailments()]

    def _configure(self) -> None:
        changes = {
            "port = 5432\n": f"port = {self.ports.postgresql}\n",
            'uid = "vmail"\n': f'uid = "{VMAIL}"\n',
            'gid = "vmail"\n': f'gid = "{VMAIL}"\n',
            "servers = []\n": f'servers = ["127.0.0.1:{self.ports.dns}"]\n',
            '# from = "dmarc-reports@example.com"\n': 'from = "dmarc-reports@example.com"\n',
            'smtp = "127.0.0.1:25"\n': f'smtp = "127.0.0.1:{self.ports.smtp}"\n',
            'flush = "30s"\n': 'flush = "1s"\n',
            # No accounts are created for the uids of the daemons, so that PostgreSQL cannot know them by their names.
            "# database-password-file = ": "database-password-file = ",
            # Strangers of the scenes do not come again; the scene of the greylist has it by `gatepost settings`.
            "greylist = 4.0\n": 'greylist = "off"\n',
            'greylist-delay = "5m"\n': 'greylist-delay = "2s"\n',
            # Nor does anybody wait for being told that a password is wrong; the scene of the guesses does.
            'failure-delay = "2s"\n': 'failure-delay = "0s"\n',
        }
        if self.confined:
            named = f'password-file = "{self.directory}/etc/gatepost/{ROLES[BY_SYSTEMD]}.password"'
            changes[named] = 'password-file = "credential:secret_password"'
        self.config.write_text(example("gatepost.toml", self.directory, changes))

    def _install_schema(self) -> None:
        """Our schema and roles, and how the daemons get in: with passwords here.

        Each role's password file to the daemon that uses it, as `install -g GROUP -m 640` does; one by systemd's LoadCredential=.
        """
        written = self.directory / "etc/gatepost/roles"
        written.mkdir(mode=0o700)
        shutil.chown(written, "postgres")
        self.gatepost("schema", "install", "--passwords", str(written))
        for name, role in ROLES.items():
            secrets = self.directory / f"etc/gatepost/secrets/{name}"
            secrets.mkdir(parents=True, mode=0o700)
            by_systemd = self.confined and name == BY_SYSTEMD
            target = secrets / "password" if by_systemd else self.directory / f"etc/gatepost/{role}.password"
            shutil.move(written / f"{role}.password", target)
            os.chown(target, 0, 0 if by_systemd else UIDS[name])
            os.chmod(target, 0o600 if by_systemd else 0o640)

    def own_key_file(self, file: Path) -> None:
        """As `install -o postgres -g _gatepost-milter -m 640` does: the tool and the milter read it."""
        os.chown(file, uid_of("postgres"), UIDS["milter"])
        os.chmod(file, 0o640)

    def _make_certificate(self) -> None:
        certificate = self.tls / "fullchain.pem"
        run(
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=mail.example.com"),
            *("-addext", "subjectAltName=DNS:mail.example.com,DNS:localhost,IP:127.0.0.1"),
            *("-addext", "keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign"),
            *("-keyout", self.tls / "privkey.pem", "-out", certificate),
        )
        self.trust = ssl.create_default_context(cafile=str(certificate))

    def _make_zone(self) -> None:
        """The DNS of the scenes: the records of others, and ours as `gatepost dkim dns` prints them."""
        theirs = self._make_stranger()
        ours = [self.gatepost("dkim", "dns", domain) for domain in ("example.com", "123qwe.com")]
        self.outside.zone.write_text("\n".join([ZONE, *theirs, *ours]))

    def _make_stranger(self) -> list[str]:
        """One key for the stranger and the two lists; what DNS shows of it."""
        self.stranger_key = run("openssl", "genrsa", "-traditional", "2048").encode()
        public = run("openssl", "rsa", "-pubout", stdin=self.stranger_key.decode()).splitlines()[1:-1]
        text = f"v=DKIM1; k=rsa; p={''.join(public)}"
        strings = " ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255))
        return [f"s1._domainkey.{domain}. 3600 IN TXT ( {strings} )" for domain in ("outside.test", "list.test", DOUBTFUL)]
