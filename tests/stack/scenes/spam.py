"""Scenes A, K, Q, S, T and W: what is done with spam, for whom, and whom our users know."""

from email.message import EmailMessage, Message

from clients import Reply, authenticate, deliver, outsider, submitter
from letters import BODY, STRANGER, letter
from narrate import Story
from scenes import Scene
from scenes.common import arrival, from_outside, settle, where
from scenes.inbound import SPAM
from servers import run
from stack import ALICE, BOB, CARL, PASSWORDS, Stack
from waiting import until

SPAMMER = ("203.0.113.66", "mail.prizes.test")
WINNER = "winner@prizes.test"


def spam(to: str, subject: str = "You have won $1,500,000") -> EmailMessage:
    """A message that the rules mark, and no more."""
    message = letter(f"Prize Department <{WINNER}>", to, subject, "")
    message.set_content(SPAM, subtype="html")
    return message


def send(stack: Stack, story: Story | None, recipients: list[str], message: EmailMessage) -> Reply:
    """As the spammer does, to several at once."""
    with outsider(stack.ports, *SPAMMER) as smtp:
        smtp.story = story
        return deliver(smtp, WINNER, recipients, message.as_bytes())


def tool(stack: Stack, story: Story, *words: str) -> None:
    """A command of the admin, told."""
    story.say(f"`gatepost {' '.join(words)}`")
    story.printed(stack.gatepost(*words))


def arrives(stack: Stack, story: Story, user: str, message: EmailMessage, folder: str) -> Message:
    """It lies in that folder, and names no other recipient."""
    found, stored = arrival(stack, user, message["Message-ID"])
    story.mail(f"{user}, folder {found}", stored)
    story.check(f"{user} has it in {folder}", found == folder, found)
    story.check("nothing in it tells what was decided for others", "X-Gatepost-For" not in stored, stored["X-Gatepost-For"])
    return stored


def several(stack: Stack, story: Story) -> None:
    story.say("bob wants no mail marked, carl wants none of it at all, alice has set nothing:")
    tool(stack, story, "settings", "set", BOB, "add-header", "off")
    tool(stack, story, "settings", "set", CARL, "discard", "5")
    probe = until("bob's setting counts", lambda: inboxed(stack, BOB))
    story.say(f"(it does: {probe})")
    message = spam(f"{ALICE}, {BOB}")
    reply = send(stack, story, ["boss@example.com", BOB, CARL], message)
    story.check("one answer for all: accepted, as the mildest wants it", reply.accepted, reply)
    stored = arrives(stack, story, BOB, message, "INBOX")
    story.check("it bears no mark for bob", "X-Spam" not in stored, stored["X-Spam"])
    arrives(stack, story, ALICE, message, "Junk")
    settle(stack)
    story.check("carl has none of it", not where(stack, CARL, message["Message-ID"]))
    rows = "SELECT recipient, action FROM gatepost.history WHERE message_id = '%s' ORDER BY recipient" % message["Message-ID"].strip("<>")
    expected = f"{BOB}\tno action\nboss@example.com\tadd header\n{CARL}\tdiscard"
    found = until("the history has it", lambda: stack.postgres.sql(rows))
    story.check("the history says what each of them got", sorted(found.splitlines()) == sorted(expected.splitlines()), found)

    story.say("A sender who writes such a field himself gains nothing:")
    message = letter(f"Berta <{STRANGER}>", BOB, "Forged", X_Gatepost_For=f"<{BOB}> discard")
    from_outside(stack, story, BOB, message)
    arrives(stack, story, BOB, message, "INBOX")
    story.say("alice wants nothing refused, bob refuses soon; the mildest counts, and bob finds it in Junk:")
    tool(stack, story, "settings", "set", BOB, "reject", "5")
    tool(stack, story, "settings", "set", BOB, "reject-text", "Not for bob, thank you")
    reply = until("bob refuses", lambda: refused(send(stack, None, [BOB], spam(BOB))))
    story.check("to bob alone it is refused in his words", str(reply).startswith("554 5.7.1 Not for bob, thank you"), reply)
    message = spam(f"{ALICE}, {BOB}")
    reply = send(stack, story, [ALICE, BOB], message)
    story.check("to both it is accepted", reply.accepted, reply)
    arrives(stack, story, ALICE, message, "Junk")
    arrives(stack, story, BOB, message, "Junk")
    story.printed(stack.gatepost("settings", "show", BOB))
    stack.gatepost("settings", "unset", BOB)
    stack.gatepost("settings", "unset", CARL)


