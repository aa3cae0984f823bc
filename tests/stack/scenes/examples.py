"""Before the scenes: examples/gatepost.toml is read by every daemon, and shows every key with its default."""

import difflib
import re

from narrate import Story
from scenes import Scene
from servers import VMAIL, run
from settings import EXAMPLES
from stack import Stack

#: What the example sets otherwise than the default, and says so.
NO_DEFAULTS = r"^(?:database-user|database-password-file) = .*\n|^[a-z-]+ = \[\"systemd:.*\n"
#: The account that owns the mail is the operator's; here it has only a number.
ACCOUNT = {'uid = "vmail"\n': f'uid = "{VMAIL}"\n', 'gid = "vmail"\n': f'gid = "{VMAIL}"\n'}


def examples(stack: Stack, story: Story) -> None:
    text = (EXAMPLES / "gatepost.toml").read_text()
    shown = stack.directory / "etc/gatepost/example.toml"
    shown.write_text(replaced(re.sub(NO_DEFAULTS, "", text, flags=re.M)))
    defaults = stack.directory / "etc/gatepost/defaults.toml"
    defaults.write_text(replaced('[dovecot-auth]\nuid = "vmail"\ngid = "vmail"\n'))
    for daemon in stack.daemons.values():
        ours, theirs = (effective(run(daemon.program, "--config", file, "check")) for file in (shown, defaults))
        different = "\n".join(difflib.unified_diff(theirs, ours, "default", "example", lineterm=""))
        story.check(f"{daemon.name}: the example shows the defaults", not different, different)
        missing = [key for key in keys(theirs) if not re.search(rf"^(?:# )?{key} = |^\[+(?:[a-z-]+\.)?{key}\]", text, re.M)]
        story.check(f"{daemon.name}: the example shows every key", not missing, missing)


def replaced(text: str) -> str:
    """With the number of the account."""
    for old, new in ACCOUNT.items():
        text = text.replace(old, new)
    return text


def effective(output: str) -> list[str]:
    """The sections as `check` prints them: the lines between the addresses and the note about the database."""
    lines = output.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("Database {"))
    return [line for line in lines[start:] if ": note: " not in line]


def keys(sections: list[str]) -> list[str]:
    """The keys of sections, and of tables within them."""
    found = []
    table = False
    for line in sections:
        if match := re.match(r"    (\w+): (\w+ \{)?", line):
            table = match[2] is not None
            found.append(match[1])
        elif table and (match := re.match(r"        (\w+): ", line)):
            found.append(match[1])
    return [key.replace("_", "-") for key in found]


SCENES = [Scene("0", "examples/gatepost.toml is read by every daemon and shows every key with its default", examples)]
