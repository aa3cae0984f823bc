"""Debian's Roundcube, privately: PHP's own web server as www-data, a configuration, a SQLite file and logs of its own; and a user's browser.

What the package has set up for the system's web server is not touched: its program is read where the package put it, and everything else lies in
the directory of the stack.
"""

import html
import http.cookiejar
import json
import os
import re
import shutil
import sqlite3
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from servers import Child
from settings import Ports

PROGRAM = Path("/usr/share/roundcube")
#: Where the package lets a web server look: index.php and links to skins and plugins.
DOCUMENTS = Path("/var/lib/roundcube/public_html")


def missing() -> str | None:
    """Why Roundcube cannot be played with, or nothing."""
    if not shutil.which("php"):
        return "php is not installed (tests/install-packages)"
    if not (DOCUMENTS / "index.php").exists():
        return "Roundcube is not installed (tests/install-packages)"
    return None


class Roundcube:
    """The web server; `stop` ends it."""

    def __init__(self, directory: Path, ports: Ports) -> None:
        self.address = f"http://127.0.0.1:{ports.web}/"
        place = directory / "roundcube"
        self.errors = place / "logs/errors.log"
        for name in ("config", "logs", "temp"):
            (place / name).mkdir(parents=True)
        for name in ("defaults.inc.php", "mimetypes.php"):
            (place / "config" / name).symlink_to(Path("/etc/roundcube") / name)
        (place / "config/config.inc.php").write_text(configuration(directory, place, ports))
        with sqlite3.connect(place / "roundcube.db") as database:
            database.executescript((PROGRAM / "SQL/sqlite.initial.sql").read_text())
        database.close()
        for path in (place, *place.rglob("*")):
            if not path.is_symlink():
                shutil.chown(path, "www-data", "www-data")
        words = ["setpriv", "--reuid=www-data", "--regid=www-data", "--init-groups", "env", f"ROUNDCUBE_CONFIG_DIR={place}/config"]
        words += ["php", "-d", f"session.save_path={place}/temp", "-d", "display_errors=0"]
        # One process answers one request at a time; a page of Roundcube asks for nothing of its own server.
        self._child = Child([*words, "-S", f"127.0.0.1:{ports.web}", "-t", DOCUMENTS], directory / "log/roundcube.log")
        self._child.answers_on(ports.web)

    def stop(self) -> None:
        """Ends it."""
        self._child.stop()


def configuration(directory: Path, place: Path, ports: Ports) -> str:
    """As README's page on the tutorial's server has it, with the ports and the certificate of this stack."""
    tls = f"['ssl' => ['verify_peer' => true, 'verify_peer_name' => true, 'cafile' => '{directory}/etc/tls/fullchain.pem']]"
    return f"""<?php
$config = [];
$config['db_dsnw'] = 'sqlite:///{place}/roundcube.db?mode=0640';
$config['imap_host'] = 'ssl://localhost:{ports.imaps}';
$config['imap_conn_options'] = {tls};
$config['smtp_host'] = 'tls://localhost:{ports.submission}';
$config['smtp_user'] = '%u';
$config['smtp_pass'] = '%p';
$config['smtp_conn_options'] = {tls};
$config['plugins'] = ['managesieve'];
$config['managesieve_host'] = 'tls://localhost:{ports.sieve}';
$config['managesieve_conn_options'] = {tls};
$config['des_key'] = '{os.urandom(12).hex()}';
$config['log_dir'] = '{place}/logs/';
$config['temp_dir'] = '{place}/temp/';
$config['skin'] = 'elastic';
$config['language'] = 'en_US';
$config['enable_installer'] = false;
"""


class Browser:
    """A user's browser: cookies, Roundcube's request token, forms."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
        self._token = ""

    def get(self, **where: str) -> str:
        """A page."""
        return self._open(where, None, {})

    def remote(self, **where: str) -> dict[str, Any]:
        """What the page's script fetches."""
        return json.loads(self._open({**where, "_remote": "1"}, None, {"X-Roundcube-Request": self._token}))

    def post(self, where: dict[str, str], **form: str) -> str:
        """A form, with the token."""
        return self._open(where, {"_token": self._token, **form}, {})

    def _open(self, where: dict[str, str], form: dict[str, str] | None, headers: dict[str, str]) -> str:
        url = f"{self._address}?{urllib.parse.urlencode(where)}"
        data = urllib.parse.urlencode(form).encode() if form is not None else None
        try:
            answer = self._opener.open(urllib.request.Request(url, data, headers), timeout=90)
        except urllib.error.HTTPError as refusal:
            # A page as well: a login that is refused comes with 401.
            answer = refusal
        with answer:
            text = answer.read().decode(errors="replace")
            self.url = answer.url
        if found := re.search(r'"request_token":"(\w+)"', text) or re.search(r'name="_token" value="(\w+)"', text):
            self._token = found[1]
        return text

    def log_in(self, user: str, password: str) -> str:
        """The page after the login: the mailbox, or the login form again with its complaint."""
        self.get(_task="login")
        return self.post({"_task": "login"}, _task="login", _action="login", _timezone="UTC", _url="", _user=user, _pass=password)

    def subjects(self, folder: str) -> dict[str, str]:
        """Subjects of a folder's list, by number."""
        answer = self.remote(_task="mail", _action="list", _mbox=folder)
        return {number: json.loads(f'"{subject}"') for number, subject in re.findall(r'add_message_row\((\d+),\{"subject":"((?:[^"\\]|\\.)*)"', answer["exec"])}

    def show(self, folder: str, number: str) -> str:
        """A message as it is shown, without markup."""
        page = self.get(_task="mail", _action="show", _mbox=folder, _uid=number)
        return html.unescape(re.sub(r"<[^>]+>", "", page))

    def send(self, to: str, subject: str, text: str) -> str:
        """Writes and sends a message; what the page is told."""
        page = self.get(_task="mail", _action="compose")
        number = urllib.parse.parse_qs(urllib.parse.urlsplit(self.url).query)["_id"][0]
        sender = re.search(r'<select name="_from"[^>]*>\s*<option value="(\d+)"', page) or re.search(r'name="_from" value="(\d+)"', page)
        assert sender, page
        fields = {"_task": "mail", "_action": "send", "_id": number, "_from": sender[1], "_to": to, "_subject": subject, "_message": text}
        more = {"_cc": "", "_bcc": "", "_replyto": "", "_followupto": "", "_attachments": "", "_draft": "", "_draft_saveid": "", "_is_html": "0"}
        return self.post({"_task": "mail", "_framed": "1", "_lang": "en_US"}, **fields, **more, _store_target="Sent", _priority="0")

    def add_filter(self, name: str, word: str, folder: str) -> str:
        """Adds a filter: a word in the subject moves the message to a folder."""
        where = {"_task": "settings", "_action": "plugin.managesieve-save", "_framed": "1"}
        rule = {"_header[0]": "subject", "_rule_op[0]": "contains", "_rule_target[0]": word}
        action = {"_action_type[0]": "fileinto", "_action_mailbox[0]": folder}
        self.get(_task="settings", _action="plugin.managesieve")
        return self.post(where, _task="settings", _action="plugin.managesieve-save", _fid="", _name=name, _enabled="1", _join="allof", **rule, **action)
