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
import sys
import time

from ansible import context
from ansible.errors import AnsibleError
from ansible.executor.task_queue_manager import TaskQueueManager
from ansible.parsing.vault import VaultLib
from ansible.plugins.callback import CallbackBase

# A send that takes longer means that Danube is gone or stands still.
SEND_SECONDS_MAX = 10.0

# Characters of a name or message. Danube cuts them again.
TEXT_CHARS_MAX = 1024

# Values that are registered out of one decrypted text.
VALUES_MAX = 10_000

# Characters of a value that Danube takes; of a longer one it gets the lines.
VALUE_CHARS_MAX = 64 * 1024

# Files below an inventory that are looked at.
FILES_MAX = 10_000

# Values are sent in lines of about this length.
BATCH_CHARS = 256 * 1024

# What every encrypted file begins with.
HEAD = b"$ANSIBLE_VAULT"

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
        """Returns once Danube keeps these values out of the log; fails when it can't."""
        fresh = [it for it in values if it not in self.known]
        if not fresh or self.path is None:
            return
        line = self.open()
        try:
            while fresh:
                batch, chars = [], 0
                while fresh and chars < BATCH_CHARS:
                    batch.append(fresh.pop())
                    chars += len(batch[-1])
                texts = [base64.b64encode(it.encode("utf-8", "surrogateescape")).decode() for it in batch]
                line.sendall(json.dumps({"kind": "secret", "values": texts}).encode() + b"\n")
                if line.recv(1) != b"\n":
                    raise OSError("no answer")
                self.known.update(batch)
        except (AttributeError, OSError, ValueError) as error:
            # Rather no playbook than a secret in a log.
            raise AnsibleError("Danube can't keep a decrypted value out of the log: %s" % error)
        finally:
            if line is not None:
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
    while pending:
        if len(found) > VALUES_MAX:
            raise AnsibleError("a vaulted text holds more than %d values" % VALUES_MAX)
        it = pending.pop()
        if isinstance(it, dict):
            pending.extend(it.values())
        elif isinstance(it, list):
            pending.extend(it)
        elif isinstance(it, str):
            found.append(it)
            # An inventory in INI: what stands behind its equals signs.
            found.extend(word.partition("=")[2].strip("'\"") for word in it.split() if "=" in word)
    parts = []
    for it in found:
        parts.extend([it] if len(it) <= VALUE_CHARS_MAX else it.splitlines())
    return [it for it in parts if VALUE_CHARS_MIN <= len(it) <= VALUE_CHARS_MAX]


def files_below(path):
    """The file, or the files below the directory: hidden ones are nobody's variables."""
    if os.path.isfile(path):
        yield path
    for base, directories, files in os.walk(path):
        directories[:] = [it for it in directories if not it.startswith(".")]
        for name in files:
            yield os.path.join(base, name)


def read_before(loader):
    """The files that Ansible may have read and decrypted before this plugin was loaded."""
    args = context.CLIARGS
    for given in args.get("extra_vars") or ():
        if str(given).startswith("@"):
            yield str(given)[1:]
    for given in args.get("inventory") or ():
        given = str(given)
        yield from files_below(given)
        for name in ("group_vars", "host_vars"):
            yield from files_below(os.path.join(os.path.dirname(given), name))
    for given in args.get("args") or ():
        yield str(given)
        for name in ("group_vars", "host_vars"):
            yield from files_below(os.path.join(os.path.dirname(str(given)), name))
    # Imported playbooks and whatever else it keeps.
    yield from list(getattr(loader, "_FILE_CACHE", ()))


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

# What makes a sequence in the output Danube's own. Tasks don't inherit it.
FOLDS = os.environ.pop("DANUBE_ANSIBLE_FOLDS", None) or getattr(TaskQueueManager, "danube_folds", None)
TaskQueueManager.danube_folds = FOLDS


