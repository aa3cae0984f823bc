"""Scene y: `gatepost check` on the running server: what must be well is well, and what is broken is found, with what to do."""

import json
import os
import subprocess

from narrate import Story
from scenes import Scene
from stack import ALICE, BOB, Stack

#: What does not hang on DNS: there this server has hardly a name.
HERE = ("configuration", "secrets", "sockets", "postfix", "dovecot", "certificates", "schema", "roles", "users", "aliases", "domains", "addresses", "keys")


def check(stack: Stack, *more: str) -> tuple[int, str]:
    """As root, who sees everything: status and lines."""
    where = ("--postfix", stack.postfix.config, "--dovecot", stack.dovecot.config)
    words = (stack.programs / "gatepost", "--config", stack.config, "check", "--offline", *where, *more)
    done = subprocess.run([str(word) for word in words], stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd="/")
    return done.returncode, done.stdout + done.stderr


def doctor(stack: Stack, story: Story) -> None:
    story.say("as root, on the whole server:")
    status, said = check(stack)
    story.printed(said)
    wired = f"ok    Dovecot {stack.dovecot.version}"
    story.check("Dovecot is wired to us", any(line.startswith(wired) and line.endswith("asks Gatepost who may log in") for line in said.splitlines()), said)
    for line in (
        "ok    Postfix asks Gatepost for domains, mailboxes, aliases, senders, and what mail is",
        "ok    Postfix (smtpd_milters) reaches",
        "ok    database mail_server at",
    ):
        story.check(f"it says {line}", line in said, said)
    # One daemon of the stack may get its password as systemd passes it, and no systemd runs: said, and no failure.
    if "credential:" in "".join(line for line in stack.config.read_text().splitlines() if not line.startswith("#")):
        story.check("what systemd passes is no failure where it is not seen", "warn  [postfix-policy] database-password-file: systemd passes it" in said, said)
    failures = [line for line in said.splitlines() if line.startswith("fail")]
    story.check("nothing fails, and the status is 0", status == 0 and not failures, (status, failures))
    checks = [json.loads(line)["check"] for line in check(stack, "--list", "--json")[1].splitlines()]
    story.check("it knows these checks", set(HERE) <= set(checks), checks)

    milter = stack.postfix.spool / "run/gatepost/milter.sock"
    mode = milter.stat().st_mode & 0o7777
    os.chmod(milter, 0o600)
    owner = milter.stat().st_uid
    os.chown(milter, 0, -1)
    try:
        story.say("nobody but root may open the milter's socket:")
        status, said = check(stack, "--only", "sockets", "--problems")
        story.printed(said)
        story.check("that fails, by Postfix's rights, with the file and what to do", status == 1 and "milter.sock" in said and "gatepost-….socket" in said, said)
    finally:
        os.chown(milter, owner, -1)
        os.chmod(milter, mode)

    story.say("bob has no password, an alias hides behind alice's mailbox, an alias leads nowhere:")
    local, domain = ALICE.split("@")
    bob = BOB.split("@")
    kept = stack.postgres.sql(f"SELECT password_hash FROM users WHERE local = '{bob[0]}' AND domain = '{bob[1]}'").strip()
    stack.postgres.sql(
        f"UPDATE users SET password_hash = NULL WHERE local = '{bob[0]}' AND domain = '{bob[1]}';"
        f"INSERT INTO aliases VALUES ('{local}', '{domain}', '{bob[0]}', '{bob[1]}');"
        f"INSERT INTO gatepost.aliases (local, domain, destination) VALUES ('lost', '{domain}', 'nobody@{domain}')"
    )
    try:
        status, said = check(stack, "--only", "users", "--only", "aliases", "--only", "addresses", "--problems")
        story.printed(said)
        story.check("a mailbox without password is a warning", f"warn  {BOB} has no password" in said, said)
        story.check("so is an alias that a mailbox hides", f"warn  alias {ALICE} is also a mailbox" in said, said)
        story.check("an alias that leads nowhere fails", status == 1 and f"fail  alias lost@{domain}" in said, said)
    finally:
        stack.postgres.sql(
            f"UPDATE users SET password_hash = '{kept}' WHERE local = '{bob[0]}' AND domain = '{bob[1]}';"
            f"DELETE FROM aliases WHERE source_local = '{local}' AND source_domain = '{domain}';"
            f"DELETE FROM gatepost.aliases WHERE local = 'lost'"
        )

    story.say("Postfix asks us for aliases no more, and an old spam filter as well:")
    main = stack.postfix.config / "main.cf"
    text = main.read_text()
    main.write_text(text + "virtual_alias_maps =\nnon_smtpd_milters = $smtpd_milters, inet:localhost:11332\n")
    try:
        status, said = check(stack, "--only", "postfix", "--problems")
        story.printed(said)
        story.check("that fails, with the line that mends it", status == 1 and "`postconf -e 'virtual_alias_maps = " in said, said)
        story.check("the old filter is named", "Rspamd" in said, said)
    finally:
        main.write_text(text)

    status, said = check(stack, "--json")
    lines = [json.loads(line) for line in said.splitlines()]
    story.check("all is well again, for programs too", status == 0 and lines and not [line for line in lines if line["result"] == "fail"], said)


SCENES = [Scene("y", "`gatepost check` finds what is well and what is not", doctor)]
