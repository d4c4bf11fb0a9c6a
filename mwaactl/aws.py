"""AWS clients, created when first needed, and AWS's errors in one line each.

boto3 is imported late: it takes longer than everything else that `mwaactl --help` loads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mwaactl.errors import Unreachable

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_mwaa import MWAAClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_ssm import SSMClient

CONNECT_TIMEOUT = 3  # seconds
# Seconds to connect, and again to receive the answer: after that, look at the history instead of waiting.
PUT_TIMEOUT = 2


class Clients:
    """boto3 clients for one region. AWS_PROFILE, AWS_ENDPOINT_URL and its per-service forms apply as usual.

    A `profile` goes before AWS_PROFILE, and before AWS_ACCESS_KEY_ID too.

    Create the clients in one thread (`cached_property`); using them from several is safe.
    """

    def __init__(self, region: str, profile: str | None = None) -> None:
        self.region, self.profile = region, profile

    @cached_property
    def _session(self) -> Any:
        import boto3

        return boto3.Session(region_name=self.region, profile_name=self.profile)

    def _client(
        self, service: str, *, read_timeout: float, attempts: int, connect_timeout: float = CONNECT_TIMEOUT
    ) -> Any:
        from botocore.config import Config

        config = Config(
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            retries={"mode": "standard", "total_max_attempts": attempts},
            max_pool_connections=16,
            user_agent_extra="mwaactl",
        )
        with aws_errors(f"create a client for {service}"):
            return self._session.client(service, config=config)

    @cached_property
    def ssm(self) -> SSMClient:
        """For reading: retried."""
        client: SSMClient = self._client("ssm", read_timeout=5, attempts=4)
        return client

    @cached_property
    def ssm_writer(self) -> SSMClient:
        """For the ownership put: never retried, as a repeated put would be a second version."""
        client: SSMClient = self._client(
            "ssm", read_timeout=PUT_TIMEOUT, attempts=1, connect_timeout=PUT_TIMEOUT
        )
        return client

    @cached_property
    def mwaa(self) -> MWAAClient:
        client: MWAAClient = self._client("mwaa", read_timeout=10, attempts=3)
        return client

    @cached_property
    def rest_api(self) -> MWAAClient:
        """For InvokeRestApi, which takes at most 10 s: `mwaactl.airflow.rest` decides what to repeat."""
        client: MWAAClient = self._client("mwaa", read_timeout=15, attempts=1)
        return client

    @cached_property
    def iam(self) -> IAMClient:
        """For policies by name: repeating a call changes nothing."""
        client: IAMClient = self._client("iam", read_timeout=10, attempts=4)
        return client

    @cached_property
    def ec2(self) -> Any:
        return self._client("ec2", read_timeout=10, attempts=4)

    @cached_property
    def sts(self) -> Any:
        return self._client("sts", read_timeout=5, attempts=3)

    @cached_property
    def service_quotas(self) -> Any:
        return self._client("service-quotas", read_timeout=5, attempts=3)

    @cached_property
    def s3(self) -> S3Client:
        client: S3Client = self._client("s3", read_timeout=60, attempts=5)
        return client

    @cached_property
    def cloudwatch(self) -> CloudWatchClient:
        client: CloudWatchClient = self._client("cloudwatch", read_timeout=5, attempts=3)
        return client

    @cached_property
    def logs(self) -> CloudWatchLogsClient:
        client: CloudWatchLogsClient = self._client("logs", read_timeout=30, attempts=5)
        return client


@contextmanager
def aws_errors(doing: str) -> Iterator[None]:
    """Turn boto3's exceptions into Unreachable: "could not <doing>: <why>, <what to do>"."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise Unreachable(f"could not {doing}: {explain(error)}") from error


_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired")
_INVALID = ("InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId", "AuthFailure")
_SKEW = ("RequestTimeTooSkewed", "InvalidSignatureException", "SignatureDoesNotMatch")
_DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "Forbidden", "403")
BUSY = ("Throttling", "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded", "SlowDown")


def error_code(error: BaseException) -> str:
    """AWS's error code, or '' for an error that is not an answer from AWS."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def explain(error: BaseException) -> str:
    """Why an AWS call failed and what to do about it, in one line."""
    from botocore import exceptions as boto

    code, text = error_code(error), " ".join(str(error).split())
    if code in _EXPIRED or isinstance(
        error, boto.UnauthorizedSSOTokenError | boto.SSOTokenLoadError | boto.TokenRetrievalError
    ):
        return "the AWS credentials have expired: log in again (`aws sso login`, or renew AWS_SESSION_TOKEN)"
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError | boto.ProfileNotFound):
        return f"no usable AWS credentials ({text}): set AWS_PROFILE, or run `aws configure`"
    if code in _INVALID:
        return "AWS does not know these credentials: check AWS_PROFILE (`aws sts get-caller-identity`)"
    if code in _SKEW:
        return f"AWS refused the signature ({code}): check this machine's clock and the secret key"
    if code in _DENIED:
        return f"access denied: {text}"
    if code in BUSY:
        return f"AWS is throttling the calls ({code}): try again in a minute"
    if isinstance(error, boto.HTTPClientError | boto.ConnectionError):
        return f"not reachable ({text}): check the network, AWS_ENDPOINT_URL and the region"
    return text
