"""Starts a program as systemd does: listening sockets as descriptors 3, 4, …, named in LISTEN_FDNAMES, and another uid and gid.

Usage: launch.py UID NAME=FD[,NAME=FD…] PROGRAM [ARG…]
"""

import fcntl
import os
import sys

FIRST = 3


def main() -> None:
    uid, sockets, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    names, given = zip(*(one.split("=") for one in sockets.split(",")))
    # Out of the way first: a given descriptor may be one of those to be filled.
    parked = [fcntl.fcntl(int(fd), fcntl.F_DUPFD_CLOEXEC, 100) for fd in given]
    for index, fd in enumerate(parked):
        os.dup2(fd, FIRST + index, inheritable=True)
    for fd in map(int, given):
        if not FIRST <= fd < FIRST + len(parked):
            os.set_inheritable(fd, False)
    os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(parked)), "LISTEN_FDNAMES": ":".join(names)}
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    os.execv(command[0], command)


main()
