"""Scene q: what the auth daemon does when things fail beneath it, around it, and in itself.

PostgreSQL hangs (SIGSTOP), is slow, and has no connection left; the daemon is killed and restarted under 200 logins a second; 10,000 peers
connect and say nothing. The rules are those of the failure table: a right password is never called wrong, everything is answered in time, and
it works again by itself.
"""

import base64
import os
import resource
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from collections.abc import Iterator
from dataclasses import dataclass, field

from clients import Mailbox, authenticate, login_error, submitter
from narrate import Story
from scenes import Scene
from scenes.outages import login_and_send
from servers import run
from stack import ALICE, BOB, CARL, PASSWORDS, Stack
from waiting import until

STRANGER_HERE = "nobody-asked@example.com"
CLIENTS, RATE = 10, 20.0
IDLE = 10_000
#: What is asked of a server that hangs is answered after database.timeout; this is "in time" for a mail program, and far less than Dovecot waits.
SOON = 15.0


def faults(stack: Stack, story: Story) -> None:
    quiet = lambda: login_error(stack.ports, stack.trust, ALICE, PASSWORDS[ALICE])
    story.check("before: alice logs in", not quiet())
    story.sent("kill -STOP every process of PostgreSQL")
    with frozen(stack):
        judged(stack, story, "PostgreSQL hangs")
    recovers(stack, story, "PostgreSQL goes on")
    story.sent("LOCK TABLE users: every question about users waits")
    with locked(stack):
        judged(stack, story, "PostgreSQL is slow")
    recovers(stack, story, "it is fast again")
    story.sent("ALTER ROLE gatepost_auth CONNECTION LIMIT 0, and its connections cut")
    stack.postgres.sql("ALTER ROLE gatepost_auth CONNECTION LIMIT 0; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'gatepost_auth'")
    judged(stack, story, "no connection is left")
    stack.postgres.sql("ALTER ROLE gatepost_auth CONNECTION LIMIT 100")
    recovers(stack, story, "there are connections again")
    killed(stack, story)
    crowd(stack, story)


def judged(stack: Stack, story: Story, when: str) -> None:
    """No answer may be wrong, and each must come in time."""
    for user, password in ((ALICE, PASSWORDS[ALICE]), (STRANGER_HERE, "x")):
        began = time.monotonic()
        error = login_error(stack.ports, stack.trust, user, password)
        took = time.monotonic() - began
        good = "[UNAVAILABLE]" in error or (user == ALICE and not error)
        story.check(f"{when}: IMAP login of {user}: {error or 'logged in'}", good, error)
        story.check(f"{when}: answered in time", took < SOON, f"{took:.1f} s")
    reply = login_and_send(stack, story, BOB)
    story.check(f"{when}: SMTP AUTH of bob is served, or 4xx ({reply.code})", reply.accepted or reply.temporary, reply)
    answer = subprocess.run(
        ["doveadm", "-c", str(stack.dovecot.config), "user", STRANGER_HERE], capture_output=True, text=True, check=False
    )
    said = answer.stdout + answer.stderr
    story.check(f"{when}: doveadm does not hear that a user does not exist", "doesn't exist" not in said and answer.returncode != 0, said)


def recovers(stack: Stack, story: Story, when: str) -> None:
    """Everything works again without a restart."""
    until(when, lambda: not login_error(stack.ports, stack.trust, CARL, PASSWORDS[CARL]))
    error = login_error(stack.ports, stack.trust, CARL, "wrong")
    until("a wrong password is wrong again", lambda: "[AUTHENTICATIONFAILED]" in login_error(stack.ports, stack.trust, CARL, "wrong"))
    story.check(f"{when}: carl logs in, and not with a wrong password", "[AUTHENTICATIONFAILED]" in error or "[UNAVAILABLE]" in error, error)


@contextmanager
def frozen(stack: Stack) -> Iterator[None]:
    """All processes of the cluster stopped."""
    postmaster = int((stack.directory / "postgresql/postmaster.pid").read_text().splitlines()[0])
    children = run("pgrep", "-P", str(postmaster)).split()
    pids = [postmaster, *map(int, children)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@contextmanager
def locked(stack: Stack) -> Iterator[None]:
    """Table users locked by somebody else."""
    place = ["-h", str(stack.postgres.socket), "-p", str(stack.postgres.port), "-d", "mail_server"]
    with subprocess.Popen(
        ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "psql", "-X", "-q", "-A", "-t", *place],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
    ) as psql:
        assert psql.stdin and psql.stdout
        psql.stdin.write("BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE; SELECT 'held';\n")
        psql.stdin.flush()
        assert psql.stdout.readline() == "held\n"
        try:
            yield
        finally:
            psql.stdin.close()


