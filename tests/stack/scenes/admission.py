"""Scenes B and G: what a right password is worth (switches, app passwords, locks, masters), and what becomes of many wrong ones."""

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

from clients import Mailbox, login_error, sieve_login
from narrate import Story
from scenes import Scene
from scenes.logins import pop3_login, smtp_login
from servers import run
from settings import EXAMPLES
from stack import ALICE, BOB, CARL, PASSWORDS, Stack
from waiting import until

#: With a hash as cheap as the tutorial's, so that no guess waits for a place to be hashed.
DORA, DORAS = "dora@example.com", PASSWORDS[ALICE]
#: `guessing.user` of examples/gatepost.toml, and a few more.
LIMIT, GUESSES = 20, 26


def imap(stack: Stack, user: str, password: str) -> str:
    """What IMAP says to a login; nothing when it succeeds."""
    return login_error(stack.ports, stack.trust, user, password)


def admission(stack: Stack, story: Story) -> None:
    secret = stack.gatepost("apppassword", "add", ALICE, "phone", "--services", "imap,submission").strip()
    story.sent(f"gatepost apppassword add {ALICE} phone --services imap,submission")
    until("the app password counts", lambda: not imap(stack, ALICE, secret))
    story.check("an app password logs in by IMAP", not (said := imap(stack, ALICE, secret)), said)
    said = imap(stack, ALICE, secret.replace("-", "").upper())
    story.check("typed in capitals without hyphens too", not said, said)
    said = smtp_login("PLAIN")(stack, ALICE, secret)
    story.check("and by SMTP", said.startswith("235"), said)
    said = pop3_login(stack, ALICE, secret)
    story.check("but not by POP3, where it was not made for", said.startswith("-ERR [AUTH]"), said)
    said = pop3_login(stack, ALICE, PASSWORDS[ALICE])
    story.check("where the main password still does", said.startswith("+OK"), said)

    stack.gatepost("logins", "set", ALICE, "--services", "imap,submission,sieve", "--main-password", "sieve")
    story.sent(f"gatepost logins set {ALICE} --services imap,submission,sieve --main-password sieve")
    said = until("POP3 is off", lambda: not (said := pop3_login(stack, ALICE, PASSWORDS[ALICE])).startswith("+OK") and said)
    story.check("POP3 switched off: refused as for a wrong password", said == pop3_login(stack, ALICE, "wrong"), said)
    said = imap(stack, ALICE, PASSWORDS[ALICE])
    story.check("the main password does not count at IMAP", "[AUTHENTICATIONFAILED]" in said, said)
    said = sieve_login(stack.ports, stack.trust, ALICE, PASSWORDS[ALICE])
    story.check("it does at ManageSieve", said.startswith("OK"), said)
    story.check("the app password does at IMAP", not (said := imap(stack, ALICE, secret)), said)
    imap_line = lambda shown: next((line for line in shown.splitlines() if line.startswith("imap ")), "")
    shown = until("it is written down", lambda: "phone" in imap_line(shown := stack.gatepost("user", "show", ALICE)) and shown)
    story.printed(shown)
    story.check("`gatepost user show` has the last login by IMAP, and with what", "127.0.0.1" in imap_line(shown), shown)
    stack.gatepost("logins", "unset", ALICE)
    stack.gatepost("apppassword", "remove", ALICE, "phone", "--yes")
    said = until("it is removed", lambda: imap(stack, ALICE, secret))
    story.check("removed, the app password is wrong", "[AUTHENTICATIONFAILED]" in said, said)

    stack.gatepost("user", "lock", BOB, "--reason", "Your account is closed; call us.")
    story.sent(f"gatepost user lock {BOB} --reason …")
    said = until("bob is locked", lambda: imap(stack, BOB, PASSWORDS[BOB]))
    story.answered(said)
    story.check("a locked user reads the reason in his mail program", "Your account is closed; call us." in said, said)
    said = imap(stack, BOB, "wrong")
    story.check("whoever guesses does not", "[AUTHENTICATIONFAILED]" in said and "closed" not in said, said)
    said = smtp_login("PLAIN")(stack, BOB, PASSWORDS[BOB])
    story.check("by SMTP it is a 535", said.startswith("535"), said)
    stack.gatepost("user", "unlock", BOB)
    until("bob is unlocked", lambda: not imap(stack, BOB, PASSWORDS[BOB]))

    stack.postgres.sql(f"INSERT INTO gatepost.login_locks (login, reason) VALUES ('{BOB}', '12 new networks within an hour')")
    story.sent("(the policy daemon's lock, as its check stolen-login writes it)")
    said = until("the lock counts", lambda: imap(stack, BOB, PASSWORDS[BOB]))
    story.check("a login that sent too much stays out, and is told that it is locked", "locked" in said and "networks" not in said, said)
    stack.postgres.sql("UPDATE gatepost.login_locks SET until = now() + interval '1 hour'")
    said = until("the lock ends by itself", lambda: "[UNAVAILABLE]" in (said := imap(stack, BOB, PASSWORDS[BOB])) and said)
    said = smtp_login("PLAIN")(stack, BOB, PASSWORDS[BOB])
    story.check("where the lock ends, it is told to try later: [UNAVAILABLE], 454", said.startswith("454"), said)
    stack.gatepost("limits", "reset", BOB)
    until("bob is let in by `gatepost limits reset`", lambda: not imap(stack, BOB, PASSWORDS[BOB]))

    stack.gatepost("master", "add", CARL, "@example.com")
    master = f"{ALICE}*{CARL}"
    until("carl is a master", lambda: not imap(stack, master, PASSWORDS[CARL]))
    with Mailbox(stack.ports, stack.trust, master, PASSWORDS[CARL]) as mailbox:
        story.check("a master sees the user's mailbox", "INBOX" in mailbox.folders(), mailbox.folders())
    said = imap(stack, f"{CARL}*{ALICE}", PASSWORDS[ALICE])
    story.check("nobody else does", "[AUTHENTICATIONFAILED]" in said, said)
    log = until("it is written down", lambda: stack.gatepost("master", "log", ALICE))
    story.check("`gatepost master log` tells of it", CARL in log and "127.0.0.1" in log, log)
    stack.gatepost("master", "remove", CARL, "@example.com")


