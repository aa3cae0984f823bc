"""Mail programs of others: Python's smtplib and imaplib, and a few lines of ManageSieve by hand. None of our code is in them."""

import base64
import imaplib
import re
import smtplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from typing import Any

from letters import STRANGER_HOST, STRANGER_IP, parsed
from narrate import Story
from settings import Ports

#: Longer than any timeout of the servers that a scene could run into.
PATIENCE = 200.0
#: STARTTLS; what is longer is no command but an answer to an AUTH challenge.
LONGEST_COMMAND = 8


@dataclass(frozen=True)
class Reply:
    """What an SMTP server said last, and to which command."""

    code: int
    text: str
    command: str = ""

    @classmethod
    def of(cls, answer: tuple[int, bytes | str], command: str) -> "Reply":
        """smtplib's pair."""
        code, text = answer
        return cls(code, text.decode(errors="replace") if isinstance(text, bytes) else text, command)

    def __str__(self) -> str:
        return f"{self.code} {self.text}" + (f" (to {self.command})" if self.command else "")

    @property
    def accepted(self) -> bool:
        return 200 <= self.code < 300

    @property
    def temporary(self) -> bool:
        return 400 <= self.code < 500


class Smtp(smtplib.SMTP):
    """smtplib, telling the dialogue."""

    story: Story | None = None

    def putcmd(self, cmd: str, args: str = "") -> None:
        if self.story:
            command, _, rest = f"{cmd} {args}".strip().partition(" ")
            if command.upper() == "AUTH":
                self.story.sent(f"AUTH {rest.split(' ')[0]} …")
            elif command.isalpha() and len(command) <= LONGEST_COMMAND:
                self.story.sent(f"{command.upper()} {rest}".strip())
            else:
                self.story.sent("(an answer in base64)")
        super().putcmd(cmd, args)

    def leave(self) -> None:
        """QUIT, whatever the answer: what was accepted before stays accepted."""
        with suppress(smtplib.SMTPException, OSError):
            self.quit()

    def getreply(self) -> tuple[int, bytes]:
        code, text = super().getreply()
        if self.story:
            lines = text.decode(errors="replace").splitlines() or [""]
            self.story.answered(f"{code} {lines[0]}" + (f" (and {len(lines) - 1} lines)" if len(lines) > 1 else ""))
        return code, text


@contextmanager
def outsider(ports: Ports, ip: str = STRANGER_IP, host: str = STRANGER_HOST) -> Iterator[Smtp]:
    """A session that Postfix takes for one from that address (XCLIENT), greeted."""
    with closing(Smtp("127.0.0.1", ports.smtp, timeout=PATIENCE)) as smtp:
        smtp.ehlo(host)
        expect(smtp.docmd("XCLIENT", f"ADDR={ip} NAME={host} REVERSE_NAME={host}"), "XCLIENT")
        expect(smtp.ehlo(host), "EHLO")
        yield smtp
        smtp.leave()


def expect(reply: tuple[int, bytes], command: str) -> None:
    """A step that must succeed before a scene begins."""
    if not 200 <= reply[0] < 300:
        raise smtplib.SMTPResponseException(reply[0], f"{command}: {reply[1]!r}")


@contextmanager
def submitter(ports: Ports, trust: ssl.SSLContext) -> Iterator[Smtp]:
    """A session at the submission port, under TLS, not yet logged in."""
    with closing(Smtp("127.0.0.1", ports.submission, timeout=PATIENCE)) as smtp:
        smtp.ehlo("laptop.example.com")
        smtp.starttls(context=trust)
        smtp.ehlo("laptop.example.com")
        yield smtp
        smtp.leave()


def authenticate(smtp: Smtp, user: str, password: str, mechanism: str = "PLAIN") -> Reply:
    """SMTP AUTH; the server's answer."""
    smtp.user, smtp.password = user, password
    if mechanism == "PLAIN":
        # By hand: smtplib takes no password beyond ASCII.
        response = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        return Reply.of(smtp.docmd("AUTH", f"PLAIN {response}"), "AUTH PLAIN")
    try:
        return Reply.of(smtp.auth(mechanism, smtp.auth_login, initial_response_ok=False), f"AUTH {mechanism}")
    except smtplib.SMTPAuthenticationError as error:
        return Reply.of((error.smtp_code, error.smtp_error), f"AUTH {mechanism}")


