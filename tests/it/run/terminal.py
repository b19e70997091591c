"""`musterd run` in a terminal: Ctrl-C reaches the command, and run between two starts; a job in the background leaves the
terminal to its shell. Arguments: the binary."""

import os
import pty
import re
import signal
import sys
import time

RUN = [sys.argv[1], "run", "--address", "127.0.0.1:1", "--name", "web", "--port", "1", "--ready", "none", "--drain", "0"]
PATIENCE = 30


def terminal(*command):
    """The command in the foreground of a terminal of its own: its process and the other side of the terminal."""
    process, other = pty.fork()
    if process == 0:
        os.execv(command[0], command)
    return process, other


def shown(other, wanted):
    """What the terminal shows up to the wanted text."""
    text = ""
    deadline = time.monotonic() + PATIENCE
    while not re.search(wanted, text):
        assert time.monotonic() < deadline, text
        try:
            text += os.read(other, 4096).decode()
        except OSError:  # everything that has the terminal has ended
            break
    assert re.search(wanted, text), text
    return text


def ended(process):
    """The exit code."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    raise AssertionError("it does not end")


process, other = terminal(*RUN, "--", "sh", "-c", "trap 'echo interrupted; exit 9' INT; echo up; while :; do sleep 0.1; done")
shown(other, "up")
os.write(other, b"\x03")
shown(other, "interrupted")
assert ended(process) == 9

process, other = terminal(*RUN, "--restart", "always", "--", "sh", "-c", "exit 7")
shown(other, r"again in 4\.0 s")
os.write(other, b"\x03")
assert ended(process) == 7
rest = shown(other, "$")
assert "again in" not in rest, rest

# A shell with a job: it keeps the terminal, and so gets what is typed.
shell = f"set -m; {' '.join(RUN)} -- sh -c 'echo up; exec sleep 60' & read line; echo got $line; kill %1; wait"
process, other = terminal("/bin/bash", "-c", shell)
shown(other, "up")
os.write(other, b"hello\n")
shown(other, "got hello")
ended(process)
