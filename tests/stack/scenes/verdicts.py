"""Scenes C, V and H: lists in DNS and ClamAV have their say; every decision is explained."""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage

from clients import Reply, authenticate, deliver, submitter
from letters import BODY, STRANGER, letter
from narrate import Story
from scenes import Scene
from scenes.common import arrival, from_outside
from scenes.inbound import GTUBE
from scenes.spam import WINNER, send, spam, tool
from servers import Child, Trouble
from stack import ALICE, BOB, PASSWORDS, Stack
from waiting import until

#: What lists say. The entries for trials (RFC 5782, 5) are those that their operators name.
LISTED = """
2.0.0.127.zen.spamhaus.org. 60 IN A 127.0.0.2
99.113.0.203.zen.spamhaus.org. 60 IN A 127.0.0.4
test.surbl.org.multi.surbl.org. 60 IN A 127.0.0.254
cheap-pills-shop.com.multi.surbl.org. 60 IN A 127.0.0.72
test.uribl.com.multi.uribl.com. 60 IN A 127.0.0.14
second-pills-shop.com.multi.uribl.com. 60 IN A 127.0.0.1
third-pills-shop.com.multi.uribl.com. 60 IN A 127.0.0.2
"""


def lists(stack: Stack, story: Story) -> None:
    zone = stack.outside.zone.read_text()
    stack.outside.zone.write_text(zone + LISTED)

    def linking(site: str) -> tuple[str, str]:
        """Berta, whom everything vouches for, links to a site; where it went, and why."""
        message = letter(f"Berta <{STRANGER}>", ALICE, "Where I buy them", f"{BODY}\nSee {site} for more.\n")
        from_outside(stack, story, ALICE, message)
        folder, stored = arrival(stack, ALICE, message["Message-ID"])
        story.mail(f"{ALICE}, folder {folder}", stored)
        return folder, str(stored["X-Spamd-Result"])

    story.say("A site that SURBL knows for phishing and spam, without a scheme as people write it:")
    folder, result = linking("cheap-pills-shop.com/offers")
    story.check("it is in Junk", folder == "Junk", folder)
    for symbol in ("PH_SURBL_MULTI(7.50)[cheap-pills-shop.com]", "ABUSE_SURBL(5.00)[cheap-pills-shop.com]"):
        story.check(f"because of {symbol}", symbol in result, result)
    message = letter("Somebody <somebody@nowhere.test>", ALICE, "Hello from a dial-up line")
    from_outside(stack, story, ALICE, message, "203.0.113.99", "dial-up.nowhere.test")
    result = str(arrival(stack, ALICE, message["Message-ID"])[1]["X-Spamd-Result"])
    story.check("the client is on a list of broken-into computers", "RBL_SPAMHAUS_XBL(4.00)[203.0.113.99]" in result, result)

    story.say("URIBL refuses to answer this resolver (127.0.0.1): that is no listing, and the list is off.")
    folder, result = linking("http://second-pills-shop.com/")
    story.check("nothing counts that it says", folder == "INBOX" and "URIBL" not in result, (folder, result))
    story.check("the report says that it could not be asked", re.search(r"FACTS_MISSING\(0\.00\)\[[^]]*\buribl\b", result) is not None, result)
    log = stack.daemons["milter"].log.read_text(errors="replace")
    story.check("the log says so, and what to do", "refuses to answer this resolver" in log and "uribl" in log, stack.daemons["milter"].tail())
    folder, result = linking("http://third-pills-shop.com/")
    story.check("it is not asked any more", folder == "INBOX" and "URIBL_BLACK" not in result, (folder, result))
    stack.outside.zone.write_text(zone)
    stack.daemons["milter"].stop()
    stack.daemons["milter"].start()


#: The test file that every antivirus knows (eicar.org), in two pieces so that none stumbles over this one.
EICAR = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


@contextmanager
def clamd(stack: Stack) -> Iterator[Child]:
    """Debian's clamd with one signature, and our milter told of it; both as before at the end."""
    directory = stack.directory / "clamd"
    (directory / "db").mkdir(parents=True)
    # Name, type of file (any), offset (any), bytes in hexadecimal (ClamAV, "Extended signature format").
    (directory / "db/test.ndb").write_text(f"Gatepost.Test.EICAR:0:*:{EICAR.encode().hex()}\n")
    socket = directory / "clamd.sock"
    (directory / "clamd.conf").write_text(
        f"DatabaseDirectory {directory}/db\nLocalSocket {socket}\nLocalSocketMode 666\nForeground yes\nLogFile {stack.directory}/log/clamd.log\n"
    )
    before, milter = stack.config.read_text(), stack.daemons["milter"]
    commented = '# clamd = "unix:/run/clamav/clamd.ctl"\n'
    assert commented in before, "examples/gatepost.toml no longer names clamd's socket"
    child = Child(["clamd", "--config-file", directory / "clamd.conf"], stack.directory / "log/clamd.err")
    try:
        until("clamd listens", socket.exists)
        stack.config.write_text(before.replace(commented, f'clamd = "unix:{socket}"\n'))
        milter.reload()
        yield child
    finally:
        child.stop()
        stack.config.write_text(before)
        milter.reload()


