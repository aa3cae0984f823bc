"""Scenes N and p: Nextcloud's own statements, executed as it executes them, and the hashes that PHP makes."""

import json
import shutil
import subprocess
from typing import Any

from clients import Reply, authenticate, login_error, submitter
from letters import STRANGER, letter
from narrate import Story
from scenes import Scene
from scenes.common import arrival, from_outside
from servers import HERE, Trouble, run
from settings import EXAMPLES
from stack import PASSWORDS, Stack

CLOE, ALIAS = "cloe@example.com", "sales@example.com"


class Nextcloud:
    """The app "User Backend using Raw SQL" with examples/nextcloud.config.php, as role mail_admin."""

    def __init__(self, stack: Stack, story: Story) -> None:
        self._place = (EXAMPLES / "nextcloud.config.php", "127.0.0.1", str(stack.postgres.port), "mail_admin")
        self._story = story

    def ask(self, query: str, verify: str | None = None, raw: str | None = None, **parameters: object) -> Any:
        """Executes one of its statements; the first column of what it gives, or how many rows it changed."""
        request = {"query": query, "parameters": parameters, "verify": verify, "raw": raw}
        self._story.sent(f"Nextcloud, as mail_admin: {query} {parameters}")
        return json.loads(run("php", HERE / "nextcloud.php", *self._place, stdin=json.dumps(request)))


def logs_in(stack: Stack, user: str, password: str) -> dict[str, bool]:
    """Whether somebody gets in, by Dovecot and by Postfix."""
    with submitter(stack.ports, stack.trust) as smtp:
        by_smtp = authenticate(smtp, user, password).code == 235
    return {"IMAP": not login_error(stack.ports, stack.trust, user, password), "SMTP": by_smtp}


def written_to(stack: Stack, recipient: str) -> tuple[str, Reply]:
    """Berta writes; the Message-ID and the last answer."""
    message = letter(f"Berta <{STRANGER}>", recipient, "About the order")
    return message["Message-ID"], from_outside(stack, Story(aloud=False), recipient, message)


def nextcloud(stack: Stack, story: Story) -> None:
    if not php(story, "pdo_pgsql"):
        return
    cloud = Nextcloud(stack, story)
    yes, no = {"IMAP": True, "SMTP": True}, {"IMAP": False, "SMTP": False}

    def counts(what: str, password: str, expected: dict[str, bool]) -> None:
        # PostgreSQL announces a change right after its commit; our question may overtake that on a busy machine, once.
        seen = logs_in(stack, CLOE, password)
        if seen != expected:
            seen = logs_in(stack, CLOE, password)
        story.check(f"{what}: {'logs in by IMAP and SMTP' if expected == yes else 'does not log in'}", seen == expected, seen)

    def receives(what: str, recipient: str) -> None:
        message_id, reply = written_to(stack, recipient)
        story.check(f"{what}: mail to {recipient} is taken", reply.accepted, reply)
        folder, _ = arrival(stack, CLOE, message_id)
        story.check(f"{what}: it is in her Inbox", folder == "INBOX", folder)

    def unknown(what: str, recipient: str) -> None:
        _, reply = written_to(stack, recipient)
        story.check(f"{what}: {recipient} is unknown, 550", reply.code == 550, reply)

    before = cloud.ask("count_users")
    story.check("before: Nextcloud does not know her", cloud.ask("user_exists", username=CLOE) == [False])
    counts("before", "first pass", no)
    unknown("before", CLOE)

    cloud.ask("create_user", username=CLOE, password_hash={"hash": "first pass", "by": "argon2id"})
    PASSWORDS[CLOE] = "first pass"
    story.check("made: Nextcloud knows her", cloud.ask("user_exists", username=CLOE) == [True])
    counts("made", "first pass", yes)
    receives("made", CLOE)

    story.check("listed by her address", cloud.ask("get_users", search="%cloe@exam%") == [CLOE])
    story.check("counted", cloud.ask("count_users") == [before[0] + 1])
    cloud.ask("set_display_name", username=CLOE, new_display_name="Chloé d'Arc")
    story.check("renamed", cloud.ask("get_display_name", username=CLOE) == ["Chloé d'Arc"])
    story.check("listed by her new name", cloud.ask("get_users", search="%chloé d%") == [CLOE])
    counts("renamed", "first pass", yes)
    receives("renamed", CLOE)
    refused = ""
    try:
        cloud.ask("(another address)", raw="UPDATE users SET local = 'chloe' WHERE local = 'cloe'")
    except Trouble as trouble:
        refused = str(trouble)
    story.check("another address for her: PostgreSQL lets mail_admin not", "permission denied" in refused, refused)

    for password, algorithm in (("zweites Paßwort", "bcrypt"), ("third pass", "argon2i"), ("fourth pass", "argon2id")):
        old = PASSWORDS[CLOE]
        cloud.ask("set_password_hash_for_user", username=CLOE, new_password_hash={"hash": password, "by": algorithm})
        PASSWORDS[CLOE] = password
        counts(f"password changed ({algorithm}), the new one", password, yes)
        counts(f"password changed ({algorithm}), the old one", old, no)
    receives("password changed", CLOE)

    story.sent("gatepost user password, gatepost alias add")
    stack.gatepost("user", "password", CLOE, stdin="fifth pass\n")
    PASSWORDS[CLOE] = "fifth pass"
    story.check("a hash of ours is one that Nextcloud can verify", cloud.ask("get_password_hash_for_user", verify="fifth pass", username=CLOE) is True)
    story.check("and only that password", cloud.ask("get_password_hash_for_user", verify="fourth pass", username=CLOE) is False)
    counts("changed by our tool", "fifth pass", yes)
    stack.gatepost("alias", "add", ALIAS, CLOE)
    receives("her alias", ALIAS)

    cloud.ask("delete_user", username=CLOE)
    story.check("deleted: Nextcloud does not know her", cloud.ask("user_exists", username=CLOE) == [False])
    counts("deleted", "fifth pass", no)
    unknown("deleted", CLOE)
    unknown("deleted", ALIAS)


