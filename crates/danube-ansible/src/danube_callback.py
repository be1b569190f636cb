# Tells Danube what a playbook does, over a socket of its own. Written out by Danube at
# the start of each run; works with ansible-core 2.12 and newer.
#
# It must never hold up or break a playbook: each send has a deadline, and when Danube
# has gone away nothing is sent any more.
from __future__ import annotations

DOCUMENTATION = r"""
name: danube
type: aggregate
short_description: tells Danube what a playbook does
description:
  - Sends plays, tasks and results as JSON lines to the socket that C(DANUBE_ANSIBLE_EVENTS) names.
  - Registers what Ansible's vault decrypts before anything can be printed of it.
"""

import base64
import json
import os
import socket
import time

from ansible import context
from ansible.parsing.vault import VaultLib
from ansible.plugins.callback import CallbackBase

# A send that takes longer means that Danube is gone or stands still.
SEND_SECONDS_MAX = 10.0

# Characters of a name or message. Danube cuts them again.
TEXT_CHARS_MAX = 1024

# Values that are registered out of one decrypted text, and characters of each.
VALUES_MAX = 2000
VALUE_CHARS_MAX = 64 * 1024

# Values are sent in lines of about this length.
BATCH_CHARS = 256 * 1024

# Shorter ones would hide ordinary text.
VALUE_CHARS_MIN = 6


class Line:
    """The connection to Danube. Forks have one of their own for each value."""

    def __init__(self):
        self.path = os.environ.get("DANUBE_ANSIBLE_EVENTS")
        self.pid = os.getpid()
        self.known = set()
        self.main = self.open() if self.path else None

    def open(self):
        # A socket's path may have 107 bytes at most; through the open directory it has few.
        directory = os.open(os.path.dirname(self.path), os.O_PATH | os.O_DIRECTORY)
        try:
            line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            line.settimeout(SEND_SECONDS_MAX)
            line.connect("/proc/self/fd/%d/%s" % (directory, os.path.basename(self.path)))
            return line
        except OSError:
            return None
        finally:
            os.close(directory)

    def tell(self, **record):
        if self.main is None or os.getpid() != self.pid:
            return
        record["at"] = time.time()
        try:
            self.main.sendall(json.dumps(record).encode() + b"\n")
        except (OSError, ValueError):
            self.main = None

    def hide(self, values):
        """Returns once Danube keeps these values out of the log."""
        fresh = [it for it in values if it not in self.known][:VALUES_MAX]
        if not fresh or self.path is None:
            return
        line = self.open()
        if line is None:
            return
        try:
            while fresh:
                texts = []
                while fresh and sum(map(len, texts)) < BATCH_CHARS:
                    value = fresh.pop()
                    self.known.add(value)
                    texts.append(base64.b64encode(value.encode("utf-8", "surrogateescape")).decode())
                line.sendall(json.dumps({"kind": "secret", "values": texts}).encode() + b"\n")
                line.recv(1)
        except (OSError, ValueError):
            pass
        finally:
            line.close()


LINE = Line()


def scalars(text):
    """The text of a decrypted value or file, and each value in it."""
    found = [text.strip("\n")]
    try:
        import yaml

        # This loader knows no tags and makes nothing but texts, lists and maps.
        pending = list(yaml.load_all(text, Loader=yaml.BaseLoader))
    except Exception:
        pending = []
    while pending and len(found) < VALUES_MAX:
        it = pending.pop()
        if isinstance(it, dict):
            pending.extend(it.values())
        elif isinstance(it, list):
            pending.extend(it)
        elif isinstance(it, str):
            found.append(it)
    return [it for it in found if VALUE_CHARS_MIN <= len(it) <= VALUE_CHARS_MAX]


def watch_vault():
    decrypt = VaultLib.decrypt_and_get_vault_id
    if getattr(decrypt, "is_danubes", False):
        return

    def decrypt_and_hide(self, *args, **kwargs):
        answer = decrypt(self, *args, **kwargs)
        plain = answer[0]
        if isinstance(plain, bytes):
            plain = plain.decode("utf-8", "surrogateescape")
        LINE.hide(scalars(plain))
        return answer

    decrypt_and_hide.is_danubes = True
    VaultLib.decrypt_and_get_vault_id = decrypt_and_hide


# Before any play is read.
watch_vault()


def text(value):
    return str(value)[:TEXT_CHARS_MAX]


def field(result, name):
    # Newer versions have public fields beside the old ones.
    return getattr(result, name) if hasattr(result, name) else getattr(result, "_" + name)


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "danube"
    # It is the only one in its directory, and a project's own list stays as it is.
    CALLBACK_NEEDS_ENABLED = False
    CALLBACK_NEEDS_WHITELIST = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.tasks = {}

    def v2_playbook_on_start(self, playbook):
        # What was decrypted before this plugin was loaded is decrypted once more.
        loader = getattr(playbook, "_loader", None)
        for given in context.CLIARGS.get("extra_vars") or ():
            if loader is None or not str(given).startswith("@"):
                continue
            try:
                with open(str(given)[1:], "rb") as file:
                    data = file.read()
                if data.startswith(b"$ANSIBLE_VAULT"):
                    loader._vault.decrypt(data)
            except Exception:
                pass

    def v2_playbook_on_play_start(self, play):
        LINE.tell(kind="play", name=text(play.get_name()))

    def task(self, task, handler=False):
        if task._uuid in self.tasks:
            return
        self.tasks[task._uuid] = len(self.tasks)
        LINE.tell(
            kind="task",
            name=text(task.get_name()),
            path=text(task.get_path() or ""),
            handler=handler,
        )

    def v2_playbook_on_task_start(self, task, is_conditional):
        self.task(task)

    def v2_playbook_on_cleanup_task_start(self, task):
        self.task(task)

    def v2_playbook_on_handler_task_start(self, task):
        self.task(task, handler=True)

    def result(self, result, status):
        task = field(result, "task")
        # Some strategies begin a task without telling.
        self.task(task)
        record = {
            "kind": "result",
            "task": self.tasks[task._uuid],
            "host": text(field(result, "host").get_name()),
            "status": status,
        }
        if status in ("failed", "unreachable", "ignored"):
            record["name"] = text(task.get_name())
            outcome = field(result, "result")
            hidden = outcome.get("_ansible_no_log") or task.no_log
            message = outcome.get("msg") or outcome.get("stderr") or outcome.get("module_stderr")
            if message and not hidden:
                record["message"] = text(message)
        LINE.tell(**record)

    def v2_runner_on_ok(self, result):
        self.result(result, "changed" if field(result, "result").get("changed") else "ok")

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.result(result, "ignored" if ignore_errors else "failed")

    def v2_runner_on_unreachable(self, result):
        may = getattr(field(result, "task"), "ignore_unreachable", False)
        self.result(result, "ignored" if may else "unreachable")

    def v2_runner_on_skipped(self, result):
        self.result(result, "skipped")

    def v2_playbook_on_stats(self, stats):
        hosts = {}
        for host in sorted(stats.processed):
            sums = stats.summarize(host)
            sums["failed"] = sums.pop("failures", 0)
            hosts[text(host)] = sums
        LINE.tell(kind="stats", hosts=hosts)
