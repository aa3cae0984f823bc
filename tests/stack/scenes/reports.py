"""Scene R: what Berta's domain is told of the mail that came in its name."""

import dkim

from letters import STRANGER, letter, parsed
from narrate import Story
from scenes import Scene
from scenes.common import from_outside, leaves
from scenes.submission import txt
from stack import ALICE, Stack
from waiting import until

DOMAIN = STRANGER.partition("@")[2]
FORGER = ("203.0.113.66", "dsl-66.example.net")
ROWS = f"SELECT host(source), disposition, dkim_aligned, spf_aligned, messages FROM gatepost.dmarc_rows WHERE domain = '{DOMAIN}' ORDER BY source"


def reports(stack: Stack, story: Story) -> None:
    story.say(f"{DOMAIN} asks for reports to agg@reports.test, which agrees in DNS, and to victim@elsewhere.test, which does not.")
    stack.postgres.sql("DELETE FROM gatepost.dmarc_reports")
    genuine = letter(f"Berta <{STRANGER}>", ALICE, "Minutes of the meeting")
    story.check("a genuine letter is accepted", from_outside(stack, story, ALICE, genuine).accepted)
    forged = letter(f"Your friend <friend@{DOMAIN}>", ALICE, "Minutes of the meeting")
    reply = from_outside(stack, story, ALICE, forged, *FORGER)
    story.check("a forged one is refused", reply.code == 550, reply)
    rows = until("both are counted", lambda: (text := stack.postgres.sql(ROWS)).count("\n") == 1 and text)
    story.printed(rows)
    story.check("the genuine one passed by both", "192.0.2.7\tnone\tt\tt\t1" in rows, rows)
    story.check("the forged one was refused", "203.0.113.66\treject\tf\tf\t1" in rows, rows)
    story.say("Midnight comes (in SQL), and the admin does not want to wait for the report's hour:")
    stack.postgres.sql("UPDATE gatepost.dmarc_reports SET day = day - 1")
    shown = stack.gatepost("dmarc", "send", "--dry-run", "--domain", DOMAIN)
    story.check("--dry-run says who may get it", "agg@reports.test: outside, authorised" in shown and "victim@elsewhere.test: outside, NOT" in shown, shown)
    story.say("gatepost dmarc send:")
    story.printed(stack.gatepost("dmarc", "send", "--domain", DOMAIN))
    listed = stack.gatepost("dmarc", "reports", "--domain", DOMAIN)
    story.printed(listed)
    story.check("it is sent", " sent " in listed, listed)
    begin = stack.postgres.sql("SELECT extract(epoch FROM day)::bigint FROM gatepost.dmarc_reports WHERE domain = 'outside.test'")
    wire = leaves(stack, f"<{DOMAIN}.{begin.split()[-1]}@example.com>")
    mail = parsed(wire)
    story.mail("outside", mail)
    subject = " ".join((mail["Subject"] or "").split())
    story.check("its subject is the RFC's", subject.startswith(f"Report Domain: {DOMAIN} Submitter: example.com Report-ID: <"), subject)
    story.check("it goes to the address that agrees, and to no other", mail["To"] and "agg@reports.test" in mail["To"] and "victim" not in mail["To"], mail["To"])
    asked: list[str] = []
    story.check(
        "it is signed for example.com, and dkimpy verifies it",
        "d=example.com" in (mail["DKIM-Signature"] or "").replace("\n", "") and dkim.verify(wire, dnsfunc=lambda name, timeout=5: txt(stack, name, asked)),
        mail["DKIM-Signature"],
    )
    story.check("it was judged as mail of ours", "Authentication-Results" not in mail, mail["Authentication-Results"])
    story.say("`gatepost dmarc read`, fed with the mail as it arrived, says:")
    read = stack.gatepost("dmarc", "read", "-", stdin=wire.decode())
    story.printed(read)
    story.check("it reads the two messages", "2 messages, 1 passed (50 %)" in read, read)
    story.check("it names the forger", "203.0.113.66" in read, read)


SCENES = [Scene("R", "a day's DMARC report leaves, signed, for those who may have it", reports)]
