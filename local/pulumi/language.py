"""A Pulumi language host for Python, for machines without the official `pulumi-language-python`.

Runs the stack's `__main__.py` in this process, which is the Python of the project's virtual environment.
The engine starts it with `python -m local.pulumi.language <engine address>`; it prints its port, then serves.
The engine starts it twice per operation but runs the program in only one of the two, so the Pulumi SDK (most
of a second) is imported only when a program is to be run.
"""

from __future__ import annotations

import gc
import os
import runpy
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from local.pulumi.parent import end_with_parent

# Their answers are empty: the plugins are installed beforehand (local/pulumi/cli.py).
EMPTY_ANSWERS = ("GetPluginInfo", "GetRequiredPackages", "GetRequiredPlugins")


class Methods(grpc.GenericRpcHandler):
    """The service `pulumirpc.LanguageRuntime`, as bytes: naming the messages would import the SDK."""

    def __init__(self, engine: str) -> None:
        self._engine = engine

    def service(self, handler_call_details: Any) -> Any:
        method = handler_call_details.method.rpartition("/")[2]
        if method == "Run":
            return grpc.unary_unary_rpc_method_handler(self._run)
        if method in EMPTY_ANSWERS:
            return grpc.unary_unary_rpc_method_handler(lambda _request, _context: b"")
        return None  # UNIMPLEMENTED; the engine does without

    def _run(self, message: bytes, context: Any) -> bytes:
        from pulumi.automation._server import LanguageServer
        from pulumi.runtime.proto import language_pb2

        request = language_pb2.RunRequest.FromString(message)
        info = request.info
        problem = environment_error(Path(info.root_directory), dict(info.options))
        if problem:
            return bytes(language_pb2.RunResponse(error=problem).SerializeToString())
        # The SDK's own in-process host, given a program on disk instead of a function.
        del request.args[:]
        request.args.append(self._engine)
        host = LanguageServer(program(Path(info.program_directory), info.entry_point, Path(request.pwd)))
        result = host.Run(request, context)  # type: ignore[no-untyped-call]
        if result.error:
            result = language_pb2.RunResponse(bail=True)  # it has been logged already
        return bytes(result.SerializeToString())


def environment_error(root: Path, options: dict[str, Any]) -> str | None:
    """Why Pulumi.yaml's `runtime.options` do not fit this machine; None if they do."""
    virtualenv = options.get("virtualenv")
    if not virtualenv:
        return None
    folder = (root / str(virtualenv)).resolve()
    if not folder.is_dir():
        return f"the virtual environment {folder} of Pulumi.yaml is missing; create it with: uv sync"
    if folder != Path(sys.prefix).resolve():
        return f"Pulumi.yaml names the virtual environment {folder}, but the local cloud runs in {sys.prefix}"
    return None


def program(folder: Path, entry_point: str, pwd: Path) -> Callable[[], None]:
    """A function that runs the program: a folder's `__main__.py`, or the file that `main:` names."""
    path = folder / (entry_point or ".")
    script = path / "__main__.py" if path.is_dir() else path

    def run() -> None:
        os.chdir(pwd)
        sys.path.insert(0, str(script.parent))
        runpy.run_path(str(script), run_name="__main__")

    return run


def main() -> None:
    engine = next((a for a in sys.argv[1:] if not a.startswith("-")), "")
    gc.disable()  # it lives for seconds, and a sixth of the imports' time would go into collecting nothing
    end_with_parent()
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))  # how the engine ends its plugins
    server = grpc.server(ThreadPoolExecutor(max_workers=4))
    server.add_generic_rpc_handlers((Methods(engine),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
