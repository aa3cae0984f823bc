"""Scenes s and 1: `gatepost setup` on the tutorial's server, and on a machine with just the packages; and back."""

import difflib
import json
import os
import re
from pathlib import Path

from clients import Mailbox, authenticate, deliver, login_error, submitter
from letters import BODY, STRANGER, letter
from narrate import Story
from scenes import Scene
from scenes.common import arrival, from_outside, leaves
from servers import Trouble, moved, run, uid_of
from stack import ALICE, CARL, PASSWORDS, ROLES, UIDS, Stack
from tutorial import SELECTOR, Tutorial
from waiting import until

GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
FRIEND = "friend@elsewhere.test"


def setup(stack: Stack, story: Story) -> None:
    server = Tutorial(stack)
    try:
        server.create()
        switch(server, story)
    finally:
        server.stop()


def comes(server: Tutorial, story: Story, to: str = ALICE) -> str:
    """Mail from outside; the header fields of what arrives at alice's."""
    message = letter(STRANGER, to, "Minutes")
    reply = from_outside(server, story, to, message)
    story.check(f"mail for {to} is taken", reply.accepted, reply)
    return "\n".join(f"{name}: {value}" for name, value in arrival(server, ALICE, message["Message-ID"])[1].items())


def judged(headers: str) -> str:
    """The header fields, if our milter added to them."""
    return headers if "X-Spamd-Result" in headers else ""


def goes(server: Tutorial, story: Story) -> bytes:
    """Mail of alice's to the outside; what left."""
    message = letter(ALICE, FRIEND, "Answer", BODY.replace("Berta", "Alice"))
    with submitter(server.ports, server.trust) as smtp:
        smtp.story = story
        said = authenticate(smtp, ALICE, PASSWORDS[ALICE])
        story.check("alice logs in at submission", said.code == 235, said)
        reply = deliver(smtp, ALICE, [FRIEND], message.as_bytes())
    story.check("her mail is taken", reply.accepted, reply)
    return leaves(server, message["Message-ID"])


def failing(server: Tutorial, *arguments: str) -> str:
    """`gatepost setup` where it must fail; what it said."""
    try:
        return "it succeeded: " + server.setup(*arguments)
    except Trouble as trouble:
        return str(trouble)


