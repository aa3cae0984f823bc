"""A server as the tutorial leaves it, before Gatepost: Postfix with pgsql: tables and Rspamd's milter, Dovecot with its SQL passdb and the
dict of shares, Rspamd's signing keys. Written from the tutorial's description. In a directory of its own beside the stack's, with the
stack's outside.

Rspamd itself does not run: `milter_default_action = accept`, as its manual has it, lets mail through meanwhile.
"""

import os
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from daemons import Daemon, Socket
from servers import PSQL, VMAIL, Dovecot, Postfix, Postgres, free_ports, run, uid_of
from settings import Ports, example
from stack import UIDS, Stack

SELECTOR = "2024"
DOMAINS = ("example.com", "123qwe.com")

HBA = """# TYPE  DATABASE  USER      ADDRESS       METHOD
local   all       postgres                peer
host    all       all       127.0.0.1/32  scram-sha-256
host    all       all       ::1/128       scram-sha-256
"""

#: Debian's.
STOCK_HBA = """local   all             postgres                                peer
local   all             all                                     peer
host    all             all             127.0.0.1/32            scram-sha-256
host    all             all             ::1/128                 scram-sha-256
"""

MAIN_CF = """# The tutorial's.
compatibility_level = 3.6
myhostname = mail.example.com
myorigin = example.com
mydestination = $myhostname, localhost
mynetworks = 127.0.0.0/8
recipient_delimiter = +
message_size_limit = 52428800
smtpd_tls_cert_file = {etc}/tls/fullchain.pem
smtpd_tls_key_file = {etc}/tls/privkey.pem
smtpd_tls_security_level = may
smtpd_tls_auth_only = yes
smtp_tls_security_level = may
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
smtpd_sasl_auth_enable = yes
virtual_mailbox_domains = pgsql:{etc}/postfix/domains.cf
virtual_mailbox_maps = pgsql:{etc}/postfix/mailboxes.cf
virtual_alias_maps = pgsql:{etc}/postfix/aliases.cf
virtual_transport = lmtp:unix:private/dovecot-lmtp
# People have a sentence of their own in here, and a comment above what they changed.
smtpd_sender_login_maps = pgsql:{etc}/postfix/mailboxes.cf
    pgsql:{etc}/postfix/aliases.cf
smtpd_sender_restrictions = reject_non_fqdn_sender reject_sender_login_mismatch
smtpd_relay_restrictions = permit_sasl_authenticated reject_unauth_destination
smtpd_recipient_restrictions = reject_non_fqdn_recipient, check_policy_service inet:127.0.0.1:10023
smtpd_policy_service_default_action = DUNNO
smtpd_policy_service_try_limit = 1
smtpd_policy_service_retry_delay = 1s
smtpd_milters = inet:127.0.0.1:11332
non_smtpd_milters = inet:127.0.0.1:11332
milter_protocol = 6
milter_mail_macros = i {{mail_addr}} {{client_addr}} {{client_name}} {{auth_authen}}
milter_default_action = accept
milter_connect_timeout = 2s
alias_maps =
"""

MASTER_CF = """submission inet n       -       y       -       -       smtpd
  -o syslog_name=postfix/submission
  -o smtpd_tls_security_level=encrypt
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_sasl_path=private/auth
"""

TABLES = {
    "domains": "SELECT * FROM domains WHERE domain='%s'",
    "mailboxes": "SELECT fqda FROM users_fqda WHERE fqda='%s'",
    "aliases": "SELECT destination_local || '@' || destination_domain FROM aliases WHERE source_local='%u' AND source_domain='%d'",
}