@dataclass
class Logins:
    """One login process' connection, RATE logins a second, each tried again until it is decided."""

    stack: Stack
    number: int
    stopping: threading.Event
    accepted: int = 0
    again: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def run(self) -> None:
        peer = None
        user = (ALICE, BOB, CARL)[self.number % 3]
        response = base64.b64encode(f"\0{user}\0{PASSWORDS[user]}".encode()).decode()
        identity = 0
        while not self.stopping.wait(1 / RATE):
            identity += 1
            while not self.stopping.is_set():
                try:
                    peer = peer or self.connect()
                    peer.write(f"AUTH\t{identity}\tPLAIN\tservice=imap\tnologin\tresp={response}\n")
                    peer.flush()
                    answer = peer.readline()
                    if not answer:
                        raise ConnectionError("closed")
                except OSError as error:
                    self.again[type(error).__name__] += 1
                    peer = None
                    time.sleep(0.02)
                    continue
                if answer.startswith(f"OK\t{identity}\tuser={user}"):
                    self.accepted += 1
                    break
                if "code=temp_fail" not in answer:
                    self.wrong.append(answer)
                    break
                self.again["temp_fail"] += 1
                time.sleep(0.05)

    def connect(self):
        """A connection after its handshake. The kernel lets it wait while the daemon is away."""
        peer = socket.socket(socket.AF_UNIX)
        peer.settimeout(60)
        peer.connect(str(self.stack.directory / "run/gatepost/auth-login"))
        stream = peer.makefile("rw", newline="\n")
        peer.close()
        stream.write(f"VERSION\t1\t2\nCPID\t{90000 + self.number}\n")
        stream.flush()
        while (line := stream.readline()) != "DONE\n":
            if not line:
                raise ConnectionError("closed in the handshake")
        return stream


def killed(stack: Stack, story: Story) -> None:
    """Killed, and restarted, while logins come in."""
    daemon = stack.daemons["dovecot-auth"]
    stopping = threading.Event()
    clients = [Logins(stack, number, stopping) for number in range(CLIENTS)]
    threads = [threading.Thread(target=client.run, daemon=True) for client in clients]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for how in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        time.sleep(1.5)
        story.sent(f"kill -{how.name[3:]} gatepost-dovecot-auth, and it is started again")
        if how == signal.SIGKILL:
            assert daemon.process is not None
            daemon.process.kill()
            daemon.process.wait()
            daemon.process = None
        else:
            daemon.stop()
        daemon.start()
    time.sleep(1.5)
    stopping.set()
    for thread in threads:
        thread.join()
    accepted, took = sum(client.accepted for client in clients), time.monotonic() - began
    story.figure(f"{accepted} logins accepted in {took:.1f} s, {dict(sum((client.again for client in clients), Counter()))} tried again")
    wrong = [answer for client in clients for answer in client.wrong]
    story.check("no right password was called wrong", not wrong, wrong[:3])
    story.check("every client goes on after every restart", all(client.accepted > 20 for client in clients), [client.accepted for client in clients])
    recovers(stack, story, "after the restarts")


def crowd(stack: Stack, story: Story) -> None:
    """Peers that connect and say nothing, or half a line."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < IDLE + 500:
        story.say(f"not run: {IDLE} idle connections, as this machine lets a process have {hard} files only")
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    daemon = stack.daemons["dovecot-auth"]
    before = stack.config.read_text()
    stack.config.write_text(before.replace("connections = 4096\n", f"connections = {IDLE + 1000}\n"))
    daemon.stop()
    daemon.start()
    with ExitStack() as open_ones:
        names = ("auth-login", "auth-userdb", "dict", "auth-master")
        for number in range(IDLE):
            peer = open_ones.enter_context(socket.socket(socket.AF_UNIX))
            peer.connect(str(stack.directory / "run/gatepost" / names[number % len(names)]))
            if number % 8 == 0:
                peer.send(b"VERSION\t1")
        until("all are accepted", lambda: sum(1 for _ in os.scandir(f"/proc/{daemon.pid}/fd")) > IDLE)
        resident, _ = daemon.memory()
        story.figure(f"{IDLE} silent connections: {resident / 1024:.1f} MiB resident")
        error = login_error(stack.ports, stack.trust, ALICE, PASSWORDS[ALICE])
        story.check(f"alice logs in among {IDLE} silent connections", not error, error)
        with submitter(stack.ports, stack.trust) as smtp:
            reply = authenticate(smtp, BOB, PASSWORDS[BOB])
        story.check("bob logs in by SMTP", reply.accepted, reply)
        with Mailbox(stack.ports, stack.trust, BOB, PASSWORDS[BOB]) as mailbox:
            story.check("and lists his folders, which asks the dictionary", bool(mailbox.folders()), mailbox.folders())
    stack.config.write_text(before)
    daemon.stop()
    daemon.start()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


SCENES = [Scene("q", "the auth daemon under faults: PostgreSQL hung, slow, full; killed under 200 logins/s; 10,000 silent peers", faults)]
