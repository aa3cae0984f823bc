"""Starts a program under the limits of its systemd unit, without systemd: sandbox.py JSON PROGRAM [ARG…]

JSON is what `units.py` makes: user, sockets, directives, the system calls allowed. Done with the same means of the kernel: mount, user and
IPC namespaces, an empty capability set, no-new-privileges, seccomp filters (by libseccomp, which Debian's apt needs anyway). Stricter
than the unit in one thing: a forbidden system call can end the process, so that a test sees it.
"""

import ctypes
import fcntl
import json
import os
import resource
import sys
from pathlib import Path

FIRST = 3
libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER = 0x20000, 0x4000000, 0x8000000, 0x10000000
#: Every CLONE_NEW… (clone(2), unshare(2)): time, mount, cgroup, uts, ipc, user, pid, net.
NAMESPACES = (0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 8, 4096, 16384, 1 << 18
AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY, SYS_MOUNT_SETATTR = -100, 0x8000, 1, 442
PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP, PR_CAPBSET_READ = 38, 24, 23
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}


def main() -> None:
    specification, command = json.loads(sys.argv[1]), sys.argv[2:]
    limits = specification["limits"]
    pass_sockets(specification["sockets"])
    confine_files(specification)
    limit_resources(limits)
    become(specification["uid"], specification["gid"], private=limits.get("PrivateUsers") == ["yes"])
    confine_calls(specification)
    os.execv(command[0], command)


def pass_sockets(sockets: dict[str, int]) -> None:
    """As descriptors 3, 4, …, out of the way first: a given one may be one of those to be filled."""
    parked = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in sockets.values()]
    for index, fd in enumerate(parked):
        os.dup2(fd, FIRST + index, inheritable=True)
    for fd in sockets.values():
        if not FIRST <= fd < FIRST + len(parked):
            os.set_inheritable(fd, False)
    os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(parked)), "LISTEN_FDNAMES": ":".join(sockets)}
    os.environ["WATCHDOG_PID"] = str(os.getpid())


def confine_files(specification: dict) -> None:
    """What the unit lets the daemon see and write: a mount namespace, read-only but for its state."""
    limits = specification["limits"]
    yes = lambda key: limits.get(key) == ["yes"]
    checked(libc.unshare(CLONE_NEWNS | (CLONE_NEWIPC if yes("PrivateIPC") else 0) | (CLONE_NEWUTS if yes("ProtectHostname") else 0)), "unshare")
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    kept = os.open(specification["keep"], os.O_PATH) if specification["keep"] else None
    if yes("PrivateTmp"):
        for directory in ("/tmp", "/var/tmp"):
            mount("tmpfs", directory, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    if kept is not None:
        Path(specification["keep"]).mkdir(parents=True, exist_ok=True)
        mount(f"/proc/self/fd/{kept}", specification["keep"], "", MS_BIND | MS_REC)
        os.close(kept)
    if yes("PrivateDevices"):
        private_devices()
    if yes("ProtectHome"):
        for directory in ("/home", "/root", "/run/user"):
            hide(directory)
    for line in limits.get("InaccessiblePaths", []):
        for path in line.split():
            if not os.path.exists(path.removeprefix("-")) and not path.startswith("-"):
                sys.exit(f"sandbox: InaccessiblePaths={path}: not there")
            hide(path.removeprefix("-"))
    for directory in specification["writable"]:
        mount(directory, directory, "", MS_BIND)
    if limits.get("ProtectSystem") != ["strict"]:
        sys.exit("sandbox: ProtectSystem= is not strict")
    mount_attributes("/", MOUNT_ATTR_RDONLY, 0, AT_RECURSIVE)
    for directory in specification["writable"]:
        mount_attributes(directory, 0, MOUNT_ATTR_RDONLY, 0)
    for directory in ("/tmp", "/var/tmp") if yes("PrivateTmp") else ():
        mount_attributes(directory, 0, MOUNT_ATTR_RDONLY, 0)
    # Last: what is done above looks at /proc/self.
    options = f"hidepid={limits['ProtectProc'][0]}"
    if limits["ProcSubset"] != ["all"]:
        options += f",subset={limits['ProcSubset'][0]}"
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, options)


def private_devices() -> None:
    names = ("null", "zero", "full", "random", "urandom", "tty")
    nodes = {name: os.open(f"/dev/{name}", os.O_PATH) for name in names}
    mount("tmpfs", "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755")
    for name, fd in nodes.items():
        Path("/dev", name).touch()
        mount(f"/proc/self/fd/{fd}", f"/dev/{name}", "", MS_BIND)
        os.close(fd)
    Path("/dev/shm").mkdir()


def hide(path: str) -> None:
    """Puts something over it that nobody may open."""
    if os.path.isdir(path):
        mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=000,size=4k")
    elif os.path.exists(path):
        mount("/dev/null", path, "", MS_BIND)


def limit_resources(limits: dict[str, list[str]]) -> None:
    for key, number in (("LimitNOFILE", resource.RLIMIT_NOFILE), ("LimitCORE", resource.RLIMIT_CORE)):
        if key in limits:
            resource.setrlimit(number, (int(limits[key][0]), int(limits[key][0])))
    os.umask(int(limits["UMask"][0], 8))


