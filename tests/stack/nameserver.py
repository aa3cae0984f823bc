"""A DNS server for the scenes: answers from one zone file, and NXDOMAIN for all else. UDP and TCP.

Usage: nameserver.py ZONE-FILE IP PORT. The file is in master format (RFC 1035 §5) with absolute names, as `gatepost dkim dns` prints its
records; it is read again when it changes. Refuses to ask anybody else: no question of a test leaves the machine.
"""

import os
import socketserver
import sys
import threading
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.zone


class Zone:
    """The records of a file, as fresh as the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = -1
        self._lock = threading.Lock()
        self._zone: dns.zone.Zone

    def records(self) -> dns.zone.Zone:
        """The zone now."""
        with self._lock:
            stamp = os.stat(self._path).st_mtime_ns
            if stamp != self._stamp:
                self._zone = dns.zone.from_text(self._path.read_text(), origin=".", relativize=False, check_origin=False)
                self._stamp = stamp
            return self._zone


def answer(zone: Zone, wire: bytes, limit: int) -> bytes:
    """The reply to one query; truncated beyond `limit` octets."""
    query = dns.message.from_wire(wire)
    reply = dns.message.make_response(query, recursion_available=True)
    if query.question:
        question = query.question[0]
        node = zone.records().get_node(question.name)
        cname = node.get_rdataset(question.rdclass, dns.rdatatype.CNAME) if node else None
        found = node.get_rdataset(question.rdclass, question.rdtype) if node else None
        if node is None:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        elif (rdataset := found or cname) is not None:
            rrset = reply.find_rrset(reply.answer, question.name, question.rdclass, rdataset.rdtype, create=True)
            rrset.update(rdataset)
    try:
        return reply.to_wire(max_size=limit)
    except dns.exception.TooBig:
        reply.answer.clear()
        reply.flags |= dns.flags.TC
        return reply.to_wire()


def serve(zone: Zone, ip: str, port: int) -> None:
    """Serves until the process ends."""

    class Datagram(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            wire, socket = self.request
            query = dns.message.from_wire(wire)
            socket.sendto(answer(zone, wire, max(query.payload, 512)), self.client_address)

    class Stream(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while size := self.rfile.read(2):
                reply = answer(zone, self.rfile.read(int.from_bytes(size, "big")), 65535)
                self.wfile.write(len(reply).to_bytes(2, "big") + reply)

    socketserver.ThreadingTCPServer.allow_reuse_address = True
    tcp = socketserver.ThreadingTCPServer((ip, port), Stream)
    udp = socketserver.UDPServer((ip, port), Datagram)
    threading.Thread(target=tcp.serve_forever, daemon=True).start()
    udp.serve_forever()


if __name__ == "__main__":
    serve(Zone(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3]))