def fold(says):
    """Says in the output that something begins with what is printed next. Danube takes it out."""
    if FOLDS is None or os.getpid() != LINE.pid:
        return
    try:
        sys.stdout.flush()
        # Less than a pipe takes at once, so nothing comes between.
        os.write(1, ("\x1b]danube-fold;%s;%s\x07" % (FOLDS, says)).encode())
    except (AttributeError, OSError, ValueError):
        pass


def watch_starts():
    """Ansible asks the callback that prints before all others; this one has to come first."""
    send = TaskQueueManager.send_callback
    if getattr(send, "is_danubes", False):
        return

    def begin_and_send(self, method_name, *args, **kwargs):
        try:
            for plugin in self._callback_plugins:
                if getattr(plugin, "CALLBACK_NAME", None) == "danube" and not plugin.disabled:
                    plugin.begins(method_name, *args)
        except Exception:
            # No playbook fails because something isn't told.
            pass
        return send(self, method_name, *args, **kwargs)

    begin_and_send.is_danubes = True
    TaskQueueManager.send_callback = begin_and_send


watch_starts()


def text(value):
    return str(value)[:TEXT_CHARS_MAX]


def field(result, name):
    # Newer versions have public fields beside the old ones.
    return getattr(result, name) if hasattr(result, name) else getattr(result, "_" + name)


# With which tasks begin, and whether they are handlers.
TASK_STARTS = {
    "v2_playbook_on_task_start": False,
    "v2_playbook_on_cleanup_task_start": False,
    "v2_playbook_on_handler_task_start": True,
}


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "danube"
    # It is the only one in its directory, and a project's own list stays as it is.
    CALLBACK_NEEDS_ENABLED = False
    CALLBACK_NEEDS_WHITELIST = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.disabled = False
        self.plays = 0
        # The numbers of this play's tasks.
        self.tasks = {}
        self.next_task = 0
        # The play that begins was told before it was printed.
        self.is_told = False

    def begins(self, method_name, *args):
        """Called before anything is printed of what Ansible tells its callbacks."""
        if method_name == "v2_playbook_on_play_start":
            self.play(args[0], folds=True)
            self.is_told = True
        elif method_name == "v2_playbook_on_stats":
            fold("e")
        elif method_name in TASK_STARTS and not getattr(args[0], "implicit", False):
            self.task(args[0], handler=TASK_STARTS[method_name], folds=True)

    def v2_playbook_on_start(self, playbook):
        # What was decrypted before this plugin was loaded is decrypted once more.
        loader = getattr(playbook, "_loader", None)
        if loader is None:
            return
        seen = set()
        for path in read_before(loader):
            path = os.path.realpath(str(path))
            if path in seen or len(seen) >= FILES_MAX:
                continue
            seen.add(path)
            try:
                with open(path, "rb") as file:
                    if not file.read(len(HEAD)).startswith(HEAD):
                        continue
                    file.seek(0)
                    data = file.read()
            except OSError:
                continue
            try:
                loader._vault.decrypt(data)
            except AnsibleError as error:
                # One that no password opens wasn't read by Ansible either.
                if str(error).startswith("Danube"):
                    # Raised here, it would only be a warning.
                    sys.stderr.write("ERROR! %s\n" % error)
                    sys.stderr.flush()
                    os._exit(1)

    def play(self, play, folds=False):
        # The next batch of hosts (`serial`) is a play of its own with the same tasks.
        self.tasks = {}
        if folds:
            fold("p%d" % self.plays)
        self.plays += 1
        LINE.tell(kind="play", name=text(play.get_name()))

    def v2_playbook_on_play_start(self, play):
        if not self.is_told:
            self.play(play)
        self.is_told = False

    def task(self, task, handler=False, folds=False):
        if task._uuid in self.tasks:
            return
        if folds:
            fold("t%d" % self.next_task)
        self.tasks[task._uuid] = self.next_task
        self.next_task += 1
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
