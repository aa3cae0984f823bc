"""Scene n: many messages at once, and what memory they cost."""

import threading
from collections import Counter

from clients import Mailbox, deliver, outsider
from letters import STRANGER, letter
from narrate import Story
from scenes import Scene
from scenes.common import settle
from stack import ALICE, BOB, CARL, PASSWORDS, Stack

MESSAGES, CONNECTIONS = 500, 20
USERS = [ALICE, BOB, CARL]


def load(stack: Stack, story: Story) -> None:
    sent: dict[str, list[str]] = {user: [] for user in USERS}
    refused: list[str] = []

    def one_connection(number: int) -> None:
        with outsider(stack.ports) as smtp:
            for count in range(MESSAGES // CONNECTIONS):
                user = USERS[(number + count) % len(USERS)]
                message = letter(f"Berta <{STRANGER}>", user, f"Message {count} of connection {number}")
                reply = deliver(smtp, STRANGER, [user], message.as_bytes())
                if reply.accepted:
                    sent[user].append(message["Message-ID"])
                else:
                    refused.append(str(reply))

    threads = [threading.Thread(target=one_connection, args=(number,), daemon=True) for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    accepted = sum(map(len, sent.values()))
    story.check(f"{accepted} of {MESSAGES} messages accepted over {CONNECTIONS} connections", accepted == MESSAGES, Counter(refused))
    settle(stack)
    for user, expected in sent.items():
        with Mailbox(stack.ports, stack.trust, user, PASSWORDS[user]) as mailbox:
            found = Counter(mailbox.message_ids())
        wrong = {one: found[one] for one in expected if found[one] != 1}
        story.check(f"all {len(expected)} for {user} are there, exactly once", not wrong, wrong)


SCENES = [Scene("n", f"{MESSAGES} messages over {CONNECTIONS} connections: all arrive exactly once", load)]
