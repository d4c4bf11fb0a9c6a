"""`python -m local.airflow.locks [VERSION ...]`: resolve the locks again (all of them without arguments)."""

from __future__ import annotations

import subprocess
import sys

from local.airflow.locks import IMAGE, VERSIONS, lock
from local.uv import uv


def resolve(version: str) -> None:
    of = VERSIONS[version]
    requirements = [
        f"apache-airflow[celery,statsd]=={version}",
        f"apache-airflow-providers-openlineage=={of.provider}",
        f"openlineage-python=={of.client}",
        f"openlineage-integration-common=={of.client}",  # newer ones would come along with their own client
        *IMAGE,
    ]
    command = [
        str(uv()),
        *("pip", "compile", "-", "--quiet", "--universal", "--python-version", "3.11"),
        *("--generate-hashes", "--no-emit-index-url", "--no-emit-find-links", "--no-annotate"),
        *("--exclude-newer", f"{of.as_of}T23:59:59Z"),
        *("--custom-compile-command", f"python -m local.airflow.locks {version}"),
        *("--output-file", str(lock(version))),
    ]
    subprocess.run(command, input="\n".join(requirements), text=True, check=True)


def main() -> None:
    for version in sys.argv[1:] or VERSIONS:
        print(version, flush=True)
        resolve(version)


if __name__ == "__main__":
    main()