def inboxed(stack: Stack, user: str) -> str | None:
    """Whether spam to that user lies in his Inbox now."""
    message = spam(user, "You have won, again")
    send(stack, None, [user], message)
    return "INBOX" if arrival(stack, user, message["Message-ID"])[0] == "INBOX" else None


def refused(reply: Reply) -> Reply | None:
    """The reply, once it is a no."""
    return None if reply.accepted else reply


def lists(stack: Stack, story: Story) -> None:
    tool(stack, story, "allow", "add", SPAMMER[0], "--only-for", BOB, "--reason", "bob collects them")
    until("bob's list lets them in", lambda: inboxed(stack, BOB))
    message = spam(f"{ALICE}, {BOB}")
    send(stack, story, [ALICE, BOB], message)
    arrives(stack, story, BOB, message, "INBOX")
    arrives(stack, story, ALICE, message, "Junk")
    tool(stack, story, "deny", "add", "Subject: ^cheap\\s+watches", "--kind", "header")
    reply = until("the pattern counts", lambda: refused(from_outside(stack, story, ALICE, letter(f"B <{STRANGER}>", ALICE, "Cheap  watches"))))
    story.check("refused by the operator's list", str(reply).startswith("554 5.7.1 Access denied by a rule of this site"), reply)
    tool(stack, story, "score", "add", "outside.test", "--kind", "verified", "--points", "1.5")
    tool(stack, story, "tag", "add", "outside.test", "--kind", "verified", "--as", "partner")

    def tagged() -> Message | None:
        message = letter(f"Berta <{STRANGER}>", ALICE, "Tagged", X_Gatepost_Tag="forged")
        from_outside(stack, story, ALICE, message)
        stored = arrival(stack, ALICE, message["Message-ID"])[1]
        return stored if stored.get_all("X-Gatepost-Tag") == ["partner"] else None

    stored = until("the tag is there", tagged)
    story.check("and the points, with their reason", "LIST_SCORE(1.50)[verified outside.test (*)]" in str(stored["X-Spamd-Result"]), stored["X-Spamd-Result"])
    for noun in ("allow", "deny", "score", "tag"):
        story.printed(stack.gatepost(noun, "list"))
    stack.gatepost("allow", "remove", SPAMMER[0], "--only-for", BOB)
    stack.gatepost("deny", "remove", "Subject: ^cheap\\s+watches", "--kind", "header")
    stack.gatepost("score", "remove", "outside.test", "--kind", "verified")
    stack.gatepost("tag", "remove", "outside.test", "--kind", "verified")


