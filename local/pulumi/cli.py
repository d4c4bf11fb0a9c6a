"""The Pulumi CLI for the local cloud: taken from PATH, downloaded or built, and set up.

`ensure` provides the CLI, `install` a PULUMI_HOME with this project's plugins, `environ` the variables that
point the plain CLI at the local cloud, `init_stack` a stack on the local backend.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from local.aws import ministack
from local.home import CHECKOUT, Home
from local.processes import LOOPBACK, LocalError, alone, clean_environ, find

BUILD_VERSION = "v3.259.0"  # the newest that the Go module proxy serves completely
MODULE = "github.com/pulumi/pulumi/pkg/v3"
# The CLI's own go.mod replaces this module; a build from outside has to repeat it.
REPLACED = "github.com/atotto/clipboard"
REPLACEMENT = "github.com/tgummerer/clipboard v0.0.0-20241001131231-d02d263e614e"
INSTALLER = "https://get.pulumi.com/install.sh"
INSTALLER_ANSWERS_SECONDS = 5.0
INSTALL_SECONDS = 300.0
PROGRESS_SECONDS = 15.0  # between two reports of a build
OLDEST = (3, 200)
PASSPHRASE = "local"  # noqa: S105 - guards the secrets of an emulated cloud
# Docker's are never used: awsx depends on their SDKs, and a language host may ask for every SDK's plugin.
PACKAGES = ("aws", "awsx", "random", "docker", "docker-build")

SHIM = b"pulumi/shim.py"  # identifies a command of ours

Report = Callable[[str], None]


def ensure(home: Home, report: Report = lambda _: None) -> Path:
    """The CLI's path. In order: on PATH, from an earlier setup, the official installer, a build (minutes).

    Raises LocalError if none of them works.
    """
    if (installed := on_path()) is not None:
        return installed
    cli = home.tools / "pulumi" / "bin" / "pulumi"
    with alone(home.tools / "pulumi.lock"):
        if cli.is_file():
            return cli
        if not run_installer(cli.parents[1], report):
            build(cli, report)
    return cli


def on_path() -> Path | None:
    """A `pulumi` on PATH that is new enough and not the local cloud's own shim."""
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        candidate = shutil.which("pulumi", path=folder) if folder else None
        if candidate is None or _is_shim(Path(candidate)):
            continue
        answer = subprocess.run([candidate, "version"], capture_output=True, text=True, check=False)
        number = re.match(r"v?(\d+)\.(\d+)\.", answer.stdout)
        if number and (int(number[1]), int(number[2])) >= OLDEST:
            return Path(candidate)
    return None


def run_installer(root: Path, report: Report) -> bool:
    """Run the official installer. False if its host does not answer within seconds, or if it fails."""
    report(f"Pulumi CLI: trying {INSTALLER}")
    if not _reachable(INSTALLER, INSTALLER_ANSWERS_SECONDS):
        report("Pulumi CLI: the official installer is not reachable from here")
        return False
    code = "import sys; from pulumi.automation import PulumiCommand as P; P.install(root=sys.argv[1])"
    try:
        result = subprocess.run(
            [sys.executable, "-c", code, str(root)],
            env=clean_environ(),
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        report(f"Pulumi CLI: the official installer did not finish within {INSTALL_SECONDS:.0f} s")
        return False
    if result.returncode != 0 or not (root / "bin" / "pulumi").is_file():
        reason = (result.stderr.strip() or "?").splitlines()[-1]
        report(f"Pulumi CLI: the official installer failed: {reason}")
        return False
    return True


def build(cli: Path, report: Report) -> None:
    """Build the CLI from the Go module proxy into `cli` (3-5 minutes on 2 cores, 115 MB).

    Raises LocalError without Go, or if the build fails.
    """
    go = shutil.which("go")
    if go is None:
        raise LocalError(
            "No Pulumi CLI: there is none on PATH, its installer is not usable, and there is "
            "no `go` to build it with.\n"
            "Install either: https://www.pulumi.com/docs/install or https://go.dev/dl (1.25 or newer)"
        )
    report(f"Pulumi CLI: building {BUILD_VERSION} from the Go module proxy (3-5 minutes, once)")
    cli.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="build-", dir=cli.parent) as folder:
        needs = f"require {MODULE} {BUILD_VERSION}\n\nreplace {REPLACED} => {REPLACEMENT}\n"
        (Path(folder) / "go.mod").write_text(f"module build\n\ngo 1.25.0\n\n{needs}")
        stamp = f"-X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version={BUILD_VERSION}"
        names = f"-ldflags=-s -w {stamp}", "-o", "pulumi", f"{MODULE}/cmd/pulumi"
        command = [go, "build", "-v", "-mod=mod", *names]
        code, printed = _followed(command, Path(folder), report)
        if code != 0:
            end = "\n".join(printed[-15:])
            raise LocalError(f"Building the Pulumi CLI failed: {shlex.join(command)}\n{end}")
        (Path(folder) / "pulumi").replace(cli)


