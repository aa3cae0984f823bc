"""What systemd does for a socket-activated service: activate.py NAME=PATH... -- COMMAND...

Listens on every PATH, starts COMMAND with the listening sockets as `sd_listen_fds(3)` says, and starts it again when it has ended; the sockets
stay open in between. Standard input: `kill` or `term` sends that signal and prints how long it took until the next process was
there; its end ends all.
"""

import os
import signal
import socket
import sys
import time

separator = sys.argv.index("--")
names, command = [argument.split("=", 1) for argument in sys.argv[1:separator]], sys.argv[separator + 1 :]
listeners = []
for _, path in names:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    # As systemd's default.
    listener.listen(4096)
    os.chmod(path, 0o666)
    listeners.append(listener)


def start() -> int:
    pid = os.fork()
    if pid:
        return pid
    # Moved away first, so that none is overwritten.
    moved = [os.dup(listener.fileno()) for listener in listeners]
    high = [os.dup2(fd, 100 + number) for number, fd in enumerate(moved)]
    for number, fd in enumerate(high):
        os.dup2(fd, 3 + number, inheritable=True)
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(high)), LISTEN_FDNAMES=":".join(name for name, _ in names))
    os.execvp(command[0], command)


pid = start()
print("started", flush=True)
try:
    for line in sys.stdin:
        os.kill(pid, {"kill": signal.SIGKILL, "term": signal.SIGTERM}[line.strip()])
        begun = time.monotonic()
        _, status = os.waitpid(pid, 0)
        pid = start()
        print(f"ended {status} after {time.monotonic() - begun:.3f} s", flush=True)
finally:
    os.kill(pid, signal.SIGTERM)
    os.waitpid(pid, 0)