#: conf.d/NAME of Dovecot 2.3; the main file includes them all.
DOVECOT_2_3 = {
    "10-auth.conf": """auth_mechanisms = plain
passdb {{
  driver = sql
  args = {etc}/dovecot/dovecot-sql.conf.ext
}}
userdb {{
  driver = static
  args = uid=5000 gid=5000 home={vmail}/%d/%n
}}
""",
    "10-mail.conf": """mail_location = maildir:~/Maildir
namespace inbox {{
  type = private
  separator = /
  prefix =
  inbox = yes
}}
namespace {{
  type = shared
  separator = /
  prefix = shared/%%u/
  location = maildir:%%h/Maildir:INDEXPVT=~/Maildir/shared/%%u
  subscriptions = no
  list = children
}}
mail_plugins = acl
""",
    "10-master.conf": """service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
  process_min_avail = 1
}}
service lmtp {{
  unix_listener {spool}/private/dovecot-lmtp {{
    user = postfix
    group = postfix
    mode = 0600
  }}
}}
service auth {{
  unix_listener {spool}/private/auth {{
    user = postfix
    group = postfix
    mode = 0660
  }}
}}
service dict {{
  unix_listener dict {{
    mode = 0666
  }}
}}
""",
    "10-ssl.conf": "ssl = required\nssl_cert = <{etc}/tls/fullchain.pem\nssl_key = <{etc}/tls/privkey.pem\n",
    "15-mailboxes.conf": "namespace inbox {{\n  mailbox Junk {{\n    auto = subscribe\n    special_use = \\Junk\n  }}\n}}\n",
    "20-imap.conf": "protocol imap {{\n  mail_plugins = $mail_plugins imap_acl\n}}\n",
    "20-lmtp.conf": "protocol lmtp {{\n  mail_plugins = $mail_plugins sieve\n}}\n",
    "90-acl.conf": "plugin {{\n  acl = vfile\n  acl_shared_dict = proxy::acl\n}}\n",
    "90-sieve.conf": "plugin {{\n  sieve = file:~/sieve;active=~/.dovecot.sieve\n  sieve_before = {etc}/dovecot/sieve-before\n}}\n",
}
MAIN_2_3 = """dict {{
  acl = pgsql:{etc}/dovecot/dovecot-dict-sql.conf.ext
}}
protocols = imap lmtp
!include conf.d/*.conf
!include_try local.conf
"""

#: The same in the language of Dovecot 2.4.
DOVECOT_2_4 = {
    "10-auth.conf": """auth_mechanisms = plain
sql_driver = pgsql
pgsql 127.0.0.1 {{
  parameters {{
    port = {postgresql}
    user = mail_user
    password = mail_user
    dbname = mail_server
  }}
}}
passdb sql {{
  query = SELECT fqda AS user, password_hash AS password FROM users_fqda WHERE fqda = '%{{user}}'
  default_password_scheme = ARGON2ID
}}
userdb static {{
  fields {{
    uid = 5000
    gid = 5000
    home = {vmail}/%{{user | domain}}/%{{user | username}}
  }}
}}
""",
    "10-mail.conf": """mail_driver = maildir
mail_path = ~/Maildir
mail_inbox_path = ~/Maildir
namespace inbox {{
  separator = /
  prefix =
  inbox = yes
}}
namespace shared {{
  type = shared
  separator = /
  prefix = shared/$user/
  mail_path = %{{owner_home}}/Maildir
  mail_index_private_path = ~/Maildir/shared/%{{owner_user}}
  subscriptions = no
  list = children
}}
mail_plugins {{
  acl = yes
}}
""",
    "10-master.conf": DOVECOT_2_3["10-master.conf"].partition("service dict")[0],
    "10-ssl.conf": "ssl = required\nssl_server_cert_file = {etc}/tls/fullchain.pem\nssl_server_key_file = {etc}/tls/privkey.pem\n",
    "15-mailboxes.conf": DOVECOT_2_3["15-mailboxes.conf"],
    "20-imap.conf": "protocol imap {{\n  mail_plugins {{\n    imap_acl = yes\n  }}\n}}\n",
    "20-lmtp.conf": "protocol lmtp {{\n  mail_plugins {{\n    sieve = yes\n  }}\n}}\n",
    "90-acl.conf": "acl_driver = vfile\n",
    "90-sieve.conf": """sieve_script personal {{
  type = personal
  path = ~/sieve
  active_path = ~/.dovecot.sieve
}}
sieve_script before {{
  type = before
  path = {etc}/dovecot/sieve-before
}}
""",
}
MAIN_2_4 = """dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
protocols = imap lmtp
!include conf.d/*.conf
!include_try local.conf
"""