def _followed(command: list[str], folder: Path, report: Report) -> tuple[int, list[str]]:
    """The exit code of a build and the lines that it printed; a report now and then of how far it is."""
    printed: list[str] = []
    reported = time.monotonic()
    with subprocess.Popen(
        command,
        cwd=folder,
        env=clean_environ(CGO_ENABLED="0"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        for line in child.stderr or ():
            printed.append(line.rstrip())
            if time.monotonic() - reported > PROGRESS_SECONDS:
                reported = time.monotonic()
                report(f"Pulumi CLI: {_progress(printed)}")
    return child.returncode, printed


def _progress(printed: list[str]) -> str:
    """`go build -v` prints each module that it downloads and each package that it compiles."""
    modules = sum(line.startswith("go: downloading ") for line in printed)
    packages = sum(not line.startswith("go: ") for line in printed)
    return f"{modules} modules downloaded, {packages} packages compiled"


def install(home: Home, cli: Path) -> None:
    """Write PULUMI_HOME with the project's plugins, and the folder of commands that goes onto PATH."""
    pulumi_home, commands = home.dir("pulumi"), home.dir("bin")
    for package in PACKAGES:
        try:
            installed = version(f"pulumi-{package}")
        except PackageNotFoundError:
            continue
        plugin = home.dir("pulumi", "plugins", f"resource-{package}-v{installed}")
        _script(plugin / f"pulumi-resource-{package}", _python("-m", "local.provider", package, installed))
    host = pulumi_home / "language-python"
    _script(host, _python("-m", "local.pulumi.language"))
    beside = cli.resolve().parent / "pulumi-language-python"
    if not beside.exists():
        if home.tools in beside.parents:
            # Where the CLI expects its bundled host. The tools may be shared: each home has its own Python.
            _script(beside, '"$PULUMI_HOME/language-python"')
        elif shutil.which("pulumi-language-python") is None:
            _script(commands / "pulumi-language-python", shlex.quote(str(host)))
    shim = Path(__file__).with_name("shim.py")
    command = [sys.executable, "-I", "-S", str(shim), str(cli), str(_backend(home) / ".pulumi" / "stacks")]
    _script(commands / "pulumi", shlex.join(command))


def environ(home: Home) -> dict[str, str]:
    """Every variable that points plain Pulumi, boto3 and `mwaactl` at the local cloud.

    They include AWS_ENDPOINT_URL_MWAA once the process `mwaa` (local/mwaa/) has run.
    """
    mwaa, kept = find(home, "mwaa"), home.state / "mwaa.port"
    port = mwaa.port if mwaa is not None else kept.read_text().strip() if kept.exists() else None
    endpoint = {} if port is None else {"AWS_ENDPOINT_URL_MWAA": f"http://{LOOPBACK}:{port}"}
    paths = [str(home.dir("bin")), str(Path(sys.executable).parent)]
    inherited = [p for p in os.environ.get("PATH", "").split(os.pathsep) if p and p not in paths]
    return {
        "PATH": os.pathsep.join([*paths, *inherited]),
        "PULUMI_HOME": str(home.dir("pulumi")),
        "PULUMI_BACKEND_URL": _backend(home).as_uri(),
        "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
        # Stack files have no salt here (see local/pulumi/shim.py): the stack's state does.
        "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        **ministack.environ(home),
        **endpoint,
    }


def init_stack(home: Home, stack: str, project: Path = CHECKOUT) -> None:
    """Create `stack` on the local backend unless it exists, and select it.

    The project's stack file does not change. A lock left by a killed run is removed. Raises LocalError.
    """
    for lock in (_backend(home) / ".pulumi" / "locks").rglob(f"{stack}/*.json"):
        holder = json.loads(lock.read_text())
        if holder.get("hostname") == socket.gethostname() and not psutil.pid_exists(holder["pid"]):
            lock.unlink(missing_ok=True)
    cli = home.dir("bin") / "pulumi"
    result = subprocess.run(
        [cli, "--non-interactive", "stack", "select", "--create", "--stack", stack],
        cwd=project,
        env=clean_environ(**environ(home)),
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise LocalError(f"pulumi stack select --create {stack} failed:\n{result.stderr.strip()}")


def _backend(home: Home) -> Path:
    return home.dir("state", "pulumi")


def _python(*arguments: str) -> str:
    return shlex.join([sys.executable, *arguments])


def _script(path: Path, command: str) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    temporary.chmod(0o755)
    temporary.replace(path)


def _is_shim(path: Path) -> bool:
    with path.open("rb") as file:
        return SHIM in file.read(4096)


def _reachable(url: str, seconds: float) -> bool:
    """Whether a HEAD request succeeds in time; in a thread, as name lookups have no time limit."""
    reached = threading.Event()

    def ask() -> None:
        request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - a constant
        try:
            with urllib.request.urlopen(request, timeout=seconds):  # noqa: S310 - a constant
                reached.set()
        except (OSError, urllib.error.URLError):
            pass

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return reached.is_set()
