"""Scenes w and x: Roundcube over HTTP, from the login to a filter that works, and mail that other programs of this host send as www-data."""

import shutil
import subprocess

import dkim

from clients import Mailbox
from letters import STRANGER, letter, parsed
from narrate import Story
from roundcube import Browser, Roundcube, missing
from scenes import Scene
from scenes.common import arrival, from_outside, leaves
from scenes.inbound import SPAM
from scenes.submission import FRIEND, txt
from stack import BOB, PASSWORDS, Stack
from waiting import until

FOLDER = "Invoices"


def signature(stack: Stack, story: Story, wire: bytes) -> None:
    """What left is signed for example.com, and dkimpy says that it holds."""
    field = (parsed(wire)["DKIM-Signature"] or "").replace("\n", "")
    holds = bool(field) and dkim.verify(wire, dnsfunc=lambda name, timeout=5: txt(stack, name, []))
    story.check("what left is signed for example.com, and dkimpy verifies it", "d=example.com" in field and holds, field)


def webmail(stack: Stack, story: Story) -> None:
    if why := missing():
        story.skip("Roundcube", why)
        return
    roundcube = Roundcube(stack.directory, stack.ports)
    try:
        play(stack, story, roundcube)
    finally:
        roundcube.stop()
        if roundcube.errors.exists():
            story.printed(roundcube.errors.read_text(errors="replace"))


def play(stack: Stack, story: Story, roundcube: Roundcube) -> None:
    browser = Browser(roundcube.address)
    before = guesses(stack)
    story.sent("POST ?_task=login, a wrong password")
    page = browser.log_in(BOB, "wrong in the web")
    story.check("a wrong password: the login form again", 'id="login-form"' in page and "Login failed" in page, page[:2000])
    story.sent("POST ?_task=login, the right one")
    page = browser.log_in(BOB, PASSWORDS[BOB])
    story.check("bob is logged in through Dovecot", '"task":"mail"' in page and BOB in page, page[:2000])

    message = letter(f"Berta <{STRANGER}>", BOB, "Grüße zum Frühling")
    from_outside(stack, story, BOB, message)
    arrival(stack, BOB, message["Message-ID"])
    listed = browser.subjects("INBOX")
    found = [number for number, subject in listed.items() if subject == "Grüße zum Frühling"]
    story.check("the list shows Berta's message", len(found) == 1, listed)
    shown = browser.show("INBOX", found[0])
    story.check("and it is read", "the figures for the spring are as you remember them" in shown, shown[:3000])

    story.sent("POST ?_task=mail&_action=send")
    said = browser.send(FRIEND, "From the web", "Dear friend,\n\nthis was written in a browser.\n")
    story.check("Roundcube says that it is sent", "sent_successfully" in said, said)
    wire = until("it reaches the outside", lambda: sent(stack, "From the web"))
    mail = parsed(wire)
    story.mail("outside", mail)
    signature(stack, story, wire)
    story.check("in bob's name", BOB in str(mail["From"]), mail["From"])
    story.check("it does not tell what program wrote it", "User-Agent" not in mail, mail["User-Agent"])
    story.check("a copy is in Sent", "From the web" in browser.subjects("Sent").values(), browser.subjects("Sent"))

    with Mailbox(stack.ports, stack.trust, BOB, PASSWORDS[BOB]) as mailbox:
        mailbox.ask("create", FOLDER)
    story.sent("POST ?_task=settings&_action=plugin.managesieve-save")
    said = browser.add_filter("Bills", "invoice", FOLDER)
    story.check("the ManageSieve plugin says that the filter is saved", "saved successfully" in said, said)
    scripts = list((stack.directory / "vmail/example.com/bob").glob("sieve/*.sieve"))
    script = scripts[0].read_text() if scripts else ""
    story.printed(script)
    story.check("the filter is a Sieve script in bob's home", f'fileinto "{FOLDER}"' in script and "invoice" in script, scripts)
    for subject, expected in (("Your invoice for November", FOLDER), ("Nothing of that kind", "INBOX")):
        message = letter(f"Berta <{STRANGER}>", BOB, subject)
        from_outside(stack, story, BOB, message)
        folder, _ = arrival(stack, BOB, message["Message-ID"])
        story.check(f"{subject!r} is filed into {expected}", folder == expected, folder)

    story.say("The server's script spam-to-junk.sieve goes before: what is marked never reaches bob's filter.")
    compiled = stack.dovecot.config.parent / "sieve/spam-to-junk.svbin"
    source = compiled.with_suffix(".sieve")
    story.check("sievec has compiled it", compiled.exists() and compiled.stat().st_mtime >= source.stat().st_mtime, compiled)
    spam = letter("Prize Department <winner@prizes.test>", BOB, "Your invoice: you have won $1,500,000", "")
    spam.set_content(SPAM, subtype="html")
    reply = from_outside(stack, story, BOB, spam, "203.0.113.66", "mail.prizes.test")
    story.check("it is accepted", reply.accepted, reply)
    folder, stored = arrival(stack, BOB, spam["Message-ID"])
    story.check("and in Junk", folder == "Junk" and stored["X-Spam"] == "Yes", (folder, stored["X-Spam"]))
    story.check("Roundcube shows it there", "Your invoice: you have won $1,500,000" in browser.subjects("Junk").values(), browser.subjects("Junk"))
    counted = until("his wrong password is counted", lambda: (now := guesses(stack)) != before and now)
    story.check("his wrong password is counted once", counted == before + 1, (before, counted))


