"""Debian machines before `gatepost setup`, with our packages installed: one that has never served mail, and one with the tutorial's server.

Like installed.py for a root of its own with namespaces (tests/installation): everything is at its place, the servers are Debian's, and what they
listen on are the ports of a real host. systemd is stood in for (systemd.py).
"""

import os
import shutil
import stat
from pathlib import Path

from installed import DIRECTORY, PORTS, PRIVATE, Installed, InstalledPostgres
from servers import VMAIL, run, uid_of
from stack import UIDS, ZONE
from systemd import Systemd, Unit
from tutorial import MAIN_CF, MASTER_CF, Places, make_keys, write_dovecot, write_tables

#: Root's path at a login; nothing of the tests' environment reaches what an operator types.
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"}
PLACES = Places(Path("/etc"), Path("/var/spool/postfix"), Path("/var/vmail"))


class StockPostgres(InstalledPostgres):
    """The cluster that Debian's package made, as it made it."""

    def create(self) -> None:
        """Starts it."""
        self.start()


class Machine(Installed):
    """What both have in common; `begin`, what an operator types, `stop`."""

    #: Whether our daemons run already, as after an installation where systemd runs.
    daemons_run = True
    #: Services of others whose work becomes ours.
    neighbours: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self.postgres = StockPostgres()
        units = {f"gatepost-{name}.service": Unit(self.daemons[name], enabled=self.daemons_run) for name in UIDS}
        units |= {name: Unit(active=True) for name in self.neighbours}
        self.systemd = Systemd(units, DIRECTORY / "systemctl")

    def begin(self) -> None:
        """The machine as it is found."""
        self._make_directories()
        self._make_certificate()
        self.postgres.create()
        self._make_zone()
        self.outside.start()
        self.postfix.fill_chroot()
        self._serve()
        self.systemd.start()
        if self.daemons_run:
            for name in UIDS:
                self.systemd.units[f"gatepost-{name}.service"].start()

    def stop(self, logs: Path | None = None) -> None:
        """Stops everything; goes on whatever fails."""
        try:
            self.systemd.stop()
        finally:
            super().stop(logs)

    def types(self, *words: str, stdin: str = "") -> str:
        """A command of root's; anything but status 0 is an error that shows all that was said."""
        return run("env", "-i", *(f"{name}={value}" for name, value in ENVIRONMENT.items()), *words, stdin=stdin)

    def snapshot(self) -> dict[str, tuple[int, int, int, bytes]]:
        """Every file of the configuration: mode, owner, group and contents."""
        found = {}
        for path in [*sorted(Path("/etc").rglob("*")), *sorted(Path("/var/lib/gatepost").rglob("*"))]:
            status = path.lstat()
            held = path.read_bytes() if stat.S_ISREG(status.st_mode) else os.readlink(path).encode() if path.is_symlink() else b""
            found[str(path)] = (status.st_mode, status.st_uid, status.st_gid, held)
        return found

    def units(self) -> dict[str, tuple[bool, bool]]:
        """Which units are enabled, and which run."""
        return {name: (unit.enabled, unit.active) for name, unit in self.systemd.units.items()}

    def publish(self, *records: str) -> None:
        """Records that go into DNS."""
        self.outside.zone.write_text("\n".join([self.outside.zone.read_text(), *records, ""]))

    def _serve(self) -> None:
        """What of the mail runs before."""
        raise NotImplementedError

    def _private(self) -> str:
        """What the scenes need of Postfix: the admin's own lines, which stay."""
        return PRIVATE.format(outside=PORTS.outside, log=self.postfix.log)


class EmptyMachine(Machine):
    """Postfix and Dovecot as Debian's packages leave them, a cluster without a database of ours; our packages are installed and do not run yet."""

    daemons_run = False
    HOST, DOMAIN = "mail.example.org", "example.org"

    def _make_zone(self) -> None:
        host = f"{self.HOST}. 3600 IN A 198.51.100.25"
        self.outside.zone.write_text("\n".join([ZONE, host, *self._make_stranger(), ""]))

    def _serve(self) -> None:
        # The host's name is what Debian's package asks at installation.
        lines = [line for line in self._private().splitlines() if line]
        run("postconf", "-e", f"myhostname = {self.HOST}", *lines)
        (self.dovecot.config.parent / "local.conf").write_text(f"log_path = {self.dovecot.log}\n")
        self.postfix.start()
        self.dovecot.start()

    def forget(self) -> None:
        """Takes away by hand what `gatepost setup --undo` leaves: the database, and the roles of the cluster."""
        self.postgres.sql("DROP DATABASE mail_server WITH (FORCE)", database="postgres")
        roles = self.postgres.sql("SELECT rolname FROM pg_roles WHERE rolname ~ '^(gatepost|mail)_'", database="postgres").split()
        self.postgres.sql(f"DROP ROLE {', '.join(roles)}", database="postgres")


class TutorialMachine(Machine):
    """The tutorial's server: pgsql: tables, Dovecot's SQL, Rspamd's milter and keys; our packages are installed and run."""

    neighbours = ("rspamd.service",)

    def _make_zone(self) -> None:
        rspamd, keys = Path("/etc/rspamd"), Path("/var/lib/rspamd/dkim")
        for directory in (rspamd / "local.d", keys):
            directory.mkdir(parents=True)
        self.outside.zone.write_text("\n".join([ZONE, *self._make_stranger(), *make_keys(rspamd, keys), ""]))

    def _serve(self) -> None:
        self.postgres.make_tables()
        shutil.copytree(self.tls, "/etc/tls")
        main = PLACES.fill(MAIN_CF, PORTS) + self._private()
        (self.postfix.config / "main.cf").write_text(main)
        (self.postfix.config / "master.cf").write_text(self.postfix.STOCK.read_text() + MASTER_CF)
        write_tables(self.postfix.config, PORTS)
        shutil.rmtree(self.dovecot.config.parent / "conf.d")
        write_dovecot(self.dovecot, PLACES, PORTS, f"log_path = {self.dovecot.log}\n")
        assert uid_of("vmail") == VMAIL
        self.postfix.start()
        self.dovecot.start()

    def forget(self) -> None:
        """Takes our schema and roles away again."""
        self.types("gatepost", "schema", "remove", "--yes")
