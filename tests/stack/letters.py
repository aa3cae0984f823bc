"""Messages to send, and reading what arrived."""

import email
import email.policy
import uuid
from email.message import EmailMessage, Message
from email.utils import formatdate

import dkim

#: The well-behaved stranger of the scenes: its address is in its SPF record, its mail is signed, its DMARC policy is strict.
STRANGER = "berta@outside.test"
STRANGER_IP = "192.0.2.7"
STRANGER_HOST = "mx.outside.test"

BODY = """Hello,

the minutes of last week's meeting are ready. Please have a look at the second item before Thursday,
and tell me whether the figures for the spring are as you remember them.

Kind regards
Berta
"""


def letter(sender: str, to: str, subject: str, body: str = BODY, **fields: str) -> EmailMessage:
    """An ordinary message. Further fields by their name with underscores, such as `X_Spam="Yes"`."""
    message = EmailMessage(policy=email.policy.SMTP)
    message["From"] = sender
    message["To"] = to
    message["Subject"] = subject
    message["Date"] = formatdate()
    message["Message-ID"] = f"<{uuid.uuid4()}@{sender.rpartition('@')[2].rstrip('>')}>"
    for name, value in fields.items():
        message[name.replace("_", "-")] = value
    message.set_content(body, cte="7bit" if body.isascii() else "quoted-printable")
    return message


def signed(message: EmailMessage, selector: str, domain: str, key: bytes) -> bytes:
    """The message with a DKIM signature by dkimpy."""
    wire = message.as_bytes()
    signature = dkim.sign(
        wire,
        selector.encode(),
        domain.encode(),
        key,
        canonicalize=(b"relaxed", b"relaxed"),
        include_headers=[b"from", b"to", b"subject", b"date", b"message-id"],
    )
    return signature + wire


def sealed(wire: bytes, results: str, domain: str, key: bytes) -> bytes:
    """A message as a hop of that domain passes it on: what the hop saw is in `results`, and dkimpy seals it (RFC 8617)."""
    host = f"mx.{domain}"
    wire = f"Authentication-Results: {host}; {results}\r\n".encode() + wire
    fields = [b"from", b"to", b"subject", b"date", b"message-id"]
    return b"".join(dkim.arc_sign(wire, b"s1", domain.encode(), key, host.encode(), include_headers=fields)) + wire


def parsed(wire: bytes) -> Message:
    """A stored message; header fields stay as they came."""
    return email.message_from_bytes(wire, policy=email.policy.compat32)
