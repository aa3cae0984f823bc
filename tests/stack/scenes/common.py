"""What several scenes do: send and look where it went."""

from email.message import EmailMessage, Message

from clients import Mailbox, Reply, deliver, outsider
from letters import STRANGER, STRANGER_HOST, STRANGER_IP, signed
from narrate import Story
from stack import PASSWORDS, Stack
from waiting import until


def from_outside(
    stack: Stack, story: Story, recipient: str, message: EmailMessage, ip: str = STRANGER_IP, host: str = STRANGER_HOST
) -> Reply:
    """Sends a message from another host to one recipient, telling the dialogue. The stranger's mail is signed."""
    domain = STRANGER.partition("@")[2]
    sender = str(message["From"]).rpartition("<")[2].rstrip(">")
    wire = signed(message, "s1", domain, stack.stranger_key) if sender == STRANGER else message.as_bytes()
    with outsider(stack.ports, ip, host) as smtp:
        smtp.story = story
        return deliver(smtp, sender, [recipient], wire)


def where(stack: Stack, user: str, message_id: str) -> list[tuple[str, Message]]:
    """Where a message is in a user's mailbox now, seen by IMAP."""
    with Mailbox(stack.ports, stack.trust, user, PASSWORDS[user]) as mailbox:
        return mailbox.find(message_id)


def arrival(stack: Stack, user: str, message_id: str) -> tuple[str, Message]:
    """Waits for a message; its folder and content."""
    return until(f"{message_id} arrives at {user}", lambda: where(stack, user, message_id))[0]


def settle(stack: Stack) -> None:
    """Waits until Postfix has nothing more to deliver."""
    until("the queue is empty", lambda: not stack.postfix.queue())


def leaves(stack: Stack, message_id: str) -> bytes:
    """Waits for a message at the outside; its bytes."""
    return until(f"{message_id} reaches the outside", lambda: stack.outside.received(message_id))[0]