def guessing(stack: Stack, story: Story) -> None:
    stack.postgres.sql(
        "INSERT INTO users (local, domain, password_hash) SELECT 'dora', domain, password_hash FROM users WHERE local = 'alice' ON CONFLICT DO NOTHING"
    )

    daemon = stack.daemons["dovecot-auth"]
    quick = stack.config.read_text()
    stack.config.write_text(quick.replace('failure-delay = "0s"\n', 'failure-delay = "2s"\n'))
    daemon.reload()

    def timed(number: int) -> tuple[str, float]:
        begun = time.monotonic()
        return imap(stack, DORA, f"guess {number}"), time.monotonic() - begun

    with ThreadPoolExecutor(max_workers=GUESSES) as pool:
        answers = list(pool.map(timed, range(GUESSES)))
    stack.config.write_text(quick)
    daemon.reload()
    wrong = [took for said, took in answers if "[AUTHENTICATIONFAILED]" in said]
    later = [took for said, took in answers if "[UNAVAILABLE]" in said]
    story.figure(f"{GUESSES} guesses at once: {len(wrong)} refused after {min(wrong):.1f} to {max(wrong):.1f} s, {len(later)} told to try later")
    story.check(f"{LIMIT} are looked at, the others are told to try later", (len(wrong), len(later)) == (LIMIT, GUESSES - LIMIT), answers)
    said = imap(stack, DORA, DORAS)
    story.check("a right password is not looked at either, and not called wrong", "[UNAVAILABLE]" in said, said)
    said = smtp_login("PLAIN")(stack, DORA, DORAS)
    story.check("nor by SMTP: 454", said.startswith("454"), said)
    said = imap(stack, DORA, "guess 0") if "[AUTHENTICATIONFAILED]" in answers[0][0] else "[AUTHENTICATIONFAILED]"
    story.check("what was wrong is still wrong", "[AUTHENTICATIONFAILED]" in said, said)
    said = imap(stack, ALICE, PASSWORDS[ALICE])
    story.check("others are not concerned", not said, said)
    failures = stack.gatepost("auth", "failures", DORA)
    story.printed(failures)
    story.check("`gatepost auth failures` shows them", f"127.0.0.1  {LIMIT} " in failures, failures)

    daemon.stop()
    daemon.start()
    said = until("the daemon has read what it knew", lambda: "[UNAVAILABLE]" in (said := imap(stack, DORA, DORAS)) and said)
    story.check("a restart forgets nothing", "[UNAVAILABLE]" in said, said)

    story.sent(f"gatepost auth unblock {DORA}")
    stack.gatepost("auth", "unblock", DORA)
    until("dora gets in", lambda: not imap(stack, DORA, DORAS))
    story.check("unblocked, she gets in", not (said := imap(stack, DORA, DORAS)), said)

    # What belongs to root although the daemon does not run as root cannot be traced or dumped (proc(5), PR_SET_DUMPABLE).
    owner = os.stat(f"/proc/{daemon.pid}/environ").st_uid
    story.check("the daemon's memory is out of reach for its own user: no core dump, no debugger", owner == 0 != daemon.uid, owner)

    if shutil.which("fail2ban-regex"):
        told = run("fail2ban-regex", daemon.log, EXAMPLES / "fail2ban/filter.d/gatepost-dovecot-auth.conf")
        matched = [line for line in told.splitlines() if line.startswith("Lines:")]
        story.check("fail2ban's filter finds them in the log", bool(matched) and " 0 matched" not in matched[0], told)
    else:
        story.skip("fail2ban's filter", "fail2ban is not installed")


SCENES = [
    Scene("B", "app passwords, switches, locks and masters count at once, at every service", admission),
    Scene("G", "many wrong passwords: slower and slower, then later; unlocked by the tool", guessing),
]
