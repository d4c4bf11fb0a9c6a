"""Errors as boto3 raises them."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError


class Killed(BaseException):
    """The operator's process ends here, as if by SIGKILL."""


def client_error(code: str, status: int = 400, operation: str = "Call", **more: Any) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": f"the message of {code}"},
        "ResponseMetadata": {"HTTPStatusCode": status},
        **more,
    }
    return ClientError(response, operation)


def refused(status: int, **body: Any) -> ClientError:
    """What InvokeRestApi raises when Airflow itself answers with an error status."""
    return client_error(
        "RestApiClientException", 400, "InvokeRestApi", RestApiStatusCode=status, RestApiResponse=body
    )
