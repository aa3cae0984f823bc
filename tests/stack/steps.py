"""What `gatepost setup` prints, followed to the letter: `python3 -B tests/stack/steps.py [--aloud] [--logs DIR] empty|tutorial`.

On one of the machines of machine.py, for tests/installation: `gatepost setup --apply`, the server it makes, `--undo`, the server there was; then the
printed text, run by sh word for word, and the server that makes. The last line is `N passed, N failed`; the status is 0 if nothing failed.
"""

import argparse
import os
import sys
from pathlib import Path

sys.dont_write_bytecode = True

from clients import Mailbox, authenticate, deliver, login_error, submitter
from letters import BODY, STRANGER, letter
from machine import EmptyMachine, Machine, TutorialMachine
from narrate import Story
from scenes.common import arrival, from_outside, leaves
from scenes.inbound import GTUBE, SPAM
from scenes.setup import FRIEND, different
from scenes.submission import txt
from scenes.webmail import www_data
from servers import Trouble
from stack import ALICE, PASSWORDS
from tutorial import SELECTOR
from waiting import until

import dkim

ANN = "ann@example.org"
PASSWORDS[ANN] = "correct horse"
CERTIFICATE = ("--certificate", "/etc/ssl/mail/fullchain.pem", "--key", "/etc/ssl/mail/privkey.pem")


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/stack/steps.py", description="Follows what `gatepost setup` prints.")
    parser.add_argument("machine", choices=("empty", "tutorial"))
    parser.add_argument("--aloud", action="store_true", help="tell everything that is sent, answered and stored")
    parser.add_argument("--logs", type=Path, metavar="DIR", help="copy the logs of all servers there at the end")
    arguments = parser.parse_args()
    story = Story(arguments.aloud)
    machine, play = (EmptyMachine(), empty) if arguments.machine == "empty" else (TutorialMachine(), tutorial)
    try:
        with story.scene("begin", f"the {arguments.machine} machine, with our packages"):
            machine.begin()
        if not story.failed:
            play(machine, story)
    finally:
        with story.scene("end", "everything stops"):
            machine.stop(arguments.logs)
    return 0 if story.summary() else 1


def empty(machine: EmptyMachine, story: Story) -> None:
    asked = ("--domain", machine.DOMAIN, "--user", ANN, *CERTIFICATE)
    password = f"{PASSWORDS[ANN]}\n"
    before = machine.snapshot(), machine.units()
    with story.scene("apply", "`gatepost setup --apply` makes a mail server"):
        printed = machine.types("gatepost", "setup", "--apply", *asked, stdin=password)
        story.printed(printed)
        enabled = [words for words in machine.systemd.asked if words.startswith("enable --now gatepost-milter.service")]
        story.check("our daemons are enabled and started", len(enabled) == 1, machine.systemd.asked)
        serves(machine, story, ANN)
    with story.scene("undo", "`gatepost setup --undo` gives every file back"):
        gives_back(machine, story, before)
        machine.forget()
    with story.scene("printed", "what `gatepost setup` prints, run by sh"):
        printed = follows(machine, story, *asked, stdin=password)
        machine.publish(*to_be_published(printed))
        until("DNS shows the key", lambda: activates(machine))
        serves(machine, story, ANN)
        signs(machine, story, ANN)
        for to in (f"postmaster@{machine.DOMAIN}", f"root@{machine.DOMAIN}"):
            comes(machine, story, to, ANN)
        junk(machine, story, ANN)
        well(machine, story)


def tutorial(machine: TutorialMachine, story: Story) -> None:
    with story.scene("before", "the tutorial's server serves, with Rspamd away"):
        without_us(machine, story)
    # Enabled, and not running at the moment.
    machine.systemd.units["gatepost-postfix-policy.service"].stop()
    before = machine.snapshot(), machine.units()
    with story.scene("apply", "`gatepost setup --apply` switches it"):
        story.printed(machine.types("gatepost", "setup", "--apply"))
        story.check("Rspamd is disabled and stopped", "disable --now rspamd.service" in machine.systemd.asked, machine.systemd.asked)
        serves(machine, story, ALICE)
    with story.scene("undo", "`gatepost setup --undo` gives every file back"):
        gives_back(machine, story, before)
        story.check("Rspamd is enabled and started", "enable --now rspamd.service" in machine.systemd.asked, machine.systemd.asked)
        until("Postfix has read its old files", lambda: (headers := taken(machine, ALICE)) and "X-Spamd-Result" not in headers)
        without_us(machine, story)
        machine.forget()
    with story.scene("printed", "what `gatepost setup` prints, run by sh"):
        follows(machine, story)
        serves(machine, story, ALICE)
        comes(machine, story, "boss@example.com", ALICE)
        wire = signs(machine, story, ALICE)
        story.check("with Rspamd's key", f"s={SELECTOR};".encode() in wire, wire[:1500])
        www_data(machine, story)
        junk(machine, story, ALICE)
        well(machine, story)


