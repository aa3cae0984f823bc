"""Scenes g to i: our own users send, and what leaves is signed."""

import subprocess
import sys

import dkim
import dns.message
import dns.query
import dns.rdatatype

from clients import Reply, authenticate, deliver, submitter
from letters import BODY, letter, parsed
from narrate import Story
from scenes import Scene
from scenes.common import arrival, leaves
from servers import HERE, run
from stack import ALICE, BOB, PASSWORDS, SELECTOR, Stack

FRIEND = "friend@elsewhere.test"


def submit(stack: Stack, story: Story, sender: str) -> tuple[str, Reply]:
    """Alice, logged in, sends as `sender` to bob and to the outside; the Message-ID and the last answer."""
    message = letter(sender, f"{BOB}, {FRIEND}", f"Sent as {sender}", BODY.replace("Berta", "Alice"))
    with submitter(stack.ports, stack.trust) as smtp:
        authenticate(smtp, ALICE, PASSWORDS[ALICE])
        smtp.story = story
        return message["Message-ID"], deliver(smtp, sender, [BOB, FRIEND], message.as_bytes())


def senders(stack: Stack, story: Story) -> None:
    for sender in (ALICE, "boss@example.com"):
        story.say(f"alice is logged in and sends as {sender}:")
        message_id, reply = submit(stack, story, sender)
        story.check("accepted", reply.accepted, reply)
        left = parsed(leaves(stack, message_id))
        story.mail("outside", left)
        signature = left["DKIM-Signature"] or ""
        story.check("what left is signed for example.com", "d=example.com" in signature.replace("\n", ""), signature)
        folder, stored = arrival(stack, BOB, message_id)
        story.check("bob has it in his Inbox, signed too", folder == "INBOX" and "DKIM-Signature" in stored, (folder, stored.items()))
    for sender in (BOB, "nobody@example.com", "someone@elsewhere.test"):
        story.say(f"alice is logged in and sends as {sender}:")
        _, reply = submit(stack, story, sender)
        story.check("refused by Postfix: not owned by alice", reply.code == 553 and "not owned by user" in reply.text, reply)
    rows = stack.postgres.sql(
        "SELECT login, messages FROM (SELECT login, count(*) AS messages FROM gatepost.sent GROUP BY login) AS counted"
    )
    story.say("the policy daemon counted, for the rate limit per login:")
    story.printed(rows)
    story.check("the policy daemon counted alice's messages", f"{ALICE}\t" in rows, rows)


def verification(stack: Stack, story: Story) -> None:
    record = stack.gatepost("dkim", "dns", "example.com", SELECTOR)
    story.say("`gatepost dkim dns example.com` prints, and the test DNS serves:")
    story.printed(record)
    message_id, reply = submit(stack, story, ALICE)
    story.check("accepted", reply.accepted, reply)
    wire = leaves(stack, message_id)
    asked: list[str] = []
    story.check(
        "dkimpy verifies what left",
        dkim.verify(wire, dnsfunc=lambda name, timeout=5: txt(stack, name, asked)),
        parsed(wire)["DKIM-Signature"],
    )
    story.say(f"(it asked DNS for {', '.join(asked)})")
    changed = wire.replace(b"second item", b"third item")
    story.check(
        "dkimpy refuses the same mail with a word changed",
        changed != wire and not dkim.verify(changed, dnsfunc=lambda name, timeout=5: txt(stack, name, asked)),
    )
    opendkim(stack, story, wire, changed)


def txt(stack: Stack, name: bytes | str, asked: list[str]) -> bytes:
    """The TXT record of a name, asked of the test DNS."""
    name = name.decode() if isinstance(name, bytes) else name
    asked.append(name)
    reply = dns.query.udp_with_fallback(dns.message.make_query(name, dns.rdatatype.TXT), "127.0.0.1", port=stack.ports.dns, timeout=5)[0]
    return b"".join(part for rrset in reply.answer for rdata in rrset for part in rdata.strings)


def in_a_network_of_its_own(stack: Stack, command: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes] | str":
    """Runs a program of OpenDKIM, which knows only /etc/resolv.conf and port 53, with a network and a resolv.conf of its own; or why not."""
    allowed = subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, text=True)
    if allowed.returncode:
        return f"no namespaces here: {allowed.stderr.strip()}"
    resolv = stack.directory / "etc/resolv.conf"
    resolv.write_text("nameserver 127.0.0.1\n")
    script = f"""
        ip link set lo up && mount --bind {resolv} /etc/resolv.conf || exit 99
        {sys.executable} {HERE}/nameserver.py {stack.outside.zone} 127.0.0.1 53 & server=$!
        for _ in $(seq 100); do (: </dev/tcp/127.0.0.1/53) 2>/dev/null && break; sleep 0.1; done
        {command}; status=$?
        kill $server; exit $status
    """
    return subprocess.run(["unshare", "--net", "--mount", "bash", "-c", script], input=stdin, capture_output=True)


def opendkim(stack: Stack, story: Story, wire: bytes, changed: bytes) -> None:
    """opendkim-testmsg verifies a message."""
    done = in_a_network_of_its_own(stack, "opendkim-testmsg", wire)
    if isinstance(done, str):
        story.skip("opendkim-testmsg verifies the signature", done)
        return
    story.check("opendkim-testmsg verifies what left", done.returncode == 0 and not done.stdout, done)
    done = in_a_network_of_its_own(stack, "opendkim-testmsg", changed)
    story.check(
        "opendkim-testmsg refuses it with a word changed", not isinstance(done, str) and done.returncode not in (0, 99), done
    )


def sendmail(stack: Stack, story: Story) -> None:
    message = letter(ALICE, FRIEND, "By sendmail", "The nightly report is attached to nothing.\n")
    story.sent(f"sendmail -f {ALICE} {FRIEND} < message")
    run("sendmail", "-C", stack.postfix.config, "-f", ALICE, FRIEND, stdin=message.as_string().replace("\r\n", "\n"))
    wire = leaves(stack, message["Message-ID"])
    story.mail("outside", parsed(wire))
    asked: list[str] = []
    story.check(
        "it is signed, and dkimpy verifies it",
        b"DKIM-Signature:" in wire and dkim.verify(wire, dnsfunc=lambda name, timeout=5: txt(stack, name, asked)),
        wire.decode(),
    )


SCENES = [
    Scene("g", "alice sends as herself and as her alias, but not as others", senders, demo=True),
    Scene("h", "the signature verifies with the verifiers of others", verification, demo=True),
    Scene("i", "mail by sendmail is signed too", sendmail, demo=True),
]
