"""Scene f: logins by IMAP, POP3, ManageSieve and SMTP, right ones and wrong ones."""

import poplib
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from clients import PATIENCE, authenticate, login_error, sieve_login, submitter
from narrate import Story
from scenes import Scene
from stack import ALICE, CARL, PASSWORDS, Stack
from waiting import until

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
    for service in ("imap", "pop3"):
        written = f"SELECT value FROM gatepost.dict_values WHERE dict = 'last_login' AND key = 'shared/last-login/{ALICE}/{service}'"
        seen = until(f"last_login has {service}", lambda: stack.postgres.sql(written))
        story.check(f"Dovecot's last_login wrote down {service}", seen.strip().isdigit(), seen)

    wrong = {
        "a wrong password": (ALICE, "alice124"),
        "an unknown user": ("nobody@example.com", "alice123"),
        "a user without a hash": (NO_HASH, "alice123"),
    }
    with ThreadPoolExecutor(max_workers=len(wrong) * len(PROTOCOLS)) as pool:
        asked = {(kind, name): pool.submit(ask, stack, *who) for kind, who in wrong.items() for name, (ask, _) in PROTOCOLS.items()}
    for name, (_, expected) in PROTOCOLS.items():
        answers = {kind: asked[kind, name].result() for kind in wrong}
        for kind, words in answers.items():
            story.say(f"{name}, {kind}: {words}")
        story.check(f"{name} refuses all three: {expected}", all(re.search(expected, words) for words in answers.values()), answers)
        story.check(f"{name} refuses all three with the same words", len(set(answers.values())) == 1, answers)


def smtp_login(mechanism: str) -> Callable[[Stack, str, str], str]:
    """A login by SMTP AUTH under STARTTLS."""

    def login(stack: Stack, user: str, password: str) -> str:
        with submitter(stack.ports, stack.trust) as smtp:
            return str(authenticate(smtp, user, password, mechanism))

    return login


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


#: How to log in, and how a refusal begins.
PROTOCOLS: dict[str, tuple[Callable[[Stack, str, str], str], str]] = {
    "IMAP": (lambda stack, user, password: login_error(stack.ports, stack.trust, user, password), r"^\[AUTHENTICATIONFAILED\]"),
    "POP3": (pop3_login, r"^-ERR \[AUTH\]"),
    "ManageSieve": (lambda stack, user, password: sieve_login(stack.ports, stack.trust, user, password), r"^NO "),
    "SMTP AUTH PLAIN": (smtp_login("PLAIN"), r"^535 5\.7\.8 "),
    "SMTP AUTH LOGIN": (smtp_login("LOGIN"), r"^535 5\.7\.8 "),
}

SCENES = [Scene("f", "logins by IMAP, SMTP, POP3 and ManageSieve; wrong ones refused, indistinguishably", logins, demo=True)]