def switch(server: Tutorial, story: Story) -> None:
    story.say("the tutorial's server, with Rspamd away: mail and logins by Postfix's and Dovecot's SQL")
    story.check("it serves without us", "X-Spamd-Result" not in comes(server, story, "boss@example.com"))
    error = login_error(server.ports, server.trust, ALICE, PASSWORDS[ALICE])
    story.check("alice logs in", not error, error)
    before = server.snapshot()

    story.say("`gatepost setup` looks, prints and changes nothing:")
    printed = server.setup()
    story.printed(printed)
    for line in (
        "'virtual_mailbox_maps = socketmap:unix:run/gatepost/socketmap.sock:mailboxes'",
        "smtpd_recipient_restrictions = reject_non_fqdn_recipient'",
        f"dkim import rspamd {server.directory}/etc/rspamd",
        "local   mail_server  gatepost_milter,gatepost_auth,gatepost_policy",
    ):
        story.check(f"it prints {line}", line in printed, printed)
    plan = json.loads(server.setup("--json"))
    kinds = [step["step"] for step in plan["steps"]]
    story.check("Postfix comes last, after database, daemons and Dovecot", kinds.index("listening") < kinds.index("reload-dovecot") < kinds.index("postconf"), kinds)
    story.check("nothing is in the way", not plan["obstacles"], plan["obstacles"])
    server.setup("--write", str(server.stack.directory / "to-read"))
    sql = (server.stack.directory / "to-read/gatepost.sql").read_text()
    story.check("the SQL of schema and roles can be read before", "CREATE ROLE" in sql and "COMMIT" in sql, sql[-200:])
    story.check("nothing was changed", server.snapshot() == before, different(before, server.snapshot()))

    story.say("`gatepost setup --apply` while our daemons do not run:")
    said = failing(server, "--apply")
    story.printed(said)
    story.check("it stops there, and says how to go on and back", "do not answer" in said and "gatepost setup --apply" in said and "gatepost setup --undo" in said, said)
    touched = [name for name in different(before, server.snapshot()) if "/dovecot/" in name or "/postfix/" in name]
    story.check("Dovecot and Postfix are untouched", not touched, touched)
    story.check("mail still comes", "X-Spamd-Result" not in comes(server, story))

    story.say("the daemons start; `gatepost setup --apply` goes on:")
    server.start_daemons()
    story.printed(server.setup("--apply"))
    # An smtpd that had begun to listen before the reload takes one more connection, as it would have before.
    headers = until("smtpd asks our milter", lambda: judged(comes(server, story, "boss@example.com")))
    story.check("mail for an alias comes through our milter", "X-Spamd-Result" in headers and "Authentication-Results" in headers, headers)
    reply = from_outside(server, story, ALICE, letter(STRANGER, ALICE, "Test", f"{GTUBE}\n"))
    story.check("spam is refused", reply.code == 554, reply)
    error = login_error(server.ports, server.trust, CARL, PASSWORDS[CARL])
    story.check("carl logs in by IMAP", not error, error)
    seen = until("his login is written down", lambda: server.postgres.sql("SELECT login FROM gatepost.last_logins WHERE login LIKE 'carl@%'"))
    story.check("it was gatepost-dovecot-auth that let him in", bool(seen), seen)
    wire = goes(server, story)
    story.check("her mail is signed with Rspamd's key, which DNS shows", f"s={SELECTOR};".encode() in wire and b"d=example.com" in wire, wire[:1500])

    printed = server.setup()
    story.check("`gatepost setup` again: nothing to do", "Nothing to do" in printed, printed)
    story.check("`--apply` again as well", "nothing to do" in server.setup("--apply"))

    changed = server.postfix.config / "main.cf"
    kept = changed.read_bytes()
    changed.write_bytes(kept + b"# mine\n")
    said = failing(server, "--undo")
    story.check("a file that somebody changed since is not put back silently", "changed since by somebody else" in said and str(changed) in said, said)
    changed.write_bytes(kept)
    story.say("`gatepost setup --undo`:")
    story.printed(server.setup("--undo"))
    after = server.snapshot()
    story.check("every file is what it was, byte for byte, mode and owner", after == before, different(before, after))
    for daemon in server.daemons:
        daemon.close()
    headers = until("Postfix has read its old files", lambda: text if "X-Spamd-Result" not in (text := comes(server, story, "boss@example.com")) else None)
    story.check("mail comes as before, with our daemons gone", bool(headers))
    error = until("Dovecot has read its old files", lambda: login_error(server.ports, server.trust, ALICE, PASSWORDS[ALICE]) or "in")
    story.check("alice logs in as before", error == "in", error)
    story.check("there is nothing more to undo", "nothing to undo" in server.setup("--undo"))

    story.say("the same by hand: what `gatepost setup --write` wrote is run literally")
    server.daemons.clear()
    run(server.stack.programs / "gatepost", "--config", server.config, "schema", "install", "--passwords", server.config.parent)
    for name, role in ROLES.items():
        os.chown(server.config.parent / f"{role}.password", 0, UIDS[name])
    server.start_daemons()
    plan_directory = server.directory / "plan"
    server.setup("--write", str(plan_directory))
    path = f"{server.stack.programs}:{os.environ['PATH']}"
    # Postfix 3.10's postconf reads a main.cf that was changed a second ago once more, and forgets then what -c told it: that line is there or not
    # by the clock.
    of_postfix = lambda: re.sub(r"^config_directory = .*\n", "", "".join(run("postconf", "-c", server.postfix.config, which) for which in ("-n", "-P", "-M")), flags=re.M)
    before_by_hand = of_postfix()
    story.printed(run("sh", plan_directory / "setup.sh", environment={"PATH": path}))
    printed = server.setup()
    story.check("nothing is left to do", "Nothing to do" in printed, printed)
    headers = until("Postfix has read its files", lambda: text if "X-Spamd-Result" in (text := comes(server, story)) else None)
    story.check("mail comes through our milter", bool(headers))
    error = login_error(server.ports, server.trust, CARL, PASSWORDS[CARL])
    story.check("carl logs in", not error, error)
    backwards = "\n".join(ways_back((plan_directory / "setup.sh").read_text()))
    story.printed(backwards)
    run("sh", "-ec", backwards)
    after_by_hand = of_postfix()
    story.check("Postfix goes back by the commands that stand beside its steps", after_by_hand == before_by_hand, changed_lines(before_by_hand, after_by_hand))


def ways_back(script: str) -> list[str]:
    """The commands for Postfix behind `# back:`, the last step's first."""
    found = re.findall(r"^# back: (postconf (?:.*\\\n#   )*.*)$", script, re.M)
    return [re.sub(r"\\\n#   ", "", command) for command in reversed(found)]


def changed_lines(before: str, after: str) -> list[str]:
    return [line for line in difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0) if not line.startswith(("---", "+++", "@@"))]


#: System users that every Debian has: they stand for those that our packages make.
SYSTEM_USERS = {"milter": "games", "dovecot-auth": "news", "postfix-policy": "uucp"}
ANN, PASSWORD = "ann@example.org", "correct horse"


