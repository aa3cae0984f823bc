"""Scene j: alice shares a folder to bob, and takes it back."""

from clients import Mailbox
from letters import letter
from narrate import Story
from scenes import Scene
from stack import ALICE, BOB, PASSWORDS, Stack
from waiting import until

FOLDER = "Projects"
SHARED = f"shared/{ALICE}/{FOLDER}"


def sharing(stack: Stack, story: Story) -> None:
    rows = lambda: stack.postgres.sql("SELECT shared_mailbox, shared_to FROM view_shared_mailboxes")
    alice = lambda: Mailbox(stack.ports, stack.trust, ALICE, PASSWORDS[ALICE])
    bob = lambda: Mailbox(stack.ports, stack.trust, BOB, PASSWORDS[BOB])
    stack.postgres.sql("DELETE FROM shared_mailboxes")
    message = letter(ALICE, ALICE, "Plan of the new office", "Two rooms to the south.\n")
    with alice() as mailbox:
        mailbox.ask("create", FOLDER)
        mailbox.ask("append", FOLDER, "", "", message.as_bytes())
        with bob() as other:
            story.check(
                "before: bob sees no shared folder",
                not [folder for folder in other.folders() if folder.startswith("shared/")],
                other.folders(),
            )
        story.sent(f"alice: SETACL {FOLDER} {BOB} lrs")
        mailbox.ask("setacl", FOLDER, BOB, "lrs")
        story.check("there is a row in shared_mailboxes", rows() == f"{ALICE}\t{BOB}", rows())
        story.printed(rows())
        with bob() as other:
            story.check(f"bob sees {SHARED}", SHARED in other.folders(), other.folders())
            found = other.messages(SHARED)
            story.check("and reads the message in it", [one["Subject"] for one in found] == [message["Subject"]], found)
        story.sent(f"alice: SETACL {FOLDER} {BOB} lrsw, again: the row stays one")
        mailbox.ask("setacl", FOLDER, BOB, "lrsw")
        story.check("there is one row", rows() == f"{ALICE}\t{BOB}", rows())
        story.sent(f"alice: DELETEACL {FOLDER} {BOB}")
        mailbox.ask("deleteacl", FOLDER, BOB)
        until("the row is gone", lambda: rows() == "")
        with bob() as other:
            until("the share is gone for bob", lambda: SHARED not in other.folders())
        with bob() as other:
            story.check("bob sees the folder no more", SHARED not in other.folders(), other.folders())


SCENES = [Scene("j", "alice shares a folder to bob by IMAP, and takes it back", sharing, demo=True)]