def quarantine(stack: Stack, story: Story) -> None:
    tool(stack, story, "settings", "set", ALICE, "quarantine", "5")
    tool(stack, story, "settings", "set", ALICE, "add-header", "4")

    def held() -> list[str]:
        return [line for line in stack.postfix.queue() if '"hold"' in line]

    def on_hold() -> EmailMessage | None:
        message = spam(ALICE, "Held")
        send(stack, None, [ALICE], message)
        until("it is on hold or delivered", lambda: held() or where(stack, ALICE, message["Message-ID"]))
        return message if held() else None

    message = until("mail is put on hold", on_hold)
    postfix = ("--postfix", str(stack.postfix.config))
    # As root: only he may look into the queue.
    tell = lambda *words: run(stack.programs / "gatepost", "--config", stack.config, "quarantine", *words, *postfix)
    listed = until("it is written down", lambda: tell("list") if "Held" in tell("list") else "")
    story.printed(listed)
    story.check("the list tells of whom, to whom, what", WINNER in listed and ALICE in listed, listed)
    queue_id = next(line.split()[0] for line in listed.splitlines() if "Held" in line)
    shown = tell("show", queue_id)
    story.check("show prints the message", message["Message-ID"] in shown and "CONGRATULATIONS" in shown, shown)
    story.check("nothing is delivered meanwhile", not where(stack, ALICE, message["Message-ID"]))
    story.printed(tell("release", queue_id))
    stored = arrives(stack, story, ALICE, message, "INBOX")
    story.check("whoever released it has decided: it bears no mark", "X-Spam" not in stored, stored["X-Spam"])
    message = spam(ALICE, "Held too")
    send(stack, story, [ALICE], message)
    listed = until("the next is written down", lambda: tell("list") if "Held too" in tell("list") else "")
    queue_id = next(line.split()[0] for line in listed.splitlines() if "Held too" in line)
    story.printed(tell("delete", "--yes", queue_id))
    settle(stack)
    story.check("deleted: gone from the queue, never delivered", not where(stack, ALICE, message["Message-ID"]) and not held())
    rows = stack.postgres.sql("SELECT count(*) FROM gatepost.quarantine")
    story.check("no row is left", rows == "0", rows)
    stack.gatepost("settings", "unset", ALICE)


def greylist(stack: Stack, story: Story) -> None:
    tool(stack, story, "settings", "set", "*", "greylist", "4")
    message = spam(ALICE, "For the first time")
    reply = until("a stranger is to come again", lambda: refused(send(stack, None, [ALICE], spam(ALICE, "For the first time"))))
    story.check("451 4.7.1, and when", reply.code == 451 and "Greylisted, please try again in" in reply.text, reply)
    reply = until("it passes later", lambda: accepted(send(stack, story, [ALICE], message)))
    arrives(stack, story, ALICE, message, "Junk")
    rows = stack.postgres.sql("SELECT client, sender, recipient FROM gatepost.greylist WHERE recipient = 'alice@example.com' AND passed > 0")
    story.check("the policy daemon's greylist knows of it", "203.0.113.0/24" in rows, rows)
    story.say("Who is proven never waits, whatever the score:")
    message = letter(f"Berta <{STRANGER}>", ALICE, "Proven", "")
    message.set_content(SPAM, subtype="html")
    story.check("accepted at once", (reply := from_outside(stack, story, ALICE, message)).accepted, reply)
    scores = until("scores are kept", lambda: stack.postgres.sql("SELECT network, score > 4 FROM gatepost.client_scores"))
    story.check("the network's score is kept for the policy daemon", "203.0.113.0/24\tt" in scores, scores)
    stack.gatepost("settings", "unset", "*")


def accepted(reply: Reply) -> Reply | None:
    """The reply, once it is a yes."""
    return reply if reply.accepted else None


def actions(stack: Stack, story: Story) -> None:
    tool(stack, story, "settings", "set", ALICE, "rewrite-subject", "6.5")

    def rewritten() -> Message | None:
        message = spam(ALICE, "The prize")
        send(stack, None, [ALICE], message)
        folder, stored = arrival(stack, ALICE, message["Message-ID"])
        return stored if stored["Subject"] != "The prize" else None

    stored = until("the subject is rewritten", rewritten)
    story.check("***SPAM*** stands before it", stored["Subject"] == "***SPAM*** The prize", stored["Subject"])
    story.check("and it is marked", stored["X-Spam"] == "Yes", stored["X-Spam"])
    tool(stack, story, "settings", "set", ALICE, "discard", "6.2")
    tool(stack, story, "settings", "unset", ALICE, "rewrite-subject")

    def dropped() -> EmailMessage | None:
        message = spam(ALICE, "Into nothing")
        reply = send(stack, None, [ALICE], message)
        settle(stack)
        return message if reply.accepted and not where(stack, ALICE, message["Message-ID"]) else None

    story.check("discard: accepted, and never seen again", until("it is dropped", dropped) is not None)
    stack.gatepost("settings", "unset", ALICE)


