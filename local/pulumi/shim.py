"""The `pulumi` on the local cloud's PATH: runs the real CLI and keeps the checkout clean.

The CLI's file backend writes the passphrase's salt into `Pulumi.<stack>.yaml` whenever it runs. The stack's
state holds the same salt (and PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER makes the CLI read it there), so the
line that the CLI adds is removed again. Lines that it only reformatted (`true` as `"true"`) are restored, so
that `pulumi config set` changes its own line and no other. A salt that was in the file before (a deployment
of the user's own) stays.

Runs under `python -I -S` to start in a few milliseconds: standard library only.
"""

from __future__ import annotations

import contextlib
import difflib
import itertools
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

SALT = b"encryptionsalt: "
CHECK_SECONDS = 0.5


def project_folder(arguments: list[str]) -> Path | None:
    """The folder with the Pulumi.yaml that the CLI will use, else None."""
    folder = Path.cwd()
    for i, argument in enumerate(arguments):
        if argument in ("-C", "--cwd") and i + 1 < len(arguments):
            folder = folder / arguments[i + 1]
        elif argument.startswith("--cwd="):
            folder = folder / argument.removeprefix("--cwd=")
    folder = folder.resolve()
    return next((f for f in (folder, *folder.parents) if (f / "Pulumi.yaml").is_file()), None)


def stack_files(folder: Path | None) -> list[Path]:
    return [] if folder is None else sorted(folder.glob("Pulumi.*.yaml"))


def is_salt(line: bytes) -> bool:
    return line.startswith(SALT)


def salts(content: bytes) -> set[bytes]:
    return set(filter(is_salt, content.splitlines(keepends=True)))


def meaning(line: bytes) -> bytes:
    """A line in a normal form: the CLI quotes scalars and moves comments on its own."""
    line = re.sub(rb"\s+#", b" #", line.rstrip())
    return re.sub(rb'(: |- )"([^"]*)"', rb"\1\2", line)


def clean(path: Path, before: bytes, keep: set[bytes]) -> None:
    """Remove the salt lines that are not in `keep`, and restore the lines that only changed their format.

    A file that contained nothing but a salt is deleted.
    """
    now = path.read_bytes()
    if now == before and salts(now) <= keep:
        return
    old = [line for line in before.splitlines(keepends=True) if not is_salt(line) or line in keep]
    new = [line for line in now.splitlines(keepends=True) if not is_salt(line) or line in keep]
    steps = difflib.SequenceMatcher(None, [*map(meaning, old)], [*map(meaning, new)], autojunk=False)
    lines: list[bytes] = []
    for step, old_start, old_end, new_start, new_end in steps.get_opcodes():
        if step == "equal":
            lines += old[old_start:old_end]
        else:
            # The CLI drops blank lines.
            lines += itertools.takewhile(lambda line: not line.strip(), old[old_start:old_end])
            lines += new[new_start:new_end]
    if not lines:
        path.unlink()
    elif b"".join(lines) != now:
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_bytes(b"".join(lines))
        temporary.replace(path)


def ours(state: Path) -> set[bytes]:
    """The salt lines of the local stacks' states: only a killed run leaves them in a stack file."""
    matches = (re.search(rb'"salt":\s*"([^"]+)"', path.read_bytes()) for path in state.rglob("*.json"))
    return {SALT + salt[1] + b"\n" for salt in matches if salt}


def listen_to_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> int:
    cli, state, *arguments = sys.argv[1:]
    folder = project_folder(arguments)
    leftover = ours(Path(state))
    before = {path: path.read_bytes() for path in stack_files(folder)}
    # Ctrl-C reaches the CLI by itself (same process group); this process must outlive it to clean up.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    child = subprocess.Popen([cli, *arguments], preexec_fn=listen_to_ctrl_c)
    for forwarded in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(forwarded, lambda number, _frame: child.send_signal(number))
    code = None
    while code is None:
        # An update can take an hour: clean the checkout before its end.
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = child.wait(CHECK_SECONDS)
        for path in stack_files(folder):
            content = before.get(path, b"")
            keep = salts(content) - leftover
            if code is not None or salts(path.read_bytes()) - keep:
                clean(path, content, keep)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
