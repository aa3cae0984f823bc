"""Scenes D, F, O and Y: mail that fails DMARC, mail that lists and forwarders bring, the operator's own word, and that of a sealer."""

from email.message import EmailMessage

from clients import Reply, deliver, outsider
from letters import STRANGER, letter, sealed, signed
from narrate import Story
from scenes import Scene
from scenes.common import arrival, from_outside, settle, where
from stack import ALICE, BANK, DOUBTFUL, LIST_HOST, LIST_IP, SHOP, Stack
from waiting import until

#: A host of nobody, with which no record agrees.
FORGER = ("203.0.113.66", "dsl-66.example.net")
BOUNCES = "members-bounces@list.test"


def refused_for(stack: Stack, story: Story, message: EmailMessage, reply: Reply, domain: str) -> None:
    """The reply names domain and policy, and nothing of the message is stored."""
    story.check("refused at the end of data with 550 5.7.26", reply.code == 550 and reply.text.startswith("5.7.26 "), reply)
    story.check(f"the reply names {domain} and its policy", f"policy for {domain} (p=reject in _dmarc.{domain})" in reply.text, reply)
    settle(stack)
    story.check("nothing of it is in alice's mailbox", not where(stack, ALICE, message["Message-ID"]))


def arrives(stack: Stack, story: Story, message: EmailMessage, reply: Reply, folder: str, said: str) -> None:
    """It is accepted, lies in that folder, and the results say so."""
    story.check("accepted", reply.accepted, reply)
    if not reply.accepted:
        return
    found, stored = arrival(stack, ALICE, message["Message-ID"])
    story.mail(f"{ALICE}, folder {found}", stored)
    story.check(f"it is in alice's {folder}", found == folder, found)
    results = stored["Authentication-Results"] or ""
    story.check(f"the results say {said}", said in results, results)
    story.check("X-Spam is there exactly if it is in Junk", (stored["X-Spam"] == "Yes") == (folder == "Junk"), stored["X-Spam"])


def from_list(stack: Stack, story: Story, wire: bytes) -> Reply:
    """Sends a message as mx.list.test does, whose SPF is in order."""
    with outsider(stack.ports, LIST_IP, LIST_HOST) as smtp:
        smtp.story = story
        return deliver(smtp, BOUNCES, [ALICE], wire)


def enforced(stack: Stack, story: Story) -> None:
    story.say(f"{BANK} asks for rejection, {SHOP} for quarantine; neither sends this.")
    message = letter(f"Your bank <security@{BANK}>", ALICE, "Your account")
    refused_for(stack, story, message, from_outside(stack, story, ALICE, message, *FORGER), BANK)
    message = letter(f"Your shop <orders@{SHOP}>", ALICE, "Your order")
    reply = from_outside(stack, story, ALICE, message, *FORGER)
    arrives(stack, story, message, reply, "Junk", "dmarc=fail (p=quarantine)")
    story.say("From outside, without a login, in the name of a domain of ours (p=quarantine):")
    message = letter("Bob <bob@example.com>", ALICE, "Are you at your desk?")
    reply = from_outside(stack, story, ALICE, message, *FORGER)
    arrives(stack, story, message, reply, "Junk", "dmarc=fail (p=quarantine)")


def forwarded(stack: Stack, story: Story) -> None:
    domain = STRANGER.partition("@")[2]
    message = letter(f"Berta <{STRANGER}>", ALICE, "To the list", List_Id="The members <members.list.test>")
    wire = signed(message, "s1", domain, stack.stranger_key)
    story.say("A mailing list that leaves the signature of the author whole:")
    arrives(stack, story, message, from_list(stack, story, wire), "INBOX", "dmarc=pass")

    def changed(subject: str) -> tuple[EmailMessage, bytes]:
        message = letter(f"Berta <{STRANGER}>", ALICE, subject, List_Id="The members <members.list.test>")
        return message, signed(message, "s1", domain, stack.stranger_key).replace(subject.encode(), b"[members] " + subject.encode())

    story.say("One that writes into the subject, and so breaks it:")
    message, wire = changed("To the list, again")
    refused_for(stack, story, message, from_list(stack, story, wire), domain)
    story.say("The operator knows it:")
    story.printed(stack.gatepost("dmarc", "forwarder", "add", "spf", "list.test", "--for", "example.com", "--comment", "our gardeners"))
    message, wire = changed("To the list, once more")
    reply = until("the forwarder counts", lambda: accepted(from_list(stack, story, wire)))
    arrives(stack, story, message, reply, "INBOX", "dmarc=fail (p=reject dis=none)")
    story.say("Somebody else who only claims to be the list:")
    message, wire = changed("To the list, not from it")
    with outsider(stack.ports, *FORGER) as smtp:
        smtp.story = story
        reply = deliver(smtp, BOUNCES, [ALICE], wire)
    refused_for(stack, story, message, reply, domain)
    story.printed(stack.gatepost("dmarc", "forwarder", "list"))
    stack.gatepost("dmarc", "forwarder", "remove", "spf", "list.test", "--for", "example.com")


