"""Scene m: each daemon is restarted under a stream of mail and logins.

The rules of the streams are those of real clients: a message that gets 4xx or a lost connection is sent again, the same one, until
it is accepted; a login that hears [UNAVAILABLE] or 454 is tried again. Any 5xx and any other refusal is a failure.
"""

import imaplib
import smtplib
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

from clients import Mailbox, Reply, Smtp, authenticate, deliver, login_error, outsider, submitter
from letters import STRANGER, letter
from narrate import Story
from scenes import Scene
from scenes.common import settle
from stack import ALICE, BOB, CARL, PASSWORDS, Stack

ROUNDS = 2
#: Mail and logins flow for this long between two restarts.
BETWEEN = 1.0
#: Ten times as many as a restart that takes as long as it may.
TRIES = 2000


@dataclass
class Stream:
    """One client's doings: what was accepted, what had to be tried again, what went wrong."""

    stack: Stack
    stopping: threading.Event
    accepted: list[str] = field(default_factory=list)
    logins: int = 0
    retries: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def mail_from_outside(self) -> None:
        """A stranger writes to alice, each message in a session of its own."""

        def send(wire: bytes) -> Reply:
            with outsider(self.stack.ports) as smtp:
                return deliver(smtp, STRANGER, [ALICE], wire)

        while not self.stopping.is_set():
            self.send_until_accepted(f"Berta <{STRANGER}>", ALICE, send)

    def mail_in_one_session(self) -> None:
        """A stranger writes to carl, many messages in one session; a new session only after a refusal for now."""
        session = ExitStack()
        usable: Smtp | None = None

        def send(wire: bytes) -> Reply:
            nonlocal usable
            smtp, usable = usable or session.enter_context(outsider(self.stack.ports)), None
            reply = deliver(smtp, STRANGER, [CARL], wire)
            if reply.accepted:
                usable = smtp
            return reply

        with session:
            while not self.stopping.is_set():
                self.send_until_accepted(f"Berta <{STRANGER}>", CARL, send)

    def submissions(self) -> None:
        """Three users in turn write to bob, slowly enough for the rate limit."""
        users = [ALICE, BOB, CARL]
        while not self.stopping.wait(0.2):
            users.append(user := users.pop(0))

            def send(wire: bytes) -> Reply:
                with submitter(self.stack.ports, self.stack.trust) as smtp:
                    reply = authenticate(smtp, user, PASSWORDS[user])
                    self.logins += reply.accepted
                    return deliver(smtp, user, [BOB], wire) if reply.accepted else reply

            self.send_until_accepted(user, BOB, send)

    def imap_logins(self) -> None:
        """Carl's mail program looks for new mail."""
        while not self.stopping.wait(0.05):
            try:
                error = login_error(self.stack.ports, self.stack.trust, CARL, PASSWORDS[CARL])
            except (OSError, ssl.SSLError, imaplib.IMAP4.abort) as lost:
                error = f"[UNAVAILABLE] {type(lost).__name__}: {lost}"
            if not error:
                self.logins += 1
            elif "[UNAVAILABLE]" in error:
                self.retries[f"IMAP {error}"] += 1
            else:
                self.failures.append(f"IMAP login: {error}")

    def send_until_accepted(self, sender: str, to: str, send: Callable[[bytes], Reply]) -> None:
        """Sends one message by the rules above."""
        message = letter(sender, to, "Stream")
        for _ in range(TRIES):
            try:
                reply = send(message.as_bytes())
            except (OSError, smtplib.SMTPException) as error:
                reply = Reply(getattr(error, "smtp_code", 0) or 421, f"{type(error).__name__}: {error}")
            if reply.accepted:
                self.accepted.append(message["Message-ID"])
                return
            if not reply.temporary:
                self.failures.append(f"{sender} to {to}: {reply}")
                return
            self.retries[str(reply)] += 1
            time.sleep(0.1)
        self.failures.append(f"{sender} to {to}: not accepted in {TRIES} tries")


def restarts(stack: Stack, story: Story) -> None:
    stopping = threading.Event()
    streams = {name: Stream(stack, stopping) for name in ("mail_from_outside", "mail_in_one_session", "submissions", "imap_logins")}
    threads = [threading.Thread(target=getattr(stream, name), name=name, daemon=True) for name, stream in streams.items()]
    for thread in threads:
        thread.start()
    for _ in range(ROUNDS):
        for name, daemon in stack.daemons.items():
            time.sleep(BETWEEN)
            status = daemon.stop()
            story.check(f"gatepost-{name} ends with status 0 on SIGTERM", status == 0, f"{status}\n{daemon.tail()}")
            daemon.start()
            story.say(f"gatepost-{name} restarted")
    time.sleep(BETWEEN)
    stopping.set()
    for thread in threads:
        thread.join()
    for name, stream in streams.items():
        story.say(f"{name}: {len(stream.accepted)} messages accepted, {stream.logins} logins, {sum(stream.retries.values())} tried again")
        for reason, times in stream.retries.items():
            story.printed(f"{times} × {reason}")
        story.check(f"{name}: no 5xx, no wrong refusal", not stream.failures, "\n".join(stream.failures))
        story.check(f"{name}: it flowed", bool(stream.accepted or stream.logins))
    settle(stack)
    for user, names in ((ALICE, ["mail_from_outside"]), (CARL, ["mail_in_one_session"]), (BOB, ["submissions"])):
        accepted = [message_id for name in names for message_id in streams[name].accepted]
        with Mailbox(stack.ports, stack.trust, user, PASSWORDS[user]) as mailbox:
            found = Counter(mailbox.message_ids())
        lost = [one for one in accepted if found[one] != 1]
        story.check(f"all {len(accepted)} messages for {user} are there, once", not lost, {one: found[one] for one in lost})


SCENES = [Scene("m", "each daemon restarted under a stream of mail and logins: nothing lost, no 5xx", restarts)]
