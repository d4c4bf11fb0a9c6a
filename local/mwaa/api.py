"""Amazon MWAA's API on this machine: `python -m local mwaa --port P [--no-airflow]`.

boto3's `mwaa` client works against it (AWS_ENDPOINT_URL_MWAA, AWS_DISABLE_HOST_PREFIX_INJECTION=true). The
environments are real Airflow processes (`local.airflow`); with `--no-airflow` they are AVAILABLE at once and
nothing runs. `GET /local/environments` is ours: what each environment is doing now, for `make local`.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import shlex
import time
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.home import Home
from local.mwaa.door import DeniedError, Door, ThrottledError, may_call
from local.mwaa.lifecycle import Fleet, NotFoundError, Runtime
from local.mwaa.rules import Json, ValidationError, obey_the_model
from local.processes import LOOPBACK, LocalError

PAGE = 25
AUTHORIZATION = "authorization"  # in a query: the header
AIRFLOW_ROLE = "x-local-airflow-role"
IN_A_ROLE = ("InvokeRestApi", "CreateWebLoginToken")  # these need one of Airflow's roles
LONGEST_PATH = "MWAA_LOCAL_REST_LONGEST"  # characters; not set: any
HOST = "host"  # in a query: of this server, as the caller named it
CLI_TOKEN_SECONDS = 60
# Of those that MWAA's guide does not list, the ones that would do something to this machine's Airflow.
REFUSED_COMMANDS = (
    *("api-server", "celery", "dag-processor", "db", "kerberos", "rotate-fernet-key", "scheduler"),
    *("standalone", "triggerer", "webserver"),
)
REST_METHODS = ("GET", "PUT", "POST", "PATCH", "DELETE")


class RestApiError(Exception):
    """Airflow's REST API answered with an error status (below 500 the client's, else the server's)."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


class Api:
    """The operations. Each takes (path parameter, query, body) and returns the answer's body.

    In a query, AIRFLOW_ROLE is the caller's role in Airflow.
    """

    def __init__(self, fleet: Fleet, runtime: Runtime) -> None:
        self._fleet = fleet
        self._runtime = runtime
        self._cli_tokens: dict[str, tuple[str, float]] = {}  # environment, and until when

    def create(self, name: str, _query: Json, body: Json) -> Json:
        return {"Arn": self._fleet.create(name, body)["Arn"]}

    def get(self, name: str, _query: Json, _body: Json) -> Json:
        return {"Environment": self._fleet.keeper(name).environment}

    def update(self, name: str, _query: Json, body: Json) -> Json:
        keeper = self._fleet.keeper(name)
        keeper.update(body)
        return {"Arn": keeper.environment["Arn"]}

    def delete(self, name: str, _query: Json, _body: Json) -> Json:
        self._fleet.keeper(name).delete()
        return {}

    def list(self, _name: str, query: Json, _body: Json) -> Json:
        names = self._fleet.names()
        start = int(query.get("NextToken") or 0)
        size = min(int(query.get("MaxResults") or PAGE), PAGE)
        page: Json = {"Environments": names[start : start + size]}
        return page | ({"NextToken": str(start + size)} if start + size < len(names) else {})

    def tags(self, arn: str, _query: Json, _body: Json) -> Json:
        return {"Tags": self._fleet.keeper(arn.rpartition("/")[2]).environment["Tags"]}

    def tag(self, arn: str, _query: Json, body: Json) -> Json:
        obey_the_model("TagResourceInput", body)
        self._fleet.keeper(arn.rpartition("/")[2]).tag(lambda tags: tags.update(body.get("Tags") or {}))
        return {}

    def untag(self, arn: str, query: Json, _body: Json) -> Json:
        def remove(tags: dict[str, str]) -> None:
            for key in query.get("tagKeys") or ():
                tags.pop(key, None)

        self._fleet.keeper(arn.rpartition("/")[2]).tag(remove)
        return {}

    def web_token(self, name: str, _query: Json, _body: Json) -> Json:
        """A token of the right shape; the local web server's login does not ask for it."""
        host = self._available(name)["WebserverUrl"]
        return {"WebToken": secrets.token_urlsafe(32), "WebServerHostname": host, "AirflowIdentity": "admin"}

    def cli_token(self, name: str, query: Json, _body: Json) -> Json:
        """The host is this server's own: Airflow's web server has no such page."""
        self._available(name)
        token = secrets.token_urlsafe(32)
        self._cli_tokens[token] = name, time.monotonic() + CLI_TOKEN_SECONDS
        return {"CliToken": token, "WebServerHostname": query[HOST]}

    def cli(self, authorization: str, command: str) -> tuple[int, Json]:
        """Status and body of MWAA's answer to one of Airflow's own commands."""
        name, until = self._cli_tokens.get(authorization.removeprefix("Bearer "), ("", 0.0))
        if time.monotonic() > until:
            return 403, {"message": "Forbidden"}
        words = shlex.split(command)
        if words[:1] and words[0] in REFUSED_COMMANDS:
            code, out, err = 1, b"", f"{words[0]} is not a command that MWAA allows\n".encode()
        else:
            code, out, err = self._runtime.command(self._available(name), words)
        printed = {"stdout": base64.b64encode(out).decode(), "stderr": base64.b64encode(err).decode()}
        return 400 if code else 200, printed

    def rest(self, name: str, query: Json, body: Json) -> Json:
        method, path = str(body.get("Method")), str(body.get("Path"))
        if method not in REST_METHODS:
            raise ValidationError(f"Method is {method!r}; allowed are {', '.join(REST_METHODS)}")
        # The service model says 64 characters, but the sensors of Airflow's own provider send longer ones.
        longest = int(os.environ.get(LONGEST_PATH) or 0)
        if longest and len(path) > longest:
            raise ValidationError(f"Path has {len(path)} characters; allowed are 1 to {longest}")
        if not path.startswith("/"):
            raise ValidationError(f"Path is {path!r}; it must begin with /")
        environment = self._available(name)
        if not may_call(query.get(AIRFLOW_ROLE, ""), method, path):
            raise RestApiError(403, {"detail": "Forbidden"})
        status, answer = self._runtime.call(
            environment, method, path, body.get("QueryParameters") or {}, body.get("Body")
        )
        if status >= 400:
            raise RestApiError(status, answer)
        return {"RestApiStatusCode": status, "RestApiResponse": answer}

    def environments(self, _name: str, _query: Json, _body: Json) -> Json:
        return {"environments": self._fleet.describe()}

    def _available(self, name: str) -> Json:
        environment = self._fleet.keeper(name).environment
        if environment["Status"] in ("CREATING", "CREATE_FAILED", "DELETING", "UNAVAILABLE"):
            raise ValidationError(
                f"Environment {name} is {environment['Status']}; wait until it is AVAILABLE."
            )
        return environment


