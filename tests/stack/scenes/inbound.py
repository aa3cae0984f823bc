"""Scenes a to e: mail from outside, and where it goes."""

import re

from clients import deliver, outsider
from letters import BODY, STRANGER, letter
from narrate import Story
from scenes import Scene
from scenes.common import arrival, from_outside, settle, where
from servers import Trouble
from stack import ALICE, BOB, CARL, Stack
from waiting import until

#: The Generic Test for Unsolicited Bulk Email: every spam filter must refuse it.
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"

SPAM = """<html><body bgcolor="#ffffff">
<p><font color="#fefefe" size="1">harvest lantern copper meadow</font></p>
<h1>CONGRATULATIONS!!! YOU HAVE WON $1,500,000.00 USD!!!</h1>
<p>We are glad to tell you that your ticket was drawn in our spring lottery, and that the money waits for you at our bank.</p>
<p>To see how you get it: <a href="http://203.0.113.66/claim.php?id=YWxpY2U">click here</a></p>
</body></html>
"""


def inbox(stack: Stack, story: Story) -> None:
    message = letter(
        f"Berta <{STRANGER}>",
        ALICE,
        "Minutes of the meeting",
        Authentication_Results="mail.example.com; dkim=pass header.d=bank.example",
        X_Spam="Yes",
    )
    story.say("Berta writes to alice from mx.outside.test [192.0.2.7]: SPF allows the address, the mail is signed, DMARC is strict.")
    story.say("She adds an Authentication-Results field in our name and `X-Spam: Yes`: neither may count.")
    reply = from_outside(stack, story, ALICE, message)
    story.check("accepted", reply.accepted, reply)
    folder, stored = arrival(stack, ALICE, message["Message-ID"])
    story.mail(f"{ALICE}, folder {folder}", stored)
    story.check("it is in alice's Inbox", folder == "INBOX", folder)
    results = stored.get_all("Authentication-Results", [])
    story.check("there is one Authentication-Results field, ours", len(results) == 1 and "mail.example.com" in results[0], results)
    for method in ("spf=pass", "dkim=pass", "dmarc=pass"):
        story.check(f"it says {method}", any(method in one for one in results), results)
    story.check("the sender's X-Spam field is gone", "X-Spam" not in stored, stored["X-Spam"])

    forged = letter(f"Berta <{STRANGER}>", ALICE, "Minutes of another meeting")
    story.say("The same sender from another host, unsigned: SPF and DMARC fail, and outside.test asks for rejection.")
    with outsider(stack.ports, "203.0.113.66", "dsl-66.example.net") as smtp:
        smtp.story = story
        reply = deliver(smtp, STRANGER, [ALICE], forged.as_bytes())
    story.check("refused with 550 5.7.26", reply.code == 550 and reply.text.startswith("5.7.26 "), reply)


def aliases(stack: Stack, story: Story) -> None:
    cases = [
        ("boss@example.com", ALICE, "an alias"),
        ("orders@example.com", CARL, "an alias into another domain"),
        ("alice+news@example.com", ALICE, "an extension"),
        ("Boss+Spring@Example.COM", ALICE, "an alias with extension, in capitals"),
    ]
    for recipient, user, kind in cases:
        message = letter(f"Berta <{STRANGER}>", recipient, f"To {recipient}")
        story.say(f"To {recipient}, {kind}:")
        reply = from_outside(stack, story, recipient, message)
        story.check("accepted", reply.accepted, reply)
        folder, stored = arrival(stack, user, message["Message-ID"])
        story.mail(f"{user}, folder {folder}", stored)
        story.check(f"it is in the Inbox of {user}", folder == "INBOX", folder)


def refusals(stack: Stack, story: Story) -> None:
    cases = [
        ("nobody@example.com", r"550 5\.1\.1 ", "an unknown recipient"),
        ("someone@elsewhere.test", r"554 5\.7\.1 .*Relay access denied", "a foreign domain"),
    ]
    for recipient, expected, kind in cases:
        story.say(f"To {recipient}, {kind}:")
        reply = from_outside(stack, story, recipient, letter(f"Berta <{STRANGER}>", recipient, "Hello"))
        story.check(f"refused at RCPT with {reply}", reply.command == "RCPT TO" and re.match(expected, str(reply)) is not None, reply)


def gtube(stack: Stack, story: Story) -> None:
    message = letter(f"Berta <{STRANGER}>", ALICE, "GTUBE", f"{BODY}\n{GTUBE}\n")
    reply = from_outside(stack, story, ALICE, message)
    story.check("refused at the end of data with 554", reply.code == 554 and reply.command == "end of data", reply)
    settle(stack)
    found = where(stack, ALICE, message["Message-ID"])
    story.check("nothing of it is in alice's mailbox", not found, found)


def junk(stack: Stack, story: Story) -> None:
    message = letter("Prize Department <winner@prizes.test>", ALICE, "You have won $1,500,000", "")
    message.set_content(SPAM, subtype="html")
    reply = from_outside(stack, story, ALICE, message, "203.0.113.66", "mail.prizes.test")
    story.check("accepted", reply.accepted, reply)
    folder, stored = arrival(stack, ALICE, message["Message-ID"])
    story.mail(f"{ALICE}, folder {folder}", stored)
    story.check("X-Spam: Yes", stored["X-Spam"] == "Yes", stored["X-Spam"])
    story.check("Sieve filed it into Junk", folder == "Junk", folder)
    story.check("bob has none of it", not where(stack, BOB, message["Message-ID"]))
    story.sent("gatepost why MESSAGE-ID")
    why = until("the history has it", lambda: explained(stack, message["Message-ID"]))
    story.printed(why)
    story.check("`gatepost why` names the rules that spoke", "add header" in why and "winner@prizes.test" in why, why)


def explained(stack: Stack, message_id: str) -> str:
    """What `gatepost why` says; nothing as long as the history, which is written a moment later, has no such message."""
    try:
        return stack.gatepost("why", message_id)
    except Trouble as trouble:
        if "is in the history" not in str(trouble):
            raise
        return ""


SCENES = [
    Scene("a", "mail from outside to alice → Inbox, with Authentication-Results", inbox, demo=True),
    Scene("b", "to an alias, to an alias in another domain, to an extension", aliases, demo=True),
    Scene("c", "unknown recipient and foreign domain → refused at RCPT", refusals, demo=True),
    Scene("d", "GTUBE → 554, nothing stored", gtube, demo=True),
    Scene("e", "spammy mail → accepted, X-Spam: Yes, filed into Junk", junk, demo=True),
]
