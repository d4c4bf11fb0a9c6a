"""Tags on every resource that can have them, without each component having to think of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pulumi
import pulumi_aws as aws


def tag_everything(tags: Mapping[str, str]) -> None:
    """Give `tags` to every taggable AWS resource of this program; a resource's own tags win.

    Not by the provider's defaultTags: those need an explicit provider, which would ignore the user's other
    `aws:` configuration. Children of awsx components are made elsewhere: those take `tags` themselves.
    """

    def add(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        # The AWS provider gives `tags_all` to exactly the resources whose tags are a plain map. S3 allows an
        # object ten tags only, and a tag costs one more request for each: the bucket's must do.
        if not hasattr(type(args.resource), "tags_all") or isinstance(args.resource, aws.s3.BucketObjectv2):
            return None
        props = cast(dict[str, Any], args.props)
        props = {**props, "tags": {**tags, **(props.get("tags") or {})}}
        return pulumi.ResourceTransformationResult(props=props, opts=args.opts)

    pulumi.runtime.register_stack_transformation(add)
