"""`python -m local.provider PACKAGE VERSION ENGINE_ADDRESS`: started by the Pulumi engine."""

from __future__ import annotations

import sys

from local.provider.server import Plugin, serve


def plugin(package: str, version: str) -> Plugin:
    # Each process imports what its package needs, no more: plugins start with every `pulumi` command.
    if package == "aws":
        from local.provider.resources import Aws

        return Aws(version)
    if package == "awsx":
        from local.provider.vpc import Awsx

        return Awsx(version)
    if package == "random":
        from local.provider.random import Random

        return Random(version)
    sys.exit(f"the local cloud has no plugin for the package {package}")


def main() -> None:
    package, version, engine = sys.argv[1:4]
    serve(plugin(package, version), version, engine)


if __name__ == "__main__":
    main()