def correspondents(stack: Stack, story: Story) -> None:
    story.say("alice writes to Berta Brown for the first time.")
    message = letter(ALICE, f"Berta Brown <{STRANGER}>", "The minutes", BODY)
    with submitter(stack.ports, stack.trust) as smtp:
        authenticate(smtp, ALICE, PASSWORDS[ALICE])
        smtp.story = story
        deliver(smtp, ALICE, [STRANGER], message.as_bytes())
    question = f"SELECT correspondent, name FROM gatepost.correspondents WHERE mailbox = '{ALICE}' AND correspondent = '{STRANGER}'"
    row = until("it is remembered", lambda: stack.postgres.sql(question))
    story.check("address and name are remembered", row == f"{STRANGER}\tberta brown", row)
    reply = letter(f"Berta Brown <{STRANGER}>", ALICE, "Re: The minutes", In_Reply_To=message["Message-ID"])
    from_outside(stack, story, ALICE, reply)
    stored = arrival(stack, ALICE, reply["Message-ID"])[1]
    result = str(stored["X-Spamd-Result"])
    story.check("her answer is known as one, and she is known", "REPLY(-4.00)" in result and "KNOWN_SENDER(-3.00)" in result, result)
    reply = letter(f"Berta Brown <{STRANGER}>", BOB, "To somebody else")
    from_outside(stack, story, BOB, reply)
    result = str(arrival(stack, BOB, reply["Message-ID"])[1]["X-Spamd-Result"])
    story.check("to bob she is a stranger", "KNOWN_SENDER" not in result, result)
    fake = letter("Berta Brown <berta.brown77@prizes.test>", ALICE, "A favour", "Are you at your desk? I need a favour.\n")
    with outsider(stack.ports, *SPAMMER) as smtp:
        smtp.story = story
        deliver(smtp, "berta.brown77@prizes.test", [ALICE], fake.as_bytes())
    result = str(arrival(stack, ALICE, fake["Message-ID"])[1]["X-Spamd-Result"])
    story.check("who bears her name with another address is suspect", f"CONTACT_NAME_NEW_ADDRESS(4.00)[berta.brown77@prizes.test is not {STRANGER}]" in result, result)
    story.say("And so is who bears bob's, whom alice has never written to, but who has a mailbox here:")
    before = stack.postgres.sql(f"SELECT coalesce(quote_literal(display_name), 'NULL') FROM users_fqda WHERE fqda = '{BOB}'")
    rename = "UPDATE users SET display_name = %s WHERE local || '@' || domain = '" + BOB + "'"
    stack.postgres.sql(rename % "'Bob Builder'")

    def suspected() -> str | None:
        fake = letter("Bob Builder <bob.builder77@prizes.test>", ALICE, "A favour, quickly", "Are you at your desk? I need a favour.\n")
        with outsider(stack.ports, *SPAMMER) as smtp:
            deliver(smtp, "bob.builder77@prizes.test", [ALICE], fake.as_bytes())
        result = str(arrival(stack, ALICE, fake["Message-ID"])[1]["X-Spamd-Result"])
        return result if "COLLEAGUE_NAME_STRANGER" in result else None

    result = until("his name counts", suspected)
    story.check("the report says whose name it is", f"COLLEAGUE_NAME_STRANGER(3.00)[bob.builder77@prizes.test is not {BOB}]" in result, result)
    stack.postgres.sql(rename % before)


SCENES = [
    Scene("T", "one message, several recipients: one answer, and each his own verdict", several, demo=True),
    Scene("W", "the operator's lists: allow for one user, deny by a pattern, points, tags", lists),
    Scene("Q", "quarantine: list, show, release, delete", quarantine),
    Scene("S", "spam from a stranger is to come again; who is proven never", greylist),
    Scene("A", "the subject rewritten; discarded", actions),
    Scene("K", "known correspondents, answers, and a known name with another address", correspondents),
]
