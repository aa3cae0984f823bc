"""Scene L: alice teaches the milter by moving mail into and out of Junk."""

import subprocess
import zlib

from clients import Mailbox
from letters import STRANGER, letter
from narrate import Story
from scenes import Scene
from scenes.common import arrival, from_outside
from stack import ALICE, PASSWORDS, Stack
from waiting import until


def learning(stack: Stack, story: Story) -> None:
    rows = lambda: stack.postgres.sql("SELECT label, owner, source FROM gatepost.training_log ORDER BY position").splitlines()
    stack.gatepost("model", "rebuild")
    message = letter(f"Berta <{STRANGER}>", ALICE, "Our newest offers")
    from_outside(stack, story, ALICE, message)
    folder, stored = arrival(stack, ALICE, message["Message-ID"])
    story.check("it is in alice's Inbox, with the key of the judged message", folder == "INBOX" and stored["X-Gatepost-Id"], stored.items())
    until("it is kept as it was judged", lambda: stack.postgres.sql("SELECT count(*) FROM gatepost.judged_messages") != "0")
    moved = lambda source, target: move(stack, message["Message-ID"], source, target)
    before = rows()
    taught = lambda number: until(f"{number} samples more", lambda: len(found := rows()[len(before) :]) >= number and found)

    story.sent("alice: MOVE to Junk")
    moved("INBOX", "Junk")
    found = taught(1)
    story.check("she has said spam", found == [f"spam\t{ALICE}\tmove"], found)
    same = "SELECT bool_and(l.sample = j.sample) FROM gatepost.training_log AS l JOIN gatepost.judged_messages AS j USING (message)"
    story.check("what is learned is what was judged", stack.postgres.sql(same) == "t", stack.postgres.sql(same))

    # The same by the message as IMAP has it, as if nothing had been kept: what the mailbox added must not show.
    sample = stack.postgres.sql("SELECT encode(sample, 'hex') FROM gatepost.judged_messages ORDER BY judged_at DESC LIMIT 1")
    judged = zlib.decompress(bytes.fromhex(sample)[1:], -15)
    fetched = fetch(stack, message["Message-ID"], "Junk")
    features = lambda name, raw, *how: seen(stack, name, raw, *how)
    story.check("in the mailbox it has more fields than when it was judged", b"Delivered-To:" in fetched and b"Delivered-To:" not in judged, fetched[:600])
    before_mailbox, from_mailbox = features("judged.eml", judged), features("fetched.eml", fetched, "--delivered")
    story.check("what the model sees of both is the same", before_mailbox == from_mailbox and "header" in from_mailbox, (before_mailbox, from_mailbox))

    story.sent("alice: MOVE back to INBOX")
    moved("Junk", "INBOX")
    found = taught(2)
    story.check("moved back, she has said ham", found[-1] == f"ham\t{ALICE}\tmove", found)

    story.sent("alice: MOVE to Junk and from there to Trash")
    moved("INBOX", "Junk")
    taught(3)
    moved("Junk", "Trash")
    other = letter(f"Berta <{STRANGER}>", ALICE, "Another offer")
    from_outside(stack, story, ALICE, other)
    arrival(stack, ALICE, other["Message-ID"])
    move(stack, other["Message-ID"], "INBOX", "Junk")
    found = taught(4)
    story.check("throwing spam away says nothing", [row.split("\t")[0] for row in found] == ["spam", "ham", "spam", "spam"], found)

    story.sent("alice: COPY to Junk, from there to Archive and to Trash, and MOVE from Archive to Junk")
    third = letter(f"Berta <{STRANGER}>", ALICE, "A third offer")
    from_outside(stack, story, ALICE, third)
    arrival(stack, ALICE, third["Message-ID"])
    copied = lambda source, target: move(stack, third["Message-ID"], source, target, "COPY")
    copied("INBOX", "Junk")
    taught(5)
    copied("Junk", "Archive")
    taught(6)
    copied("Junk", "Trash")
    move(stack, third["Message-ID"], "Archive", "Junk")
    found = [row.split("\t")[0] for row in taught(7)]
    story.check("COPY says the same as MOVE, and into Trash nothing", found[4:] == ["spam", "ham", "spam"], found)

    said = until("the host knows", lambda: "spam" in (said := stack.gatepost("model", "status")) and said)
    story.printed(said)
    story.check("`gatepost model status` counts them", " corrections; of 1 users" in said, said)
    folder = stack.directory / "vmail/learned.mbox"
    folder.write_bytes(b"".join(b"From x\n" + letter(STRANGER, ALICE, f"Offer {number}").as_bytes() + b"\n" for number in range(3)))
    said = stack.gatepost("learn", "spam", str(folder))
    story.check("`gatepost learn` reads an mbox", said.startswith("3 of 3 messages learned as spam"), said)
    said = stack.gatepost("learn", "spam", str(folder))
    story.check("and learns it once", said.startswith("0 of 3 messages learned as spam, 3 known already"), said)


def fetch(stack: Stack, message_id: str, folder: str) -> bytes:
    """A message as it is in the mailbox."""
    with Mailbox(stack.ports, stack.trust, ALICE, PASSWORDS[ALICE]) as mailbox:
        mailbox.ask("select", folder)
        [numbers] = mailbox.ask("search", None, "HEADER", "Message-ID", f'"{message_id}"')
        return mailbox.ask("fetch", numbers.decode(), "(BODY.PEEK[])")[0][1]


def seen(stack: Stack, name: str, raw: bytes, *how: str) -> str:
    """What the model sees of a message."""
    path = stack.directory / name
    path.write_bytes(raw)
    return subprocess.run([stack.daemons["milter"].program, "features", *how, path], check=True, capture_output=True, text=True).stdout


def move(stack: Stack, message_id: str, source: str, target: str, command: str = "MOVE") -> None:
    """IMAP MOVE (RFC 6851), or COPY, of one message."""
    with Mailbox(stack.ports, stack.trust, ALICE, PASSWORDS[ALICE]) as mailbox:
        if target not in mailbox.folders():
            mailbox.ask("create", target)
        mailbox.ask("select", source)
        [numbers] = mailbox.ask("search", None, "HEADER", "Message-ID", f'"{message_id}"')
        mailbox.ask("_simple_command", command, numbers.decode(), target)


SCENES = [Scene("L", "mail moved into and out of Junk is learned, as it was judged", learning, demo=True)]