def guesses(stack: Stack) -> int:
    """How many different wrong passwords of bob's are counted from this host: the third column."""
    rows = [line.split() for line in stack.gatepost("auth", "failures", BOB).splitlines() if line.startswith(BOB)]
    return sum(int(row[2]) for row in rows if row[1] == "127.0.0.1")


def sent(stack: Stack, subject: str) -> bytes | None:
    """What reached the outside with that subject."""
    return next(iter(stack.outside.received(f"Subject: {subject}")), None)


#: As a shop or a wiki on the same host does it.
BY_PHP = """
mail('%s', 'Your order', "It is on its way.\\n", ['From' => 'Shop <shop@example.com>', 'Message-ID' => '<order-1@example.com>']) || exit(1);
"""


def www_data(stack: Stack, story: Story) -> None:
    # sendmail(1) takes /etc/postfix, and gives its privileged half (postdrop) no other directory for the asking: so in a mount namespace the private
    # instance is there.
    if refused := subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True).stderr:
        story.skip("sendmail as www-data", f"no namespaces here: {refused.strip()}")
        return

    def as_www_data(*command: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        script = f'mount --bind {stack.postfix.config} /etc/postfix && exec setpriv --reuid=www-data --regid=www-data --init-groups "$@"'
        return subprocess.run(["unshare", "--mount", "bash", "-c", script, "-", *command], input=stdin, capture_output=True, text=True, cwd="/")

    message = letter("Wiki <wiki@example.com>", FRIEND, "Your page was changed", "By somebody.\n")
    story.sent("www-data: sendmail -t < message")
    done = as_www_data("sendmail", "-t", stdin=message.as_string().replace("\r\n", "\n"))
    story.check("sendmail takes it", done.returncode == 0, done)
    wire = leaves(stack, message["Message-ID"])
    story.mail("outside", parsed(wire))
    signature(stack, story, wire)
    if not shutil.which("php"):
        story.skip("PHP's mail()", "php is not installed (tests/install-packages)")
        return
    story.sent("www-data: php, mail(…)")
    done = as_www_data("php", "-r", BY_PHP % FRIEND)
    story.check("PHP's mail() succeeds", done.returncode == 0, done)
    wire = leaves(stack, "<order-1@example.com>")
    story.mail("outside", parsed(wire))
    signature(stack, story, wire)


SCENES = [
    Scene("w", "Roundcube: logs in, lists, reads, sends, and its filter files mail", webmail),
    Scene("x", "sendmail and PHP's mail() as www-data: what leaves is signed", www_data),
]