def follows(machine: Machine, story: Story, *asked: str, stdin: str = "") -> str:
    """Prints the plan, runs the text, and looks that nothing is left to do; the text."""
    printed = machine.types("gatepost", "setup", *asked)
    story.printed(printed)
    story.check("nothing is in the way", "# IN THE WAY" not in printed, printed)
    script = machine.directory / "printed"
    script.write_text(printed)
    story.printed(machine.types("sh", str(script), stdin=stdin))
    again = machine.types("gatepost", "setup", *asked)
    story.check("`gatepost setup` again: nothing to do", "Nothing to do" in again, again)
    return printed


def gives_back(machine: Machine, story: Story, before: tuple[dict[str, tuple[int, int, int, bytes]], dict[str, tuple[bool, bool]]]) -> None:
    files, units = before
    story.printed(machine.types("gatepost", "setup", "--undo"))
    changed = different(files, machine.snapshot())
    story.check("every file below /etc is what it was, byte for byte, mode and owner", not changed, changed)
    story.check("every unit is enabled and runs, or not, as before", machine.units() == units, f"{units} became {machine.units()}")


def taken(machine: Machine, to: str) -> str:
    """Mail from outside; the header fields of what arrives, none if the client is to come again. It must not be refused."""
    message = letter(STRANGER, to, "Minutes")
    reply = from_outside(machine, Story(aloud=False), to, message)
    if reply.temporary:
        return ""
    if not reply.accepted:
        raise Trouble(f"mail for {to}: {reply}")
    return "\n".join(f"{name}: {value}" for name, value in arrival(machine, to, message["Message-ID"])[1].items())


def without_us(machine: Machine, story: Story) -> None:
    headers = taken(machine, ALICE)
    story.check("mail comes, and no milter of ours sees it", "Received:" in headers and "X-Spamd-Result" not in headers, headers)
    error = login_error(machine.ports, machine.trust, ALICE, PASSWORDS[ALICE])
    story.check("alice logs in", not error, error)


def comes(machine: Machine, story: Story, to: str, user: str) -> None:
    message = letter(f"Berta <{STRANGER}>", to, "Minutes")
    reply = from_outside(machine, story, to, message)
    story.check(f"mail for {to} is taken", reply.accepted, reply)
    folder, stored = arrival(machine, user, message["Message-ID"])
    story.mail(f"{user}, folder {folder}", stored)
    judged = "X-Spamd-Result" in stored and "spf=pass" in stored["Authentication-Results"]
    story.check(f"it is in the Inbox of {user}, judged by us", folder == "INBOX" and judged, (folder, stored.items()))


def serves(machine: Machine, story: Story, user: str) -> None:
    """Mail comes, its owner logs in, by IMAP and at submission, and nobody else does."""
    # Postfix and Dovecot read their files when they come round to it.
    until("Postfix asks us", lambda: "X-Spamd-Result" in taken(machine, user))
    comes(machine, story, user, user)
    error = login_error(machine.ports, machine.trust, user, PASSWORDS[user])
    story.check(f"{user} logs in by IMAP", not error, error)
    login = user.partition("@")[0]
    seen = until("the login is written down", lambda: machine.postgres.sql(f"SELECT login FROM gatepost.last_logins WHERE login LIKE '{login}@%'"))
    story.check("it was gatepost-dovecot-auth that let her in", bool(seen), seen)
    error = login_error(machine.ports, machine.trust, user, "wrong")
    story.check("not with a wrong password", "AUTHENTICATIONFAILED" in error or "Authentication failed" in error, error)
    reply = from_outside(machine, story, f"nobody@{user.partition('@')[2]}", letter(STRANGER, user, "Hello"))
    story.check("an unknown recipient is refused", reply.code == 550, reply)
    reply = from_outside(machine, story, user, letter(STRANGER, user, "GTUBE", f"{BODY}\n{GTUBE}\n"))
    story.check("spam is refused", reply.code == 554, reply)