def antivirus(stack: Stack, story: Story) -> None:
    if not shutil.which("clamd"):
        story.skip("clamd", "tests/install-packages installs it")
        return

    def infected(sender: str) -> EmailMessage:
        message = letter(sender, ALICE, "The figures")
        message.add_attachment(EICAR.encode(), maintype="application", subtype="octet-stream", filename="figures.dat")
        return message

    with clamd(stack) as child:
        message = infected(f"Berta <{STRANGER}>")
        reply = from_outside(stack, story, ALICE, message)
        story.check("infected mail from outside is refused for good", reply.code == 554 and reply.text.startswith("5.7.1 "), reply)
        why = until("the history has it", lambda: told(stack, "why", message["Message-ID"]))
        story.printed(why)
        story.check("why names the virus", "CLAM_VIRUS" in why and "Gatepost.Test.EICAR" in why, why)
        reply = from_outside(stack, story, ALICE, clean := letter(f"Berta <{STRANGER}>", ALICE, "The figures, again"))
        folder = arrival(stack, ALICE, clean["Message-ID"])[0]
        story.check("clean mail arrives", reply.accepted and folder == "INBOX", (reply, folder))
        with submitter(stack.ports, stack.trust) as smtp:
            authenticate(smtp, ALICE, PASSWORDS[ALICE])
            smtp.story = story
            reply = deliver(smtp, ALICE, [BOB], infected(ALICE).as_bytes())
        story.check("a login's infected mail is refused too", reply.code == 554, reply)
        child.stop()
        story.say("clamd is stopped: mail waits at the sender's.")
        later = letter(f"Berta <{STRANGER}>", ALICE, "While nobody scans")
        reply = from_outside(stack, story, ALICE, later)
        story.check("451 4.7.1", reply.code == 451 and reply.text.startswith("4.7.1 "), reply)
    reply = from_outside(stack, story, ALICE, later)
    folder = arrival(stack, ALICE, later["Message-ID"])[0]
    story.check("and is taken where no antivirus is set", reply.accepted and folder == "INBOX", (reply, folder))


def told(stack: Stack, *words: str) -> str:
    """What the tool prints; nothing while it finds nothing."""
    try:
        return stack.gatepost(*words)
    except Trouble:
        return ""


def reasons(stack: Stack, story: Story) -> None:
    message = spam(ALICE, "A prize to be explained")
    reply = send(stack, story, [ALICE], message)
    queue_id = queued(reply)
    why = until("the history has it", lambda: told(stack, "why", queue_id))
    story.printed(why)
    stored = arrival(stack, ALICE, message["Message-ID"])[1]
    result = str(stored["X-Spamd-Result"])
    score = re.search(r"\[(-?[\d.]+) / ", result)
    story.check("why says what was done, and with how many points", score and f"add header, {score[1]} points" in why, why)
    points = dict(re.findall(r"([A-Z0-9_]+)\((-?[\d.]+)\)", result))
    points.pop("FACTS_MISSING", None)
    lacking = [f"{value} {name}" for name, value in points.items() if not re.search(rf"(^|\s){re.escape(value)}\s+{name}\b", why)]
    story.check(f"and each of the {len(points)} symbols of the header with its points", len(points) > 3 and not lacking, lacking)
    story.check("with evidence", "203.0.113.66" in why, why)
    otherwise = why.partition("\notherwise\n")[2]
    story.check("and what would have changed the result", "no action" in otherwise and "reject" in otherwise, why)
    story.check("the same by Message-ID", told(stack, "why", message["Message-ID"]) == why)
    [row] = map(json.loads, told(stack, "why", queue_id, "--json").splitlines())
    total = sum(symbol["points"] for symbol in row["symbols"])
    story.check("as JSON, whose points are the score", abs(total - row["score"]) < 0.005, row)

    refused = letter("Somebody <somebody@nowhere.test>", ALICE, "To be refused", GTUBE)
    reply = from_outside(stack, story, ALICE, refused, "203.0.113.99", "dial-up.nowhere.test")
    why = until("the refused one is there as well", lambda: told(stack, "why", refused["Message-ID"]))
    story.check("with the reply that the sender got", f"{reply.code} {reply.text}".split("\n")[0] in why and "GTUBE" in why, (reply, why))

    for words in (("--recipient", ALICE), ("--sender", WINNER), ("--action", "add header"), ("--text", "prize to be explained"), ("--text", "203.0.113.66")):
        found = told(stack, "history", *words, "--since", "1h", "--limit", "1000")
        story.check(f"`gatepost history {' '.join(words)}` finds it", queue_id in found, found)
    found = told(stack, "history", "--recipient", BOB, "--text", "prize to be explained")
    story.check("in bob's history it is not", queue_id not in found, found)
    tool(stack, story, "history", "--since", "1h", "--limit", "5")
    for by, expected in (("day", row["at"][:10]), ("action", "add header"), ("symbol", "GTUBE")):
        story.printed(shown := told(stack, "stats", "--by", by))
        story.check(f"`gatepost stats --by {by}` counts", expected in shown, shown)


def queued(reply: Reply) -> str:
    """The queue id in Postfix's `250 2.0.0 Ok: queued as 4Xq…`."""
    found = re.search(r"queued as (\S+)", reply.text)
    assert found, reply
    return found[1]


SCENES = [
    Scene("C", "lists in DNS: what is listed counts, what refuses does not", lists),
    Scene("V", "ClamAV: an infected message is refused; nobody scans, mail waits", antivirus),
    Scene("H", "history: why a message was marked or refused, and what would have changed it", reasons),
]
