"""Scene r: the life of a signing key: DNS loses it and has it again, it is changed for a new one, its private half is encrypted."""

import subprocess

import dkim

from clients import authenticate, deliver, submitter
from letters import BODY, letter
from narrate import Story
from scenes import Scene
from scenes.common import leaves
from scenes.submission import in_a_network_of_its_own, txt
from servers import Trouble
from stack import ALICE, PASSWORDS, SELECTOR, Stack
from waiting import until

FRIEND = "friend@elsewhere.test"


def send(stack: Stack) -> bytes:
    """Alice sends to the outside; what left."""
    message = letter(ALICE, FRIEND, "About keys", BODY.replace("Berta", "Alice"))
    with submitter(stack.ports, stack.trust) as smtp:
        authenticate(smtp, ALICE, PASSWORDS[ALICE])
        reply = deliver(smtp, ALICE, [FRIEND], message.as_bytes())
    assert reply.accepted, reply
    return leaves(stack, message["Message-ID"])


def signed_by(wire: bytes) -> list[str]:
    """The selectors of a message's signatures for example.com."""
    fields = (dkim.util.parse_tag_value(value) for name, value in dkim.rfc822_parse(wire)[0] if name.lower() == b"dkim-signature")
    return sorted(tags[b"s"].decode() for tags in fields if tags[b"d"] == b"example.com")


def verifies(stack: Stack, wire: bytes) -> bool:
    return dkim.verify(wire, dnsfunc=lambda name, timeout=5: txt(stack, name, []))


def keys(stack: Stack, story: Story) -> None:
    zone = stack.outside.zone.read_text()
    story.say("the key's record is taken out of DNS; `gatepost dkim check` sees it first:")
    stack.outside.zone.write_text("\n".join(line for line in zone.splitlines() if f"{SELECTOR}._domainkey.example.com" not in line))
    refused = check_fails(stack)
    story.printed(refused)
    story.check("check says so, with status 1", f"fail  {SELECTOR}._domainkey.example.com" in refused, refused)
    wire = until("mail leaves unsigned", lambda: None if signed_by(wire := send(stack)) else wire)
    story.check("mail leaves unsigned, not broken and not delayed", b"DKIM-Signature" not in wire)
    log = until(
        "the milter says so", lambda: text if "DNS does not show this key" in (text := stack.daemons["milter"].log.read_text()) else None
    )
    story.check("the milter's log says so as an error", " ERROR " in log)
    stack.outside.zone.write_text(zone)
    story.say("the record is back:")
    story.printed(stack.gatepost("dkim", "check", "example.com"))
    wire = until("mail is signed again", lambda: wire if signed_by(wire := send(stack)) else None)
    story.check("mail is signed again", signed_by(wire) == [SELECTOR] and verifies(stack, wire), signed_by(wire))

    story.say("`gatepost dkim rotate example.com --min-age 0`, until nothing is left to do:")
    story.printed(stack.gatepost("dkim", "rotate", "example.com", "--min-age", "0"))
    story.check("the old key signs until DNS shows the new one", signed_by(send(stack)) == [SELECTOR])
    new = stack.postgres.sql("SELECT selector FROM gatepost.dkim_keys WHERE domain = 'example.com' AND state IN ('new', 'published')").strip()
    stack.outside.zone.write_text("\n".join([zone, stack.gatepost("dkim", "dns", "example.com", new)]))
    story.printed(stack.gatepost("dkim", "rotate", "example.com"))
    wire = until("the new key signs", lambda: wire if signed_by(wire := send(stack)) == [new] else None)
    story.check("the new key signs alone, and dkimpy verifies it", verifies(stack, wire))
    testkey(stack, story, new)
    encryption(stack, story, new)
    story.printed(stack.gatepost("dkim", "list", "example.com"))


def check_fails(stack: Stack) -> str:
    """What `gatepost dkim check` prints when it fails."""
    try:
        return "not refused: " + stack.gatepost("dkim", "check", "example.com")
    except Trouble as trouble:
        return str(trouble)


def testkey(stack: Stack, story: Story, selector: str) -> None:
    """opendkim-testkey compares a private key with its record."""
    pem = stack.postgres.sql(f"SELECT private_key FROM gatepost.dkim_keys WHERE selector = '{selector}' AND domain = 'example.com'")
    file = stack.directory / "etc/key.pem"
    file.write_text(pem.strip() + "\n")
    file.chmod(0o600)
    # It reads no resolv.conf.
    conf = stack.directory / "etc/testkey.conf"
    conf.write_text("Nameservers 127.0.0.1\n")
    command = f"opendkim-testkey -vvv -x {conf} -d example.com -k {file} -s"
    done = in_a_network_of_its_own(stack, f"{command} {selector}")
    if isinstance(done, str):
        story.skip("opendkim-testkey accepts key and record", done)
    else:
        story.check("opendkim-testkey accepts key and record", done.returncode == 0, done.stderr.decode())
        done = in_a_network_of_its_own(stack, f"{command} {SELECTOR}")
        refused = not isinstance(done, str) and done.returncode not in (0, 99)
        story.check("and not the record of another key", refused, done)
    file.unlink()


def encryption(stack: Stack, story: Story, selector: str) -> None:
    """The admin makes a key file, tells of it, reloads the milter, encrypts."""
    file = stack.directory / "etc/gatepost/dkim.key"
    file.write_text(subprocess.run(["openssl", "rand", "-base64", "32"], check=True, capture_output=True, text=True).stdout)
    stack.own_key_file(file)
    text = stack.config.read_text()
    stack.config.write_text(text.replace('# key-file = "', 'key-file = "'))
    milter = stack.daemons["milter"]
    milter.reload()
    story.printed(stack.gatepost("dkim", "encrypt"))
    stored = stack.postgres.sql("SELECT DISTINCT left(private_key, 28) FROM gatepost.dkim_keys WHERE state <> 'removed'").strip()
    story.check("no private key stands in the database as it is", stored == "gatepost-dkim:1:aes-256-gcm:", stored)
    milter.stop()
    milter.start()
    wire = send(stack)
    story.check("a milter that starts anew signs with it", signed_by(wire) == [selector] and verifies(stack, wire), signed_by(wire))


SCENES = [Scene("r", "a signing key is lost by DNS and found again, changed for a new one, encrypted", keys)]