def sealed_on_the_way(stack: Stack, story: Story) -> None:
    domain = STRANGER.partition("@")[2]
    saw = f"dkim=pass header.d={domain}; dmarc=pass header.from={domain}"

    def passed_on(subject: str, sealer: str) -> tuple[EmailMessage, bytes]:
        """The stranger's mail after a list that wrote into its subject and sealed it."""
        message = letter(f"Berta <{STRANGER}>", ALICE, subject, List_Id="The members <members.list.test>")
        wire = signed(message, "s1", domain, stack.stranger_key).replace(subject.encode(), b"[members] " + subject.encode())
        return message, sealed(wire, saw, sealer, stack.stranger_key)

    story.say(f"A list breaks the signature of {STRANGER} (p=reject) and seals what it saw; its seal is in order, but nobody trusts it:")
    message, wire = passed_on("Sealed by a stranger", "list.test")
    refused_for(stack, story, message, from_list(stack, story, wire), domain)
    before = stack.config.read_text()
    nobody = "trusted-sealers = []"
    story.check("nobody is trusted by default", before.count(nobody) == 1)
    try:
        story.say('The operator does: trusted-sealers = ["list.test"]')
        stack.config.write_text(before.replace(nobody, 'trusted-sealers = ["list.test"]'))
        stack.daemons["milter"].reload()
        message, wire = passed_on("Sealed by a list that we trust", "list.test")
        reply = from_list(stack, story, wire)
        arrives(stack, story, message, reply, "INBOX", "dmarc=fail (p=reject dis=none)")
        results = arrival(stack, ALICE, message["Message-ID"])[1]["Authentication-Results"] if reply.accepted else ""
        story.check("the results name the sealer", "arc=pass (i=1 list.test)" in results, results)
        story.say("Somebody else's seal, though in order as well, saves nothing:")
        message, wire = passed_on("Sealed by somebody else", DOUBTFUL)
        refused_for(stack, story, message, from_list(stack, story, wire), domain)
        story.say("Nor does the trusted one's once the message is another:")
        message, wire = passed_on("Changed behind the seal", "list.test")
        wire = wire.replace(b"as you remember them", b"as I tell you")
        refused_for(stack, story, message, from_list(stack, story, wire), domain)
    finally:
        stack.config.write_text(before)
        stack.daemons["milter"].reload()


def accepted(reply: Reply) -> Reply | None:
    """The reply, once it is a yes."""
    return reply if reply.accepted else None


def override(stack: Stack, story: Story) -> None:
    story.say("The operator has reasons of his own:")
    story.printed(stack.gatepost("dmarc", "policy", "set", BANK, "none", "--comment", "until they sign"))
    message = letter(f"Your bank <security@{BANK}>", ALICE, "Your statement")
    reply = until("the policy counts", lambda: accepted(from_outside(stack, story, ALICE, message, LIST_IP, LIST_HOST)))
    arrives(stack, story, message, reply, "INBOX", "dmarc=fail (p=reject dis=none)")
    story.printed(stack.gatepost("dmarc", "policy", "list"))
    story.printed(stack.gatepost("dmarc", "policy", "clear", BANK))

    def refused() -> tuple[EmailMessage, Reply] | None:
        message = letter(f"Your bank <security@{BANK}>", ALICE, "Your next statement")
        reply = from_outside(stack, story, ALICE, message, LIST_IP, LIST_HOST)
        return None if reply.accepted else (message, reply)

    message, reply = until("the policy counts no more", refused)
    refused_for(stack, story, message, reply, BANK)


SCENES = [
    Scene("D", "p=reject → 550 5.7.26; p=quarantine → Junk", enforced, demo=True),
    Scene("F", "a list that keeps the signature arrives, one that breaks it only if it is known", forwarded),
    Scene("Y", "a trusted ARC sealer's word saves mail that fails DMARC, another's does not", sealed_on_the_way),
    Scene("O", "the operator's own policy counts as soon as it is set, and no longer than that", override),
]
