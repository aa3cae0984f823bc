"""Last: what the daemons, after all the scenes, may still do is what their units allow."""

import os
import re
from pathlib import Path

from narrate import Story
from scenes import Scene
from stack import Stack
from units import UnitDaemon, user_namespaces_allowed

#: clone(2)'s flags in the words of /proc/PID/ns.
SEPARATE = ("mnt", "ipc", "uts", "user")


def limits(stack: Stack, story: Story) -> None:
    if not stack.confined:
        story.say("NOT RUN: this machine allows no namespaces, the daemons run without the limits of their units")
        return
    for daemon in stack.daemons.values():
        assert isinstance(daemon, UnitDaemon)
        process = Path(f"/proc/{daemon.pid}")
        status = dict(re.findall(r"^(\w+):\s+(.*)$", (process / "status").read_text(), re.M))
        story.check(f"{daemon.name}: its own user", status["Uid"].split()[1] == str(daemon.uid), status["Uid"])
        held = {name: status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb") if int(status[name], 16)}
        story.check(f"{daemon.name}: no capability, and no way to any", not held and status["NoNewPrivs"] == "1", held)
        story.check(f"{daemon.name}: system calls are filtered, by two filters", status["Seccomp"] == "2" and status["Seccomp_filters"] == "2")
        own_users = daemon.service.get("PrivateUsers") == ["yes"] and user_namespaces_allowed()
        separate = SEPARATE if own_users else SEPARATE[:-1]
        shared = [name for name in separate if os.readlink(process / f"ns/{name}") == os.readlink(f"/proc/self/ns/{name}")]
        story.check(f"{daemon.name}: namespaces of its own", not shared, shared)
        mounts = [line.split() for line in (process / "mounts").read_text().splitlines()]
        writable = {place for _, place, kind, options, *_ in mounts if "rw" in options.split(",") and kind != "proc"}
        state = daemon.state / f"{daemon.name}"
        allowed = {"/tmp", "/var/tmp", *([str(state)] if daemon.service.get("StateDirectory") else [])}
        story.check(f"{daemon.name}: writes nowhere but {', '.join(sorted(allowed))}", writable <= allowed, writable - allowed)
        visible = [path for path in ("/home", "/root", str(stack.postfix.spool)) if list((process / "root" / path[1:]).glob("*"))]
        story.check(f"{daemon.name}: sees no home, and no queue of Postfix", not visible, visible)


SCENES = [Scene("Z", "the daemons run under the limits of their systemd units", limits)]