def deliver(smtp: Smtp, sender: str, recipients: list[str], wire: bytes) -> Reply:
    """One transaction. The last answer: the final one, or the first that is no success."""
    reply = Reply.of(smtp.mail(sender), "MAIL FROM")
    for recipient in recipients:
        if reply.accepted:
            reply = Reply.of(smtp.rcpt(recipient), "RCPT TO")
    if not reply.accepted:
        if reply.code != 421:
            smtp.rset()
        return reply
    try:
        return Reply.of(smtp.data(wire), "end of data")
    except smtplib.SMTPDataError as error:
        return Reply.of((error.smtp_code, error.smtp_error), "DATA")


class Mailbox:
    """An IMAP session over TLS; raises `imaplib.IMAP4.error` with the server's words when the login is refused."""

    def __init__(self, ports: Ports, trust: ssl.SSLContext, user: str, password: str) -> None:
        self._imap = imaplib.IMAP4_SSL("127.0.0.1", ports.imaps, ssl_context=trust, timeout=PATIENCE)
        try:
            if password.isascii():
                self._imap.login(user, password)
            else:
                self._imap.authenticate("PLAIN", lambda _: f"\0{user}\0{password}".encode())
        except BaseException:
            self._imap.shutdown()
            raise

    def __enter__(self) -> "Mailbox":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._imap.logout()
        except (imaplib.IMAP4.error, OSError):
            self._imap.shutdown()

    def ask(self, command: str, *arguments: str | bytes | bool | None) -> list[Any]:
        """A command that must succeed; its untagged answers."""
        kind, data = getattr(self._imap, command)(*arguments)
        if kind != "OK":
            raise imaplib.IMAP4.error(f"{command} {arguments}: {kind} {data}")
        return [one for one in data if one]

    def folders(self) -> list[str]:
        """All folders that can be opened, shared ones included."""
        found = [re.fullmatch(r'\((.*?)\) (?:NIL|".*?") "?(.*?)"?', line.decode()) for line in self.ask("list", '""', '"*"')]
        return [match[2] for match in found if match and r"\Noselect" not in match[1] and r"\NonExistent" not in match[1]]

    def messages(self, folder: str, *criteria: str) -> list[Message]:
        """The messages of a folder that fit; the folder is opened for reading only."""
        self.ask("select", f'"{folder}"', True)
        numbers = b" ".join(self.ask("search", None, *(criteria or ("ALL",)))).split()
        return [parsed(self.ask("fetch", number.decode(), "(BODY.PEEK[])")[0][1]) for number in numbers]

    def find(self, message_id: str) -> list[tuple[str, Message]]:
        """Where a message is: folder and content, once per copy."""
        return [(folder, found) for folder in self.folders() for found in self.messages(folder, "HEADER", "Message-ID", f'"{message_id}"')]

    def message_ids(self) -> list[str]:
        """The Message-IDs of all messages of all own folders."""
        found: list[bytes] = []
        for folder in self.folders():
            if folder.startswith("shared/") or not int(self.ask("select", f'"{folder}"', True)[0]):
                continue
            for part in self.ask("fetch", "1:*", "(BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])"):
                if isinstance(part, tuple):
                    found += re.findall(rb"<[^>]+>", part[1])
        return [one.decode() for one in found]


def login_error(ports: Ports, trust: ssl.SSLContext, user: str, password: str) -> str:
    """What IMAP says to a login: the words of the refusal, or nothing when it succeeds. A lost connection is raised."""
    try:
        with Mailbox(ports, trust, user, password):
            return ""
    except imaplib.IMAP4.abort:
        raise
    except imaplib.IMAP4.error as error:
        reason = error.args[0] if error.args else b""
        return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)


def sieve_login(ports: Ports, trust: ssl.SSLContext, user: str, password: str) -> str:
    """What ManageSieve (RFC 5804) says to AUTHENTICATE "PLAIN" under TLS."""
    with socket.create_connection(("127.0.0.1", ports.sieve), timeout=PATIENCE) as plain:
        answer(plain)
        plain.sendall(b"STARTTLS\r\n")
        answer(plain)
        with trust.wrap_socket(plain, server_hostname="127.0.0.1") as tls:
            answer(tls)
            secret = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
            tls.sendall(f'AUTHENTICATE "PLAIN" "{secret}"\r\n'.encode())
            return answer(tls)


def answer(connection: socket.socket) -> str:
    """The last line of a ManageSieve answer: OK, NO or BYE with its text."""
    received = b""
    while not re.search(rb"(?:^|\r\n)(?:OK|NO|BYE)\b.*\r\n$", received):
        part = connection.recv(4096)
        if not part:
            return "(connection closed)"
        received += part
    return received.decode(errors="replace").splitlines()[-1]
