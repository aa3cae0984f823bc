"""Scene k: Nextcloud makes, changes and deletes an account in the database; each counts at once."""

from concurrent.futures import ThreadPoolExecutor

from clients import Reply, authenticate, login_error, submitter
from letters import STRANGER, letter
from narrate import Story
from scenes import Scene
from scenes.common import arrival, from_outside
from servers import run
from stack import PASSWORDS, Stack

ERIN = "erin@example.com"


def hash_of(stack: Stack, password: str, scheme: str = "ARGON2ID") -> str:
    """A hash by Dovecot's own tool, in the spelling that PHP's password_hash gives: no {SCHEME} before it."""
    return run("doveadm", "-c", stack.dovecot.config, "pw", "-s", scheme, "-p", password).strip().partition("}")[2]


def can_log_in(stack: Stack, password: str) -> dict[str, bool]:
    """Whether erin gets in, by IMAP and by SMTP."""

    def by_smtp() -> bool:
        with submitter(stack.ports, stack.trust) as smtp:
            return authenticate(smtp, ERIN, password).code == 235

    with ThreadPoolExecutor() as pool:
        imap, smtp = pool.submit(login_error, stack.ports, stack.trust, ERIN, password), pool.submit(by_smtp)
    return {"IMAP": not imap.result(), "SMTP": smtp.result()}


def mail_to_erin(stack: Stack, story: Story) -> tuple[str, Reply]:
    """A stranger writes to her; the Message-ID and the last answer."""
    message = letter(f"Berta <{STRANGER}>", ERIN, "Welcome")
    return message["Message-ID"], from_outside(stack, story, ERIN, message)


def accounts(stack: Stack, story: Story) -> None:
    yes, no = {"IMAP": True, "SMTP": True}, {"IMAP": False, "SMTP": False}

    def as_nextcloud(statement: str) -> None:
        story.sent(f"SQL as mail_admin: {statement}")
        stack.postgres.sql_as("mail_admin", statement)

    def counts(what: str, password: str, expected: dict[str, bool]) -> None:
        # PostgreSQL announces a change right after its commit; our question may overtake that on a busy machine, once.
        tries = [can_log_in(stack, password)]
        while tries[-1] != expected and len(tries) < 2:
            tries.append(can_log_in(stack, password))
        story.check(f"{what} (try {len(tries)})", tries[-1] == expected, tries)

    _, reply = mail_to_erin(stack, story)
    story.check("before: erin is unknown, 550", reply.code == 550, reply)
    counts("before: erin cannot log in", "first-pass", no)

    as_nextcloud(f"INSERT INTO users (local, domain, password_hash) VALUES ('erin', 'example.com', '{hash_of(stack, 'first-pass')}')")
    PASSWORDS[ERIN] = "first-pass"
    counts("inserted: erin logs in at once", "first-pass", yes)
    message_id, reply = mail_to_erin(stack, story)
    story.check("inserted: erin receives at once", reply.accepted, reply)
    folder, _ = arrival(stack, ERIN, message_id)
    story.check("in her Inbox", folder == "INBOX", folder)

    for password, scheme in (("second-pass", "ARGON2ID"), ("third-pass", "BLF-CRYPT")):
        old = PASSWORDS[ERIN]
        as_nextcloud(
            f"UPDATE users SET password_hash = '{hash_of(stack, password, scheme)}' WHERE local = 'erin' AND domain = 'example.com'"
        )
        PASSWORDS[ERIN] = password
        counts(f"changed ({scheme}): the new password counts at once", password, yes)
        counts(f"changed ({scheme}): the old one no more", old, no)

    story.sent("gatepost user password erin@example.com, the password on stdin")
    stack.gatepost("user", "password", ERIN, stdin="fourth-pass\n")
    counts("changed by our tool: the new password counts at once", "fourth-pass", yes)
    counts("changed by our tool: the old one no more", "third-pass", no)

    as_nextcloud("DELETE FROM users WHERE local = 'erin' AND domain = 'example.com'")
    counts("deleted: no login at once", "fourth-pass", no)
    _, reply = mail_to_erin(stack, story)
    story.check("deleted: 550 at once", reply.code == 550, reply)


SCENES = [Scene("k", "an account made, changed and deleted by SQL as Nextcloud does counts at once", accounts, demo=True)]
