"""A SCRAM client of its own (RFC 5802, RFC 7677), for scram.rs:

    scram.py imap PORT MECHANISM USER PASSWORD                 over IMAP
    scram.py socket PATH MECHANISM USER PASSWORD [PARAMETER…]  over the auth protocol, as a login process or smtpd

Prints the server's last word, and `server proved` before it where the server has shown that it knows the verifier.
"""
import base64, hashlib, hmac, os, socket, sys

kind, place, mechanism, user, password, *parameters = sys.argv[1:]
digest = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256"}[mechanism]


def mac(key, message):
    return hmac.new(key, message, digest).digest()


class Client:
    def __init__(self):
        nonce = base64.b64encode(os.urandom(18)).decode()
        self.bare = "n=%s,r=%s" % (user.replace("=", "=3D").replace(",", "=2C"), nonce)

    def first(self):
        return ("n,," + self.bare).encode()

    def final(self, challenge):
        fields = dict(field.split("=", 1) for field in challenge.decode().split(","))
        print("salt " + fields["s"], "iterations " + fields["i"])
        without_proof = "c=biws,r=" + fields["r"]
        message = ",".join([self.bare, challenge.decode(), without_proof]).encode()
        salted = hashlib.pbkdf2_hmac(digest, password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
        client_key = mac(salted, b"Client Key")
        signature = mac(hashlib.new(digest, client_key).digest(), message)
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        self.expected = b"v=" + base64.b64encode(mac(mac(salted, b"Server Key"), message))
        return (without_proof + ",p=" + base64.b64encode(proof).decode()).encode()

    def check(self, last):
        print("server proved" if last == self.expected else "server wrong: %r" % last)


def encode(message):
    return base64.b64encode(message).decode()


def imap():
    file = socket.create_connection(("127.0.0.1", int(place))).makefile("rw", newline="")

    def say(line):
        file.write(line + "\r\n")
        file.flush()

    client = Client()
    print("offered" if "AUTH=" + mechanism in file.readline() else "not offered")
    say("a AUTHENTICATE " + mechanism)
    messages = [lambda _: client.first(), client.final, lambda last: client.check(last) or b""]
    for message in messages:
        line = file.readline().rstrip()
        if not line.startswith("+"):
            break
        say(encode(message(base64.b64decode(line[2:]))))
    else:
        line = file.readline().rstrip()
    while not line.startswith("a "):
        line = file.readline().rstrip()
    print(line)


def auth():
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(place)
    file = peer.makefile("rw", newline="\n")

    def say(line):
        file.write(line + "\n")
        file.flush()

    client = Client()
    say("VERSION\t1\t3\nCPID\t4711")
    while (line := file.readline().rstrip("\n")) != "DONE":
        if line.startswith("MECH\t" + mechanism + "\t"):
            print("offered")
    say("\t".join(["AUTH", "1", mechanism, *parameters, "resp=" + encode(client.first())]))
    line = file.readline().rstrip("\n")
    if line.startswith("CONT"):
        say("CONT\t1\t" + encode(client.final(base64.b64decode(line.split("\t")[2]))))
        line = file.readline().rstrip("\n")
    if line.startswith("CONT"):
        client.check(base64.b64decode(line.split("\t")[2]))
        print("in a message of its own")
        say("CONT\t1\t")
        line = file.readline().rstrip("\n")
    fields = line.split("\t")
    for field in fields:
        if field.startswith("resp="):
            client.check(base64.b64decode(field[5:]))
    print(" ".join(field for field in fields if not field.startswith("resp=")))


imap() if kind == "imap" else auth()
