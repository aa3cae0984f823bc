"""Scene P: a password is given once and proved from then on, by SCRAM through Postfix and Dovecot; an old hash becomes a new one."""

import base64
import hashlib
import hmac
import imaplib
import os
import smtplib

from clients import PATIENCE, login_error, submitter
from narrate import Story
from scenes import Scene
from stack import Stack
from waiting import until

USER, PASSWORD = "paula@example.com", "paulas secret"
MECHANISM = "SCRAM-SHA-256"


class Scram:
    """The client's side (RFC 5802, RFC 7677), a message at each call."""

    def __init__(self, password: str) -> None:
        self.password = password
        self.bare = f"n={USER},r={base64.b64encode(os.urandom(18)).decode()}"
        self.signature = b""
        self.server_proved = False
        self.step = 0

    def __call__(self, challenge: bytes | None = None) -> bytes:
        self.step += 1
        if self.step == 1:
            return f"n,,{self.bare}".encode()
        if self.step == 2:
            return self.final(challenge or b"")
        self.server_proved = challenge == b"v=" + base64.b64encode(self.signature)
        return b""

    def final(self, challenge: bytes) -> bytes:
        fields = dict(field.split("=", 1) for field in challenge.decode().split(","))
        without_proof = f"c=biws,r={fields['r']}"
        message = f"{self.bare},{challenge.decode()},{without_proof}".encode()
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
        key = hmac.digest(salted, b"Client Key", "sha256")
        mask = hmac.digest(hashlib.sha256(key).digest(), message, "sha256")
        self.signature = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
        proof = bytes(one ^ other for one, other in zip(key, mask, strict=True))
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()


def by_imap(stack: Stack, password: str) -> str:
    client = Scram(password)
    with imaplib.IMAP4_SSL("127.0.0.1", stack.ports.imaps, timeout=PATIENCE, ssl_context=stack.trust) as imap:
        try:
            imap.authenticate(MECHANISM, client)
        except imaplib.IMAP4.error as error:
            return str(error)
        return "OK, and so is the server" if client.server_proved else "OK, but the server has proved nothing"


def by_smtp(stack: Stack, password: str) -> str:
    client = Scram(password)
    with submitter(stack.ports, stack.trust) as smtp:
        try:
            code, _ = smtp.auth(MECHANISM, lambda challenge=None: client(challenge).decode(), initial_response_ok=True)
        except smtplib.SMTPAuthenticationError as error:
            return str(error.smtp_code)
        return f"{code}, and so is the server" if client.server_proved else f"{code}, but the server has proved nothing"


def proofs(stack: Stack, story: Story) -> None:
    before = stack.config.read_text()
    changed = before.replace('mechanisms = ["PLAIN", "LOGIN"]', f'mechanisms = ["PLAIN", "LOGIN", "{MECHANISM}"]')
    changed = changed.replace("scram-verifiers = false", "scram-verifiers = true").replace("rehash = false", "rehash = true")
    stack.config.write_text(changed)
    daemon = stack.daemons["dovecot-auth"]
    daemon.reload()
    salt = os.urandom(8)
    old = "{SSHA256}" + base64.b64encode(hashlib.sha256(PASSWORD.encode() + salt).digest() + salt).decode()
    stack.postgres.sql(f"INSERT INTO users (local, domain, password_hash) VALUES ('paula', 'example.com', '{old}')")

    def hash_now() -> str:
        return stack.postgres.sql("SELECT password_hash FROM users WHERE local = 'paula'").strip()

    # Offered as soon as the daemon has found what it needs for it.
    said = until("SCRAM is offered", lambda: said if "mechanism" not in (said := by_imap(stack, PASSWORD)) else None)
    story.check("nothing to prove it with yet: refused", "AUTHENTICATIONFAILED" in said, said)
    error = login_error(stack.ports, stack.trust, USER, PASSWORD)
    story.check("the password, with a hash of {SSHA256}, logs in", not error, error)
    until("the log says what is missing", lambda: "GRANT UPDATE (password_hash)" in daemon.log.read_text(errors="replace"))
    story.check("without the right to write hashes the old one stays", hash_now() == old, hash_now())
    stack.postgres.sql("GRANT UPDATE (password_hash) ON public.users TO gatepost_auth")
    daemon.stop()
    daemon.start()
    stack.postfix.reload()
    error = login_error(stack.ports, stack.trust, USER, PASSWORD)
    story.check("after GRANT and a restart it logs in", not error, error)
    until("the hash is new", lambda: hash_now().startswith("$argon2id$v=19$m=65536,t=4,p=1$"))
    kept = "SELECT count(*) FROM gatepost.scram_verifiers JOIN users_fqda ON fqda = login WHERE hash_mark = sha256(convert_to(password_hash, 'UTF8'))"
    until("there is something to prove it with", lambda: stack.postgres.sql(kept).strip() == "1")
    for name, ask, right, wrong in (("IMAP", by_imap, "OK, and so is the server", "AUTHENTICATIONFAILED"), ("SMTP", by_smtp, "235, and so is the server", "535")):
        said = ask(stack, PASSWORD)
        story.check(f"{MECHANISM} by {name}: {right}", said == right, said)
        said = ask(stack, "other")
        story.check(f"{MECHANISM} by {name}, another password: refused", wrong in said, said)
    stack.postgres.sql("REVOKE UPDATE (password_hash) ON public.users FROM gatepost_auth; DELETE FROM users WHERE local = 'paula'")
    stack.config.write_text(before)
    daemon.reload()
    stack.postfix.reload()


SCENES = [Scene("P", "a password given once is proved from then on by SCRAM, and its old hash is renewed", proofs)]