def signs(machine: Machine, story: Story, user: str) -> bytes:
    """Mail of hers leaves signed, as herself alone; what left."""
    message = letter(user, FRIEND, "Answer", BODY.replace("Berta", "Alice"))
    with submitter(machine.ports, machine.trust) as smtp:
        smtp.story = story
        said = authenticate(smtp, user, PASSWORDS[user])
        reply = deliver(smtp, user, [FRIEND], message.as_bytes())
        other = deliver(smtp, "somebody@elsewhere.test", [FRIEND], message.as_bytes())
    story.check(f"{user} logs in at submission and sends", said.code == 235 and reply.accepted, f"{said}, {reply}")
    story.check("and only as herself", other.code == 553, other)
    wire = leaves(machine, message["Message-ID"])
    domain = user.partition("@")[2].encode()
    holds = b"d=" + domain in wire and dkim.verify(wire, dnsfunc=lambda name, timeout=5: txt(machine, name, []))
    story.check("what left is signed, and dkimpy verifies it by what DNS shows", holds, wire[:1500])
    return wire


def junk(machine: Machine, story: Story, user: str) -> None:
    """A stranger's spam is to come again, then Sieve files it; moved out, it teaches."""

    def prize() -> tuple[str, str]:
        message = letter("Prize Department <winner@prizes.test>", user, "You have won $1,500,000", "")
        message.set_content(SPAM, subtype="html")
        return message["Message-ID"], str(from_outside(machine, story, user, message, "203.0.113.66", "mail.prizes.test"))

    _, said = prize()
    story.check("a stranger's spam is to come again", said.startswith("451 4.7.1"), said)
    machine.types("gatepost", "settings", "set", "*", "greylist", "off")
    message_id, said = until("the setting counts", lambda: sent if (sent := prize())[1].startswith("250") else None)
    folder, stored = arrival(machine, user, message_id)
    story.mail(f"{user}, folder {folder}", stored)
    story.check("Sieve filed it into Junk", folder == "Junk" and stored["X-Spam"] == "Yes", (folder, stored.items()))
    with Mailbox(machine.ports, machine.trust, user, PASSWORDS[user]) as mailbox:
        mailbox.ask("select", "Junk")
        [number] = mailbox.ask("search", None, "HEADER", "Message-ID", f'"{message_id}"')
        mailbox.ask("_simple_command", "MOVE", number.decode(), "INBOX")
    learned = "SELECT label, owner, source FROM gatepost.training_log"
    found = until("the move is learned", lambda: machine.postgres.sql(learned))
    story.check("moved out of Junk, it is learned as wanted", found == f"ham\t{user}\tmove", found)


def well(machine: Machine, story: Story) -> None:
    """The doctor has nothing to say about what setup has made, and no daemon is ill."""
    try:
        # What DNS says of host and domains is not for setup to make.
        said = machine.types("gatepost", "check", "--offline")
    except Trouble as trouble:
        said = str(trouble)
    story.printed(said)
    failing = [line for line in said.splitlines() if line.split()[:1] == ["fail"]]
    story.check("`gatepost check` finds nothing that fails", " ok, " in said and not failing, failing or said)
    story.check("our daemons are well", not machine.ailments(), machine.ailments())


def to_be_published(printed: str) -> list[str]:
    """The records that the printed text asks to publish."""
    _, _, tail = printed.partition("# To be published in DNS by hand:\n")
    return [line.removeprefix("#   ") for line in tail.splitlines() if line.startswith("#   ") and not line.startswith("#    ")]


def activates(machine: EmptyMachine) -> bool:
    """Publishes the key that was made, as is printed, and lets it sign."""
    record = machine.types("gatepost", "dkim", "dns", machine.DOMAIN)
    if record not in machine.outside.zone.read_text():
        machine.publish(record)
    try:
        machine.types("gatepost", "dkim", "activate", machine.DOMAIN)
    except Trouble:
        return False
    return True


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("tests/stack/steps.py: Postfix and Dovecot must be started by root")
    sys.exit(main())