def empty(stack: Stack, story: Story) -> None:
    server = Tutorial(stack, "empty")
    try:
        server.create_empty()
        begin(server, story)
    finally:
        server.stop()


def begin(server: Tutorial, story: Story) -> None:
    before = server.snapshot()
    said = failing(server, "--apply")
    story.printed(said)
    story.check("without a domain it changes nothing, and says what to give", "--domain example.com" in said and server.snapshot() == before, said)
    tls = server.directory / "etc/tls"
    asked = ("--domain", "example.org", "--user", ANN, "--certificate", str(tls / "fullchain.pem"), "--key", str(tls / "privkey.pem"))
    said = failing(server, "--apply", *asked)
    story.check("without the daemons' system users it changes nothing", "there is no system user" in said and server.snapshot() == before, said)

    def apply() -> str:
        return server.setup("--apply", *asked, users=SYSTEM_USERS, stdin=f"{PASSWORD}\n")

    story.say("database, tables, first mailbox, key; then it waits for our daemons:")
    try:
        said = apply()
    except Trouble as trouble:
        said = str(trouble)
    story.printed(said)
    story.check("it stops where the daemons must answer", "do not answer" in said, said)
    story.check("each system user is its role", "games connects as role gatepost_milter" in said, said)
    try:
        said = server.role_asks("games", "gatepost_auth")
    except Trouble as trouble:
        said = str(trouble)
    story.check("and no other's", "Peer authentication failed" in said, said)
    server.start_daemons({name: uid_of(user) for name, user in SYSTEM_USERS.items()})
    story.printed(apply())
    printed = server.setup(users=SYSTEM_USERS)
    story.check("`gatepost setup` again: nothing to do", "Nothing to do" in printed, printed)

    master = server.postfix.config / "master.cf"
    written = master.read_text()
    text = written
    for service in ("submission", "submissions"):
        text = moved(text, service, getattr(server.ports, service))
    master.write_text(text)
    server.postfix.start()
    server.dovecot.start()
    publish(server)
    error = login_error(server.ports, server.trust, ANN, PASSWORD)
    story.check("ann logs in by IMAP", not error, error)
    for to in (ANN, "postmaster@example.org", "root@example.org"):
        message = letter(STRANGER, to, "Welcome")
        reply = from_outside(server, story, to, message)
        story.check(f"mail for {to} is taken", reply.accepted, reply)
        with Mailbox(server.ports, server.trust, ANN, PASSWORD) as mailbox:
            folder, found = until("it arrives", lambda: mailbox.find(message["Message-ID"]))[0]
        story.check("and arrives at ann's, judged by us", folder == "INBOX" and "X-Spamd-Result" in found, folder)
    message = letter(ANN, FRIEND, "Hello", BODY.replace("Berta", "Ann"))
    with submitter(server.ports, server.trust) as smtp:
        said = authenticate(smtp, ANN, PASSWORD)
        reply = deliver(smtp, ANN, [FRIEND], message.as_bytes())
        other = deliver(smtp, "boss@example.com", [FRIEND], message.as_bytes())
    story.check("she sends at submission", said.code == 235 and reply.accepted, f"{said}, {reply}")
    story.check("and only as herself", other.code == 553, other)
    story.check("signed with the key that was made", b"d=example.org" in leaves(server, message["Message-ID"]))

    master.write_text(written)
    server.postfix.stop()
    server.dovecot.stop()
    story.printed(server.setup("--undo", users=SYSTEM_USERS))
    after = server.snapshot()
    story.check("every file is what it was", after == before, different(before, after))
    users = server.postgres.sql("SELECT count(*) FROM users")
    story.check("the database and its mailboxes stay", users == "1", users)


def publish(server: Tutorial) -> None:
    """The key that was made goes into DNS, and signs."""
    tool = (server.stack.programs / "gatepost", "--config", server.config, "dkim")
    record = run(*tool, "dns", "example.org")
    server.outside.zone.write_text(f"{server.outside.zone.read_text()}\n{record}\n")
    until("DNS shows the key", lambda: activates(tool))


def activates(tool: tuple[str | Path, ...]) -> bool:
    try:
        run(*tool, "activate", "example.org")
    except Trouble:
        return False
    return True


def different(before: dict[str, tuple[int, int, int, bytes]], after: dict[str, tuple[int, int, int, bytes]]) -> list[str]:
    """The names of files that differ."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


SCENES = [
    Scene("s", "the tutorial's server is switched by `gatepost setup`, and back", setup),
    Scene("1", "a machine with just the packages begins with `gatepost setup`", empty),
]
