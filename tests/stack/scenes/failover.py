"""Scene H: PostgreSQL has a standby; the primary dies, the standby takes its place, and the mail server follows it."""

from pathlib import Path

from clients import login_error
from letters import STRANGER, letter
from narrate import Story
from scenes import Scene
from scenes.accounts import hash_of
from scenes.common import arrival, from_outside
from scenes.outages import login_and_send
from servers import Postgres, Trouble, run
from settings import Ports
from stack import ALICE, PASSWORDS, Stack
from waiting import until

NILS, OTTO = "nils@example.com", "otto@example.com"


class Standby(Postgres):
    """A streaming standby of another cluster, on the same socket directory and another port."""

    def __init__(self, primary: Postgres, directory: Path, port: int) -> None:
        super().__init__(directory, Ports(*([0] * (len(Ports.__dataclass_fields__)))))
        self._primary = primary
        self.port = port
        self.socket = primary.socket
        self._data = directory / "standby"
        self._log = directory / "log/standby.log"

    def create(self) -> None:
        """pg_basebackup, as PostgreSQL's manual has it (26.2), and starts it."""
        self._log.touch()
        run("chown", "postgres:", self._log)
        hba = self._primary._data / "pg_hba.conf"
        if "replication" not in hba.read_text():
            hba.write_text("local replication postgres peer\n" + hba.read_text())
            self._primary.sql("SELECT pg_reload_conf()")
        self._data.mkdir(mode=0o700)
        run("chown", "postgres:", self._data)
        place = ("-h", self._primary.socket, "-p", str(self._primary.port))
        run(self._bin / "pg_basebackup", *place, "-D", self._data, "-R", "-X", "stream", "-c", "fast", "--no-sync", user="postgres")
        with (self._data / "postgresql.conf").open("a") as conf:
            conf.write(f"port = {self.port}\n")
        self.start()

    def promote(self) -> None:
        """It is the primary from now on."""
        run(self._bin / "pg_ctl", "-D", self._data, "-w", "promote", user="postgres")


def insert(local: str, password_hash: str) -> str:
    return f"INSERT INTO users (local, domain, password_hash) VALUES ('{local}', 'example.com', '{password_hash}')"


def failover(stack: Stack, story: Story) -> None:
    primary, former = stack.postgres, stack.config.read_text()
    standby = Standby(primary, stack.directory, stack.ports.standby)
    try:
        play(stack, story, primary, standby)
    finally:
        standby.stop()
        primary.start()
        stack.config.write_text(former)
        restart(stack)
        # What the other one has learned is not here.
        for user in (NILS, OTTO):
            primary.sql(f"DELETE FROM users WHERE local = '{user.split('@')[0]}'")


def restart(stack: Stack) -> None:
    for daemon in stack.daemons.values():
        daemon.stop()
        daemon.start()


