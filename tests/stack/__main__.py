"""Plays the scenes of the whole mail server: `python3 tests/stack [--aloud] [--keep] [--scenes all|demo|LETTERS] PROGRAMS|--installed|--list`.

PROGRAMS is the directory with our binaries. The last line is `N passed, N failed`; the status is 0 if nothing failed.
"""

import argparse
import os
import signal
import sys
from pathlib import Path
from types import FrameType

sys.dont_write_bytecode = True

from installed import Installed
from narrate import Story
from scenes import all_scenes
from stack import ALICE, PASSWORDS, Stack

#: Scenes that may fail before the rest is left out.
ENOUGH = 8


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/stack", description="Plays the scenes of the whole mail server.")
    parser.add_argument("programs", type=Path, nargs="?", help="the directory with our binaries")
    parser.add_argument("--installed", action="store_true", help="on what our packages installed: takes the host's places (tests/installation)")
    parser.add_argument("--aloud", action="store_true", help="tell everything that is sent, answered and stored")
    parser.add_argument("--keep", action="store_true", help="leave the server running after the scenes, until Ctrl-C")
    parser.add_argument("--scenes", default="all", metavar="WHICH", help="all, demo (the main job), or letters such as abf")
    parser.add_argument("--list", action="store_true", help="print the letters and titles of the scenes, and play none")
    parser.add_argument("--logs", type=Path, metavar="DIR", help="copy the logs of all servers there at the end")
    arguments = parser.parse_args()
    if arguments.list:
        for scene in all_scenes():
            print(f"{scene.letter}  {scene.title}{'  (demo)' if scene.demo else ''}")
        return 0
    if os.geteuid() != 0:
        sys.exit("tests/stack: Postfix and Dovecot must be started by root")
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, interrupted)
    story = Story(arguments.aloud)
    if not arguments.installed and not arguments.programs:
        parser.error("PROGRAMS is missing")
    stack = Installed() if arguments.installed else Stack(arguments.programs)
    try:
        play(stack, story, arguments.scenes)
        if arguments.keep:
            keep(stack)
    except KeyboardInterrupt:
        story.check("all scenes are played", False, "interrupted")
    finally:
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(name, signal.SIG_IGN)
        with story.scene("end", "everything stops, and nothing is left"):
            stack.stop(arguments.logs)
            story.check("all processes ended, the directory is gone", not (left := leftovers(stack.directory)), left)
    return 0 if story.summary() else 1


def interrupted(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def play(stack: Stack, story: Story, which: str) -> None:
    """Starts the server and plays the scenes; after each the daemons must be well."""
    with story.scene("start", "PostgreSQL, our three daemons, Postfix and Dovecot start"):
        stack.start()
        story.say(f"Dovecot {stack.dovecot.version} and Postfix {stack.postfix.version}, in {stack.directory}")
        story.say("our daemons run under the limits of their systemd units" if stack.confined else "no namespaces here: our daemons run without the limits of their units")
        memory(stack, story, "idle")
        story.check("everything runs", not stack.ailments(), stack.ailments())
    if story.failed:
        return
    for scene in all_scenes():
        if not scene.wanted(which):
            continue
        with story.scene(scene.letter, scene.title):
            scene.play(stack, story)
            story.check("our daemons are well", not stack.ailments(), stack.ailments())
        if story.broken >= ENOUGH:
            story.check("all scenes are played", False, f"{story.broken} scenes failed, and each waits for what does not come: the rest is not played")
            break
    memory(stack, story, "after the last scene")


def memory(stack: Stack, story: Story, when: str) -> None:
    """Tells what memory each daemon uses."""
    for daemon in stack.daemons.values():
        resident, proportional = daemon.memory()
        story.figure(f"memory {when}: {daemon.name} {resident / 1024:.1f} MiB resident ({proportional / 1024:.1f} MiB proportional)")


def keep(stack: Stack) -> None:
    """Tells how to use the running server, and waits for Ctrl-C."""
    ports, directory = stack.ports, stack.directory
    print(
        f"""
The server keeps running. Ctrl-C, or `kill {os.getpid()}`, stops it and removes {directory}.

Mail program   user {ALICE}, password {PASSWORDS[ALICE]} (bob, carl@123qwe.com alike); certificate {directory}/etc/tls/fullchain.pem
               IMAP 127.0.0.1 port {ports.imaps} (TLS) or {ports.imap} (STARTTLS), POP3 {ports.pop3s}, ManageSieve {ports.sieve}
               SMTP 127.0.0.1 port {ports.submissions} (TLS) or {ports.submission} (STARTTLS)
From outside   swaks --server 127.0.0.1:{ports.smtp} --xclient 'ADDR=192.0.2.7 NAME=mx.outside.test' --from berta@outside.test --to {ALICE}
Database       setpriv --reuid=postgres --regid=postgres --init-groups psql -h {stack.postgres.socket} -p {ports.postgresql} mail_server
Admin tool     setpriv --reuid=postgres --regid=postgres --init-groups {stack.programs}/gatepost --config {stack.config} check
Sockets        postmap -q boss@example.com socketmap:unix:{directory}/spool/run/gatepost/socketmap.sock:aliases
               {" ".join(str(one.path) for daemon in stack.daemons.values() for one in daemon.sockets)}
Doveadm        doveadm -c {stack.dovecot.config} user '*'
Queue          postqueue -c {stack.postfix.config} -p
Logs           tail -F {directory}/log/*.log
What left      {stack.outside.mail}
""",
        flush=True,
    )
    try:
        signal.pause()
    except KeyboardInterrupt:
        print("stopping")


def leftovers(directory: Path) -> list[str]:
    """Processes that still have to do with the directory, and the directory itself."""
    found = [str(directory)] if directory.exists() else []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            traces = [(process / "cmdline").read_bytes().decode(errors="replace")] + [
                os.readlink(process / name) for name in ("cwd", "exe")
            ]
        except OSError:
            continue
        if any(str(directory) in trace for trace in traces):
            found.append(f"process {process.name}: {traces[0]}".replace("\0", " "))
    return found


if __name__ == "__main__":
    sys.exit(main())
