"""Scene l: PostgreSQL is stopped under the running server, and started again."""

import smtplib

from clients import Reply, authenticate, deliver, login_error, outsider, submitter
from letters import STRANGER, letter
from narrate import Story
from scenes import Scene
from scenes.accounts import hash_of
from scenes.common import arrival, from_outside, leaves, settle
from servers import run
from stack import ALICE, BOB, PASSWORDS, Stack
from waiting import until

DORA = "nora@example.com"
FRIEND = "friend@elsewhere.test"


def outage(stack: Stack, story: Story) -> None:
    stack.postgres.sql(f"INSERT INTO users (local, domain, password_hash) VALUES ('nora', 'example.com', '{hash_of(stack, 'dora123')}')")
    PASSWORDS[DORA] = "dora123"
    story.say("dora has an account, but nobody has asked for her yet; alice has been here a moment ago.")
    story.check("before: alice logs in", not login_error(stack.ports, stack.trust, ALICE, PASSWORDS[ALICE]))
    pids = {name: daemon.pid for name, daemon in stack.daemons.items()}
    story.sent("pg_ctl stop -m immediate")
    stack.postgres.stop()
    sent = during(stack, story)
    story.sent("pg_ctl start")
    stack.postgres.start()
    after(stack, story, sent)
    story.check("no daemon of ours was restarted", pids == {name: daemon.pid for name, daemon in stack.daemons.items()})


def during(stack: Stack, story: Story) -> dict[str, str]:
    """While the database is away; the Message-IDs of what was accepted, by recipient."""
    sent = {}
    message = letter(f"Berta <{STRANGER}>", ALICE, "During the outage")
    reply = from_outside(stack, story, ALICE, message)
    story.check(f"to alice, known: accepted from the cache or 4xx ({reply.code})", reply.accepted or reply.temporary, reply)
    if reply.accepted:
        sent[ALICE] = message["Message-ID"]
    reply = from_outside(stack, story, "nobody-yet@example.com", letter(f"Berta <{STRANGER}>", "nobody-yet@example.com", "During the outage"))
    story.check(f"to nobody-yet@example.com, never asked for: 4xx ({reply.code})", reply.temporary, reply)
    # Nobody has asked for her, but the policy daemon holds the roll of all addresses: she may be known. If so, the mail must arrive.
    message = letter(f"Berta <{STRANGER}>", DORA, "During the outage")
    reply = from_outside(stack, story, DORA, message)
    story.check(f"to {DORA}, a user never asked for: accepted from the roll or 4xx ({reply.code})", reply.accepted or reply.temporary, reply)
    if reply.accepted:
        sent[DORA] = message["Message-ID"]
    reply = from_outside(stack, story, "x@never-asked.test", letter(f"Berta <{STRANGER}>", "x@never-asked.test", "During the outage"))
    foreign = "Relay access denied" in reply.text
    story.check(
        f"to a foreign domain: refused, by the list of our domains in the cache, or 4xx ({reply.code})", foreign or reply.temporary, reply
    )

    error = login_error(stack.ports, stack.trust, ALICE, PASSWORDS[ALICE])
    story.check(
        f"IMAP: alice logs in from the cache, or [UNAVAILABLE] ({error or 'logged in'})", not error or "[UNAVAILABLE]" in error, error
    )
    for user, password in ((DORA, PASSWORDS[DORA]), ("nobody-yet@example.com", "x")):
        error = login_error(stack.ports, stack.trust, user, password)
        story.check(f"IMAP: {user} hears [UNAVAILABLE], not that the password is wrong", "[UNAVAILABLE]" in error, error)
    for user in (ALICE, DORA):
        reply = login_and_send(stack, story, user)
        story.check(f"SMTP AUTH: {user} is let in and served, or 4xx ({reply.code})", reply.accepted or reply.temporary, reply)
    message = letter(ALICE, FRIEND, "By sendmail, during the outage")
    story.sent(f"sendmail -f {ALICE} {FRIEND} < message")
    run("sendmail", "-C", stack.postfix.config, "-f", ALICE, FRIEND, stdin=message.as_string().replace("\r\n", "\n"))
    sent[FRIEND] = message["Message-ID"]
    return sent


def login_and_send(stack: Stack, story: Story, user: str) -> Reply:
    """A submission with all its steps; the last answer. A closed connection counts as 421."""
    try:
        with submitter(stack.ports, stack.trust) as smtp:
            smtp.story = story
            reply = authenticate(smtp, user, PASSWORDS[user])
            return deliver(smtp, user, [BOB], letter(user, BOB, "During the outage").as_bytes()) if reply.accepted else reply
    except smtplib.SMTPServerDisconnected as error:
        return Reply(421, str(error))


def after(stack: Stack, story: Story, sent: dict[str, str]) -> None:
    """The database is back: everything works by itself."""

    def rcpt(recipient: str) -> Reply:
        with outsider(stack.ports) as smtp:
            return deliver(smtp, STRANGER, [recipient], letter(f"Berta <{STRANGER}>", recipient, "After the outage").as_bytes())

    until("a lookup is answered again", lambda: not rcpt("nobody-yet@example.com").temporary)
    reply = rcpt("nobody-yet@example.com")
    story.check("an unknown recipient is 550 again", reply.code == 550, reply)
    until("logins are answered again", lambda: "[UNAVAILABLE]" not in login_error(stack.ports, stack.trust, DORA, PASSWORDS[DORA]))
    error = login_error(stack.ports, stack.trust, DORA, PASSWORDS[DORA])
    story.check("dora logs in by IMAP", not error, error)
    message = letter(f"Berta <{STRANGER}>", DORA, "After the outage")
    reply = from_outside(stack, story, DORA, message)
    story.check("dora receives", reply.accepted, reply)
    arrival(stack, DORA, message["Message-ID"])
    reply = login_and_send(stack, story, DORA)
    story.check("dora sends", reply.accepted, reply)
    stack.postfix.flush()
    settle(stack)
    for recipient, message_id in sent.items():
        if recipient == FRIEND:
            story.check("the mail that sendmail took has left, signed", b"DKIM-Signature:" in leaves(stack, message_id))
        else:
            folder, _ = arrival(stack, recipient, message_id)
            story.check(f"what was accepted for {recipient} is in the {folder}", folder == "INBOX", folder)


SCENES = [Scene("l", "PostgreSQL stopped: no 5xx because of it, no wrong password; started again: all works", outage, demo=True)]
