"""An MTA for benchmarks of milters: its end of the protocol, version 6, written by hand as Postfix speaks it, and clients that deliver by it.

For `filters`. Clients are processes of their own: threads of one would wait for each other, and that would be measured as the server's time.
"""
import json
import os
import socket
import struct
import sys
import time

CLIENTS = int(os.environ.get("CLIENTS", "8"))

# What the MTA offers not to be answered, and not to say, by command.
NR = {b"C": 0x1000, b"H": 0x2000, b"M": 0x4000, b"R": 0x8000, b"T": 0x10000, b"L": 0x80, b"N": 0x40000, b"B": 0x80000}
NO = {b"C": 0x1, b"H": 0x2, b"M": 0x4, b"R": 0x8, b"T": 0x200, b"L": 0x20, b"N": 0x40, b"B": 0x10}


def frame(content):
    return struct.pack(">I", len(content)) + content


def macros(command, **pairs):
    return frame(b"D" + command + b"".join(f"{name}\0{value}\0".encode() for name, value in pairs.items()))


class Mta:
    """One connection to a milter."""

    def __init__(self, port):
        self.stream = socket.create_connection(("127.0.0.1", port), 120)
        self.rest, self.out = b"", [frame(b"O" + struct.pack(">III", 6, 0x1FF, 0x1FFFFF))]
        self.steps = struct.unpack(">III", self.receive()[1:13])[2]

    def receive(self):
        if self.out:
            self.stream.sendall(b"".join(self.out))
            self.out = []
        while True:
            if len(self.rest) >= 4:
                end = 4 + struct.unpack(">I", self.rest[:4])[0]
                if len(self.rest) >= end:
                    content, self.rest = self.rest[4:end], self.rest[end:]
                    return content
            piece = self.stream.recv(65536)
            if not piece:
                raise EOFError("the milter hung up")
            self.rest += piece

    def say(self, content):
        letter = content[:1]
        if self.steps & NO[letter]:
            return
        self.out.append(frame(content))
        if not self.steps & NR[letter]:
            self.receive()

    def send(self, number, fields, body):
        """One message; seconds from its end to the answer."""
        space = bool(self.steps & 0x100000)
        self.out.append(macros(b"C", j="mx.example.com", **{"{daemon_port}": "25"}))
        self.say(b"Cclient.test\x004\x30\x39198.51.100.%d\0" % (number % 250 + 1))
        self.say(b"Hclient.test\0")
        self.out.append(macros(b"M", i=f"4bQ{number:06d}"))
        self.say(b"M<sender%d@remote.test>\0" % number)
        self.say(b"R<alice@example.com>\0")
        self.say(b"T")
        for name, value in fields:
            self.say(b"L%s\0%s\0" % (name, value if space else value.lstrip(b" ")))
        self.say(b"N")
        for at in range(0, len(body), 65535):
            self.say(b"B" + body[at:at + 65535])
        self.out.append(frame(b"E"))
        begun = time.perf_counter()
        while self.receive()[:1] not in (b"c", b"a", b"r", b"t", b"d", b"y"):
            pass
        return time.perf_counter() - begun


def split(raw):
    """Fields and body of a message file, as Postfix shows them to a milter."""
    text = raw.replace(b"\r\n", b"\n").replace(b"\0", b"")
    header, _, body = text.partition(b"\n\n")
    fields = []
    for line in header.split(b"\n"):
        if line[:1] in (b" ", b"\t") and fields:
            fields[-1] = (fields[-1][0], fields[-1][1] + b"\n" + line)
        elif b":" in line and not line.startswith(b"From "):
            fields.append(tuple(line.split(b":", 1)))
    return fields, body.replace(b"\n", b"\r\n")


def deliver(port, messages):
    """Every message once, over CLIENTS connections; the seconds that each answer took."""

    def client(first):
        taken = []
        for number in range(first, len(messages), CLIENTS):
            mta = Mta(port)
            taken.append(mta.send(number, *messages[number]))
            mta.stream.sendall(frame(b"Q"))
            mta.stream.close()
        return taken

    answers = [heard() for heard in [forked(lambda first=first: client(first)) for first in range(CLIENTS)]]
    if not all(answers):
        sys.exit(f"port {port}: a client was not answered")
    return [seconds for answer in answers for seconds in json.loads(answer)]


def forked(work):
    """Has a process do that; waits for what came of it as JSON, nothing if it failed."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.nice(5)
            with open(into, "w") as pipe:
                pipe.write(json.dumps(work()))
        except BaseException as error:  # noqa: BLE001
            print(repr(error), file=sys.stderr)
        os._exit(0)
    os.close(into)

    def heard():
        with open(out) as pipe:
            said = pipe.read()
        os.waitpid(child, 0)
        return said
    return heard