SIEVE = 'require "fileinto";\nif header :contains "X-Spam" "Yes" {\n  fileinto "Junk";\n  stop;\n}\n'


@dataclass(frozen=True)
class Places:
    """Where such a server has its files."""

    etc: Path
    spool: Path
    vmail: Path

    def fill(self, text: str, ports: Ports) -> str:
        """One of the texts above, with places and ports."""
        numbers = {name: getattr(ports, name) for name in ports.__dataclass_fields__}
        return text.format(etc=self.etc, spool=self.spool, vmail=self.vmail, **numbers)


def write_tables(directory: Path, ports: Ports) -> None:
    """Postfix's pgsql: tables."""
    for name, query in TABLES.items():
        table = directory / f"{name}.cf"
        hosts = f"127.0.0.1:{ports.postgresql}"
        table.write_text(f"user = mail_user\npassword = mail_user\nhosts = {hosts}\ndbname = mail_server\nquery = {query}\n")
        shutil.chown(table, group="postfix")
        table.chmod(0o640)


def write_dovecot(dovecot: Dovecot, places: Places, ports: Ports, private: str) -> None:
    """Dovecot's files, in the language of its version, and the compiled script; `private` at the end of the main file."""
    old = dovecot.version == "2.3"
    directory = dovecot.config.parent
    (directory / "conf.d").mkdir(parents=True)
    (directory / "sieve-before").mkdir()
    dovecot.config.write_text(places.fill(MAIN_2_3 if old else MAIN_2_4, ports) + private)
    for name, text in (DOVECOT_2_3 if old else DOVECOT_2_4).items():
        (directory / "conf.d" / name).write_text(places.fill(text, ports))
    connect = f"host=127.0.0.1 port={ports.postgresql} dbname=mail_server user=mail_user password=mail_user"
    (directory / "dovecot-sql.conf.ext").write_text(
        f"driver = pgsql\nconnect = {connect}\ndefault_pass_scheme = ARGON2ID\n"
        "password_query = SELECT fqda AS user, password_hash AS password FROM users_fqda WHERE fqda = '%u'\n"
    )
    (directory / "dovecot-dict-sql.conf.ext").write_text(
        f"connect = {connect}\nmap {{\n  pattern = shared/shared-boxes/user/$to/$from\n  table = view_shared_mailboxes\n  value_field = dummy\n"
        "  fields {\n    shared_mailbox = $from\n    shared_to = $to\n  }\n}\n"
    )
    script = directory / "sieve-before/spam-to-junk.sieve"
    script.write_text(SIEVE)
    run("sievec", "-c", dovecot.config, script)


def make_keys(rspamd: Path, keys: Path) -> list[str]:
    """Rspamd's keys, their files and map below its directory; what DNS shows of them."""
    records = []
    for domain in DOMAINS:
        key = keys / f"{domain}.{SELECTOR}.key"
        run("openssl", "genrsa", "-traditional", "-out", key, "2048")
        public = run("openssl", "rsa", "-pubout", "-in", key).splitlines()[1:-1]
        text = f"v=DKIM1; k=rsa; p={''.join(public)}"
        strings = " ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255))
        records.append(f"{SELECTOR}._domainkey.{domain}. 3600 IN TXT ( {strings} )")
    (rspamd / "local.d/dkim_signing.conf").write_text(f'path = "{keys}/$domain.$selector.key";\nselector_map = "{rspamd}/dkim_selectors.map";\n')
    (rspamd / "dkim_selectors.map").write_text("".join(f"{domain} {SELECTOR}\n" for domain in DOMAINS))
    return records


