"""An HTTPS server for MTA-STS policies: https.py DIRECTORY CERTIFICATE KEY; prints its port, then each request as `HOST PATH`, and what
is written into DIRECTORY/../mark.

What it answers for a host is the file of that name in DIRECTORY: `HOST.txt` as text/plain, `HOST.html` as text/html, `HOST.redirect`
as 302 to what it holds; for `HOST.slow` it waits ten seconds, for `HOST.big` it sends without end.
"""

import http.server
import pathlib
import ssl
import sys
import threading
import time

directory, certificate, key = sys.argv[1:]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        host = self.headers["Host"].split(":")[0]
        print(host, self.path, flush=True)
        file = next(iter(sorted(pathlib.Path(directory).glob(f"{host}.*"))), None)
        if file is None or self.path != "/.well-known/mta-sts.txt":
            return self.send_error(404)
        kind = file.suffix
        if kind == ".slow":
            time.sleep(10)
        self.send_response(302 if kind == ".redirect" else 200)
        if kind == ".redirect":
            self.send_header("Location", file.read_text().strip())
        self.send_header("Content-Type", "text/html" if kind == ".html" else "text/plain; charset=utf-8")
        if kind != ".big":
            # Without it the end of the connection would be the end of the policy, and that must not count (RFC 9112, 9.8).
            self.send_header("Content-Length", str(file.stat().st_size))
        self.end_headers()
        while kind == ".big":
            self.wfile.write(b"x" * 65536)
        self.wfile.write(file.read_bytes())

    def log_message(self, *_):
        pass


def marks():
    last = ""
    while True:
        time.sleep(0.02)
        file = pathlib.Path(directory).parent / "mark"
        mark = file.read_text() if file.exists() else ""
        if mark != last:
            last = mark
            print(mark, flush=True)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass


server = Server(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(server.server_address[1], flush=True)
threading.Thread(target=marks, daemon=True).start()
server.serve_forever()