def become(uid: int, gid: int, private: bool) -> None:
    """Another user, for good, without any capability; with `private` in a user namespace that knows him and root only."""
    os.setgroups([])
    if private:
        told, tell = os.pipe()
        parent = os.getpid()
        helper = os.fork()
        if helper == 0:
            # From outside, as systemd does: inside nobody may map root.
            os.read(told, 1)
            for kind, number in (("uid", uid), ("gid", gid)):
                Path(f"/proc/{parent}/{kind}_map").write_text(f"0 0 1\n{number} {number} 1\n")
            os._exit(0)
        checked(libc.unshare(CLONE_NEWUSER), "unshare user")
        os.write(tell, b".")
        if os.waitpid(helper, 0)[1]:
            sys.exit("sandbox: the user namespace cannot be mapped")
        os.close(told)
        os.close(tell)
    for capability in range(64):
        if libc.prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1:
            checked(libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0), "dropping capabilities")
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    status = Path("/proc/self/status").read_text()
    for line in ("CapEff", "CapPrm", "CapBnd", "CapAmb", "CapInh"):
        if f"{line}:\t0000000000000000" not in status:
            sys.exit(f"sandbox: {line} is not empty:\n{status}")


# --- System calls

KILL, ALLOW, EPERM, EAFNOSUPPORT, ENOSYS = 0x80000000, 0x7FFF0000, 1, 97, 38
EQUAL, GREATER, MASKED = 4, 6, 7


class Compare(ctypes.Structure):
    """struct scmp_arg_cmp of libseccomp."""

    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def errno(number: int) -> int:
    return 0x00050000 | number


class Filter:
    """One seccomp filter; several add up, the strictest answer counts."""

    def __init__(self, default: int) -> None:
        self._library = ctypes.CDLL("libseccomp.so.2")
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(default)))
        self._default = default

    def rule(self, action: int, name: str, *compare: tuple[int, int, int, int]) -> None:
        """One call; names that this machine does not have are left out, as systemd does."""
        number = self._library.seccomp_syscall_resolve_name(name.encode())
        if number < 0 or action == self._default:
            return
        values = (Compare * len(compare))(*(Compare(*one) for one in compare))
        checked(
            self._library.seccomp_rule_add_array(self._context, ctypes.c_uint32(action), number, len(compare), values), f"seccomp rule for {name}"
        )

    def load(self) -> None:
        checked(self._library.seccomp_load(self._context), "loading a seccomp filter")


def confine_calls(specification: dict) -> None:
    """systemd's filters, one for each directive; the allow list last, as it would not let the others be loaded."""
    limits = specification["limits"]
    others = Filter(ALLOW)
    families = [FAMILIES[name] for name in " ".join(limits["RestrictAddressFamilies"]).split()]
    for family in range(64):
        if family not in families:
            others.rule(errno(EAFNOSUPPORT), "socket", (0, EQUAL, family, 0))
    others.rule(errno(EAFNOSUPPORT), "socket", (0, GREATER, 63, 0))
    prot_write_exec, prot_exec, shm_exec = 2 | 4, 4, 0o100000
    others.rule(errno(EPERM), "mmap", (2, MASKED, prot_write_exec, prot_write_exec))
    others.rule(errno(EPERM), "mprotect", (2, MASKED, prot_exec, prot_exec))
    others.rule(errno(EPERM), "pkey_mprotect", (2, MASKED, prot_exec, prot_exec))
    others.rule(errno(EPERM), "shmat", (2, MASKED, shm_exec, shm_exec))
    for flag in NAMESPACES:
        for call in ("clone", "unshare"):
            others.rule(errno(EPERM), call, (0, MASKED, flag, flag))
    # Its flags are in memory, where no filter looks; the C library falls back to clone.
    others.rule(errno(ENOSYS), "clone3")
    others.rule(errno(EPERM), "setns")
    for policy in (1, 2, 6):
        others.rule(errno(EPERM), "sched_setscheduler", (1, EQUAL, policy, 0))
    for call, argument in (("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("mknod", 1), ("mknodat", 2)):
        for bit in (0o4000, 0o2000):
            others.rule(errno(EPERM), call, (argument, MASKED, bit, bit))
    others.rule(errno(EPERM), "personality", (0, GREATER, 0, 0))
    others.load()
    allowed = Filter(KILL if specification["forbidden"] == "kill" else errno(EPERM))
    for name in specification["calls"]:
        allowed.rule(ALLOW, name)
    allowed.load()


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    outcome = libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode())
    checked(outcome, f"mount {kind or source} on {target}")


def mount_attributes(path: str, on: int, off: int, flags: int) -> None:
    """mount_setattr(2)."""
    attributes = (ctypes.c_uint64 * 4)(on, off, 0, 0)
    checked(libc.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, path.encode(), flags, attributes, 32), f"mount_setattr {path}")


def checked(outcome: int, what: str) -> None:
    if outcome < 0:
        sys.exit(f"sandbox: {what}: {os.strerror(ctypes.get_errno() or -outcome)}")


main()