def play(stack: Stack, story: Story, primary: Postgres, standby: Standby) -> None:
    logs_in = lambda user: login_error(stack.ports, stack.trust, user, PASSWORDS[user])
    story.say("pg_basebackup makes a standby that follows the primary")
    standby.create()
    text = stack.config.read_text()
    single = f'host = "{primary.socket}"\n'
    assert single in text
    story.say("a host that has nothing but the standby:")
    stack.config.write_text(text.replace(f"port = {primary.port}\n", f"port = {standby.port}\n"))
    restart(stack)
    story.check("alice logs in", not (said := logs_in(ALICE)), said)
    message = letter(f"Berta <{STRANGER}>", ALICE, "By way of a standby")
    reply = from_outside(stack, story, ALICE, message)
    story.check("mail for her is taken", reply.accepted, reply)
    folder, _ = arrival(stack, ALICE, message["Message-ID"])
    story.check("and in her Inbox", folder == "INBOX", folder)
    reply = from_outside(stack, story, "nobody@example.com", letter(f"Berta <{STRANGER}>", "nobody@example.com", "Nobody"))
    story.check("who is not there is unknown, 550", reply.code == 550, reply)
    reply = login_and_send(stack, story, ALICE)
    story.check(f"what must be counted, as submitted mail is, waits: 4xx ({reply.code})", reply.temporary, reply)

    # The standby stands first: it must be passed by.
    hosts = f'host = ["{standby.socket}:{standby.port}", "{primary.socket}:{primary.port}"]\n'
    stack.config.write_text(text.replace(single, hosts).replace('target-session-attrs = "any"\n', 'target-session-attrs = "read-write"\n'))
    story.printed(hosts + 'target-session-attrs = "read-write"')
    restart(stack)
    story.check("alice logs in", not (said := logs_in(ALICE)), said)
    said = stack.gatepost("user", "list")
    story.check("the tool, too, finds its way", ALICE in said, said)
    for user in (NILS, OTTO):
        PASSWORDS[user] = f"{user} 1"
    primary.sql_as("mail_admin", insert("nils", hash_of(stack, PASSWORDS[NILS])))
    until("it is replicated", lambda: standby.sql("SELECT count(*) FROM users WHERE local = 'nils'") == "1")
    message = letter(f"Berta <{STRANGER}>", ALICE, "Before the primary dies")
    reply = from_outside(stack, story, ALICE, message)
    story.check("mail is taken, and written down on the primary", reply.accepted, reply)
    until("it is in the history", lambda: has(primary, message["Message-ID"]))
    until("the standby has it", lambda: has(standby, message["Message-ID"]))

    story.sent("pg_ctl stop -m immediate at the primary")
    primary.stop()
    said = logs_in(NILS)
    story.check(f"nobody has a wrong password meanwhile ({said or 'logged in'})", not said or "[UNAVAILABLE]" in said, said)
    story.sent("pg_ctl promote at the standby")
    standby.promote()
    until("nils, never asked for before, logs in", lambda: not logs_in(NILS))
    story.check("nils logs in: the standby's word counts", not (said := logs_in(NILS)), said)
    log = stack.daemons["dovecot-auth"].log.read_text(errors="replace")
    story.check("the log says which server is asked now", "another database server is asked from now on" in log, log[-2000:])
    standby.sql_as("mail_admin", insert("otto", hash_of(stack, PASSWORDS[OTTO])))
    story.check("an account made there counts at once", not (said := logs_in(OTTO) and logs_in(OTTO)), said)

    def arrives(subject: str) -> str:
        message = letter(f"Berta <{STRANGER}>", OTTO, subject)
        reply = until("mail is taken", lambda: reply if (reply := from_outside(stack, story, OTTO, message)).code != 451 else None)
        story.check(f"{subject}: mail is taken for it", reply.accepted, reply)
        arrival(stack, OTTO, message["Message-ID"])
        return message["Message-ID"]

    message_id = arrives("After the change")
    until("the history is written there", lambda: has(standby, message_id))

    story.sent("pg_ctl start at the former primary, which knows of nothing")
    primary.start()
    standby.sql_as("mail_admin", f"UPDATE users SET password_hash = '{hash_of(stack, 'changed')}' WHERE local = 'otto'")
    PASSWORDS[OTTO] = "changed"
    story.check("it is not asked: a change at the new primary counts", not (said := logs_in(OTTO) and logs_in(OTTO)), said)
    message_id = arrives("Beside the former primary")
    until("the history is written at the new one", lambda: has(standby, message_id))
    story.check("and not at the former", not has(primary, message_id))


def has(server: Postgres, message_id: str) -> bool:
    """Whether a server's history knows a message; a server that is away knows nothing."""
    try:
        return server.sql(f"SELECT count(*) FROM gatepost.history WHERE message_id = '{message_id.strip('<>')}'") != "0"
    except Trouble:
        return False


SCENES = [Scene("X", "the primary dies, the standby takes its place, and everything follows it there", failover)]