class Tutorial:
    """The server; `create`, scenes, `stop`."""

    def __init__(self, stack: Stack, name: str = "tutorial") -> None:
        self.stack = stack
        self.directory = stack.directory / name
        self.ports = replace(free_ports(), dns=stack.ports.dns, outside=stack.ports.outside)
        for name in ("log", "etc/gatepost", "etc/tls", "etc/rspamd/local.d", "dkim", "run/gatepost/pipe", "spool/run/gatepost", "vmail"):
            (self.directory / name).mkdir(parents=True)
        os.chown(self.directory / "vmail", VMAIL, VMAIL)
        self.postgres = Postgres(self.directory, self.ports)
        self.postfix = Postfix(self.directory, self.ports)
        self.dovecot = Dovecot(self.directory, self.ports)
        # What the helpers of scenes ask of a stack.
        self.outside, self.trust, self.stranger_key = stack.outside, stack.trust, stack.stranger_key
        self.config = self.directory / "etc/gatepost/gatepost.toml"
        self.daemons: list[Daemon] = []
        self._zone = self.outside.zone.read_text()

    def create(self) -> None:
        """Writes and starts it all, but no daemon of ours."""
        self.postgres.create(HBA)
        shutil.copytree(self.stack.directory / "etc/tls", self.directory / "etc/tls", dirs_exist_ok=True)
        records = make_keys(self.directory / "etc/rspamd", self.directory / "dkim")
        self.outside.zone.write_text("\n".join([self._zone, *records, ""]))
        self.configure_gatepost()
        places = Places(self.directory / "etc", self.directory / "spool", self.directory / "vmail")
        self.postfix.write(places.fill(MAIN_CF, self.ports), self.postfix.STOCK.read_text() + MASTER_CF)
        write_tables(self.postfix.config, self.ports)
        write_dovecot(self.dovecot, places, self.ports, self.dovecot.private())
        # Postfix makes its queue's directories, in which Dovecot listens.
        self.postfix.start()
        self.dovecot.start()

    def create_empty(self) -> None:
        """A machine with just the packages: a cluster without databases of ours, Debian's configuration of Dovecot, no main.cf to speak of.
        Nothing of the mail runs."""
        self.postgres.create(STOCK_HBA, tables=False)
        shutil.copytree(self.stack.directory / "etc/tls", self.directory / "etc/tls", dirs_exist_ok=True)
        # No passwords: the daemons are known by their system users.
        self.configure_gatepost(passwords=False)
        self.postfix.write("", self.postfix.STOCK.read_text())
        stock, directory = Path("/usr/share/dovecot"), self.dovecot.config.parent
        shutil.copytree(stock / "conf.d", directory / "conf.d")
        shutil.copy(stock / "dovecot.conf", self.dovecot.config)
        # Read after everything else: only where things are on a private instance.
        ports = {
            "imap-login": {"imap": self.ports.imap, "imaps": self.ports.imaps},
            "pop3-login": {"pop3": self.ports.pop3, "pop3s": self.ports.pop3s},
            "managesieve-login": {"sieve": self.ports.sieve},
        }
        moved_ports = "".join(
            f"service {service} {{\n" + "".join(f"  inet_listener {name} {{\n    port = {port}\n  }}\n" for name, port in names.items()) + "}\n"
            for service, names in ports.items()
        )
        protocols = "imap lmtp pop3 sieve"
        (directory / "local.conf").write_text(f"protocols = {protocols}\n{self.dovecot.private()}{moved_ports}")

    def configure_gatepost(self, passwords: bool = True) -> None:
        """/etc/gatepost/gatepost.toml, as a package installs it; the daemons have passwords, or are known by their system users."""
        text = example(
            "gatepost.toml",
            self.directory,
            {
                "port = 5432\n": f"port = {self.ports.postgresql}\n",
                'uid = "vmail"\n': f'uid = "{VMAIL}"\n',
                'gid = "vmail"\n': f'gid = "{VMAIL}"\n',
                "servers = []\n": f'servers = ["127.0.0.1:{self.ports.dns}"]\n',
                "greylist = 4.0\n": 'greylist = "off"\n',
            },
        )
        # Whether these are commented out in the example is the package's choice.
        sign = "" if passwords else "# "
        text = re.sub(r"^(?:# )?(database-password-file = )", rf"{sign}\1", text, flags=re.M)
        learning, rest = text.split("[milter.learning]\n")
        rest = re.sub(r"^(?:# )?listen = .*$", 'listen = ["systemd:learn"]', rest, count=1, flags=re.M)
        self.config.write_text(f"{learning}[milter.learning]\n{rest}")

    def setup(self, *arguments: str, users: dict[str, str | int] | None = None, stdin: str = "") -> str:
        """`gatepost setup`, as root."""
        users = users or dict(UIDS)
        run_directory = self.directory / "run/gatepost"
        places = ("--postfix", self.postfix.config, "--dovecot", self.dovecot.config, "--rspamd", self.directory / "etc/rspamd", "--run", run_directory)
        mine = ("--opendkim", self.directory / "etc/opendkim.conf", "--state", self.directory / "state/setup")
        named = [f"--system-user={name}={user}" for name, user in users.items()]
        return run(self.stack.programs / "gatepost", "--config", self.config, "setup", *places, *mine, *named, *arguments, stdin=stdin)

    def start_daemons(self, uids: dict[str, int] | None = None) -> None:
        """Our three daemons, as systemd starts them."""
        uids = uids or UIDS
        postfix, dovenull = uid_of("postfix"), uid_of("dovenull")
        spool, run_directory = self.directory / "spool/run/gatepost", self.directory / "run/gatepost"
        for_postfix = lambda name: Socket(name, spool / f"{name}.sock", postfix, postfix, 0o660)
        sockets = {
            "milter": [for_postfix("milter"), Socket("learn", run_directory / "pipe/learn", 0, VMAIL, 0o660)],
            "postfix-policy": [for_postfix("socketmap"), for_postfix("policy")],
            "dovecot-auth": [
                for_postfix("auth-postfix"),
                Socket("auth-login", run_directory / "auth-login", dovenull, dovenull, 0o660),
                Socket("auth-master", run_directory / "auth-master", 0, 0, 0o600),
                Socket("auth-userdb", run_directory / "auth-userdb", 0, VMAIL, 0o660),
                Socket("dict", run_directory / "dict", 0, VMAIL, 0o660),
            ],
        }
        for name, listeners in sockets.items():
            program = f"gatepost-{name}"
            log = self.directory / f"log/{program}.log"
            daemon = Daemon(program, self.stack.programs / program, self.config, uids[name], listeners, log)
            self.daemons.append(daemon)
            daemon.listen()
            daemon.start()

    def stop(self) -> None:
        """Stops everything that was started; goes on whatever fails."""
        errors = []
        steps = [self.postfix.stop, self.dovecot.stop, *(daemon.close for daemon in self.daemons), self.postgres.stop]
        for step in [*steps, lambda: self.outside.zone.write_text(self._zone)]:
            try:
                step()
            except Exception as error:
                errors.append(error)
        logs = self.stack.directory / "log"
        for log in (self.directory / "log").iterdir():
            shutil.copy(log, logs / f"{self.directory.name}-{log.name}")
        if errors:
            raise ExceptionGroup("stopping the tutorial's server", errors)

    def snapshot(self) -> dict[str, tuple[int, int, int, bytes]]:
        """Every file of the configuration: mode, owner, group and contents."""
        found = {}
        data = self.directory / "postgresql"
        for path in [*sorted((self.directory / "etc").rglob("*")), data / "pg_hba.conf", data / "pg_ident.conf"]:
            status = path.lstat()
            found[str(path)] = (status.st_mode, status.st_uid, status.st_gid, path.read_bytes() if path.is_file() else b"")
        return found

    def role_asks(self, user: str, role: str) -> str:
        """What PostgreSQL says to a system user who connects as a role over the unix socket."""
        place = ("-h", self.postgres.socket, "-p", str(self.ports.postgresql), "-U", role, "-d", "mail_server")
        return run(*PSQL, *place, "-c", "SELECT current_user", user=user).strip()