Operation = Callable[[str, Json, Json], Json]


def app(home: Home, runtime: Runtime) -> Starlette:
    """The web application; it resumes the environments of an earlier server on this home."""
    api, door = Api(Fleet(home, runtime), runtime), Door.from_environment()
    routes: list[tuple[str, str, str, Operation]] = [
        ("GET", "/environments", "ListEnvironments", api.list),
        ("PUT", "/environments/{name}", "CreateEnvironment", api.create),
        ("GET", "/environments/{name}", "GetEnvironment", api.get),
        ("PATCH", "/environments/{name}", "UpdateEnvironment", api.update),
        ("DELETE", "/environments/{name}", "DeleteEnvironment", api.delete),
        ("GET", "/tags/{name:path}", "ListTagsForResource", api.tags),
        ("POST", "/tags/{name:path}", "TagResource", api.tag),
        ("DELETE", "/tags/{name:path}", "UntagResource", api.untag),
        ("POST", "/webtoken/{name}", "CreateWebLoginToken", api.web_token),
        ("POST", "/clitoken/{name}", "CreateCliToken", api.cli_token),
        ("POST", "/restapi/{name}", "InvokeRestApi", api.rest),
        ("GET", "/local/environments", "", api.environments),
    ]
    return Starlette(
        routes=[
            Route("/aws_mwaa/cli", _command(api), methods=["POST"]),
            *(
                Route(path, _endpoint(_behind(door, action, operation)), methods=[method])
                for method, path, action, operation in routes
            ),
        ]
    )


def _behind(door: Door, action: str, operation: Operation) -> Operation:
    """The operation for those who may call it; `query` has their signature. "" as action: for everybody."""

    def judged(name: str, query: Json, body: Json) -> Json:
        signature, about = query.pop(AUTHORIZATION), name.rpartition("/")[2] or "*"
        if action in IN_A_ROLE:
            query[AIRFLOW_ROLE] = door.airflow_role(signature, f"airflow:{action}", about)
        elif action:
            door.admit(signature, f"airflow:{action}", about)
        return operation(name, query, body)

    return judged


def _command(api: Api) -> Callable[[Request], Any]:
    async def command(request: Request) -> Response:
        text = (await request.body()).decode()
        try:
            status, body = await run_in_threadpool(api.cli, request.headers.get("authorization", ""), text)
        except (ValueError, ValidationError) as error:
            return JSONResponse({"message": str(error)}, status_code=400)
        return JSONResponse(body, status_code=status)

    return command


def _endpoint(operation: Operation) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        raw = await request.body()
        query: Json = dict(request.query_params)
        query["tagKeys"] = request.query_params.getlist("tagKeys")
        query[HOST] = request.headers.get("host", "")
        query[AUTHORIZATION] = request.headers.get("authorization", "")
        try:
            body = json.loads(raw) if raw else {}
            answer = await run_in_threadpool(operation, request.path_params.get("name", ""), query, body)
        except ValueError as error:
            return _error(400, "ValidationException", {"message": f"The request is malformed: {error}"})
        except ValidationError as error:
            return _error(400, "ValidationException", {"message": str(error)})
        except NotFoundError as error:
            return _error(404, "ResourceNotFoundException", {"message": str(error)})
        except DeniedError as error:
            return _error(403, "AccessDeniedException", {"message": str(error)})
        except ThrottledError as error:
            return _error(429, "ThrottlingException", {"message": str(error)})
        except RestApiError as error:
            kind = "RestApiClientException" if error.status < 500 else "RestApiServerException"
            return _error(400, kind, {"RestApiStatusCode": error.status, "RestApiResponse": error.body})
        except LocalError as error:
            return _error(500, "InternalServerException", {"message": str(error)})
        return JSONResponse(answer)

    return endpoint


def _error(status: int, kind: str, body: Json) -> Response:
    return JSONResponse(body, status_code=status, headers={"x-amzn-ErrorType": kind})


def serve(home: Home, runtime: Runtime, port: int) -> None:
    uvicorn.run(app(home, runtime), host=LOOPBACK, port=port, log_level="warning")