def php(story: Story, *extensions: str) -> bool:
    """Whether PHP is there with what is needed of it; said if not."""
    if not shutil.which("php"):
        story.skip("what PHP does", "php is not installed (tests/install-packages)")
        return False
    there = subprocess.run(["php", "-m"], capture_output=True, text=True, check=True).stdout.split()
    missing = [one for one in extensions if one not in there]
    if missing:
        story.skip("what PHP does", f"PHP lacks {', '.join(missing)} (tests/install-packages)")
    return not missing


#: As password_hash() makes them: with the costs that are PHP's defaults, others, and what older versions took.
HASHES = {
    "bcrypt": "password_hash($p, PASSWORD_BCRYPT)",
    "bcrypt, cost 12": "password_hash($p, PASSWORD_BCRYPT, ['cost' => 12])",
    "argon2i": "password_hash($p, PASSWORD_ARGON2I)",
    "argon2id": "password_hash($p, PASSWORD_ARGON2ID)",
    "argon2id, 19 MiB, 2 passes": "password_hash($p, PASSWORD_ARGON2ID, ['memory_cost' => 19456, 'time_cost' => 2])",
    "the default": "password_hash($p, PASSWORD_DEFAULT)",
    "crypt(), SHA-512": "crypt($p, '$6$rounds=5000$' . bin2hex(random_bytes(8)) . '$')",
    "crypt(), SHA-256": "crypt($p, '$5$' . bin2hex(random_bytes(8)) . '$')",
}
WORDS = {"plain": "correct horse", "not ASCII": "Füße 密码 🗝", "80 bytes": "long " * 16}


def hashes(stack: Stack, story: Story) -> None:
    if not php(story):
        return
    for kind, word in WORDS.items():
        for made_by, code in HASHES.items():
            made = run("php", "-r", f"$p = stream_get_contents(STDIN); echo {code};", stdin=word)
            stack.postgres.sql(
                "INSERT INTO users (local, domain, password_hash) VALUES ('hashed', 'example.com', '%s')"
                " ON CONFLICT (local, domain) DO UPDATE SET password_hash = excluded.password_hash" % made
            )
            login = lambda password: login_error(stack.ports, stack.trust, "hashed@example.com", password)
            # As above: the announcement may be overtaken.
            said = login(word) and login(word)
            story.check(f"{kind}: {made_by} ({made[:20]}…) logs in", not said, said)
            if kind == "plain":
                said = login("other" + word)
                story.check(f"{kind}: {made_by}: another word does not", "[AUTHENTICATIONFAILED]" in said, said)
            elif kind == "80 bytes":
                # bcrypt reads 72 bytes; PHP's password_verify() says the same.
                said, only_begins_so = login(word[:72] + "and other"), made.startswith("$2y$")
                story.check(f"{kind}: {made_by}: its first 72 bytes {'will do' if only_begins_so else 'will not do'}", bool(said) != only_begins_so, said)
    stack.postgres.sql("DELETE FROM users WHERE local = 'hashed'")


SCENES = [
    Scene("N", "Nextcloud makes, lists, renames, re-passwords and deletes an account, and each counts in mail at once", nextcloud),
    Scene("p", "hashes of PHP's password_hash() and crypt() log in", hashes),
]
