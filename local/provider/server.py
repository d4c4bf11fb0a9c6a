"""The SDK's plugin server, plus what it lacks: old inputs, and errors without tracebacks."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import grpc.aio
from pulumi.provider.experimental import provider as protocol
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.server import ProviderServicer
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import provider_pb2_grpc

from local.provider.values import Props, ProviderError, plain
from local.pulumi.parent import end_with_parent

THREADS = 32  # each waits for a service of the local cloud most of its time


class Plugin(protocol.Provider):
    """A provider that receives the old inputs along with each diff and update."""

    old_inputs: dict[str, Props]
    """By URN; there is one operation on a URN at a time."""

    def __init__(self) -> None:
        self.old_inputs = {}


class Servicer(ProviderServicer):
    """Names of methods are the protocol's."""

    _provider: Plugin

    async def CheckConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await _quietly(super().CheckConfig(request, context), context)

    async def Configure(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await _quietly(super().Configure(request, context), context)

    async def Invoke(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await _quietly(super().Invoke(request, context), context)

    async def Construct(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await _quietly(super().Construct(request, context), context)

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await _quietly(super().Check(request, context), context)

    async def Diff(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._provider.old_inputs[request.urn] = plain(PropertyValue.unmarshal_map(request.old_inputs))
        return await _quietly(super().Diff(request, context), context)

    async def Create(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await _quietly(super().Create(request, context), context)

    async def Read(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await _quietly(super().Read(request, context), context)

    async def Update(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._provider.old_inputs[request.urn] = plain(PropertyValue.unmarshal_map(request.old_inputs))
        return await _quietly(super().Update(request, context), context)

    async def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await _quietly(super().Delete(request, context), context)


async def _quietly(answer: Awaitable[Any], context: grpc.aio.ServicerContext[Any, Any]) -> Any:
    """Remove the traceback that the SDK adds to every error: it does not help users of this plugin."""
    try:
        return await answer
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, ProviderError):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        await context.abort(grpc.StatusCode.UNKNOWN, str(cause))
        raise


def serve(provider: Plugin, version: str, engine: str) -> None:
    """Print the port, then serve until the engine ends this process or exits itself."""
    gc.disable()  # the process lives for seconds: as in local/pulumi/language.py
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))  # how the engine ends its plugins
    end_with_parent()

    async def run() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
        server = grpc.aio.server(options=_GRPC_CHANNEL_OPTIONS)
        servicer = Servicer([], version, provider, engine_address=engine)
        provider_pb2_grpc.add_ResourceProviderServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
        await server.wait_for_termination()

    asyncio.run(run())
