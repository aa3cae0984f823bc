"""Scene f: logins by IMAP, POP3, ManageSieve and SMTP, right ones and wrong ones."""

import poplib

from clients import PATIENCE, authenticate, login_error, sieve_login, submitter
from narrate import Story
from scenes import Scene
from stack import ALICE, CARL, PASSWORDS, Stack

NO_HASH = "letterbox@example.com"


def logins(stack: Stack, story: Story) -> None:
    stack.postgres.sql("INSERT INTO users (local, domain) VALUES ('letterbox', 'example.com') ON CONFLICT DO NOTHING")
    for user in (ALICE, CARL, ALICE.title()):
        password = PASSWORDS[user.lower()]
        error = login_error(stack.ports, stack.trust, user, password)
        story.check(f"IMAP over TLS: {user} / {password} logs in", not error, error)
    for mechanism in ("PLAIN", "LOGIN"):
        with submitter(stack.ports, stack.trust) as smtp:
            smtp.story = story
            reply = authenticate(smtp, ALICE, PASSWORDS[ALICE], mechanism)
        story.check(f"SMTP AUTH {mechanism} under STARTTLS", reply.code == 235, reply)
    said = sieve_login(stack.ports, stack.trust, ALICE, PASSWORDS[ALICE])
    story.check("ManageSieve under STARTTLS", said.startswith("OK"), said)
    said = pop3_login(stack, ALICE, PASSWORDS[ALICE])
    story.check("POP3 over TLS", said.startswith("+OK"), said)

    wrong = {"a wrong password": (ALICE, "alice124"), "an unknown user": ("nobody@example.com", "alice123"), "a user without a hash": (NO_HASH, "alice123")}
    imap, smtp_replies, pop3, sieve = {}, {}, {}, {}
    for kind, (user, password) in wrong.items():
        imap[kind] = login_error(stack.ports, stack.trust, user, password)
        story.say(f"{kind}: IMAP says {imap[kind]!r}")
        for mechanism in ("PLAIN", "LOGIN"):
            with submitter(stack.ports, stack.trust) as smtp:
                reply = authenticate(smtp, user, password, mechanism)
            story.say(f"{kind}: SMTP AUTH {mechanism} says {str(reply)!r}")
            smtp_replies[kind, mechanism] = reply
        pop3[kind] = pop3_login(stack, user, password)
        sieve[kind] = sieve_login(stack.ports, stack.trust, user, password)
    story.check("IMAP refuses all three with [AUTHENTICATIONFAILED]", all("[AUTHENTICATIONFAILED]" in one for one in imap.values()), imap)
    story.check("and with the same words", len(set(imap.values())) == 1, imap)
    story.check("SMTP refuses all with 535 5.7.8", all(one.code == 535 and "5.7.8" in one.text for one in smtp_replies.values()), smtp_replies)
    same = all(len({reply.text for (_, used), reply in smtp_replies.items() if used == mechanism}) == 1 for mechanism in ("PLAIN", "LOGIN"))
    story.check("and with the same words", same, smtp_replies)
    story.check("POP3 refuses all three with the same words", len(set(pop3.values())) == 1 and pop3["an unknown user"].startswith("-ERR"), pop3)
    story.check("ManageSieve refuses all three with the same words", len(set(sieve.values())) == 1 and sieve["an unknown user"].startswith("NO"), sieve)


def pop3_login(stack: Stack, user: str, password: str) -> str:
    """What POP3 says to USER and PASS."""
    client = poplib.POP3_SSL("127.0.0.1", stack.ports.pop3s, timeout=PATIENCE, context=stack.trust)
    try:
        client.user(user)
        said = client.pass_(password).decode()
        client.quit()
        return said
    except poplib.error_proto as error:
        client.close()
        return error.args[0].decode()


SCENES = [Scene("f", "logins by IMAP, SMTP, POP3 and ManageSieve; wrong ones refused, indistinguishably", logins)]
