"""Tags for every resource that can have them, so that no component has to add them itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pulumi
import pulumi_aws as aws


def tag_everything(tags: Mapping[str, str]) -> None:
    """Give `tags` to every taggable AWS resource of this program; a resource's own tags win.

    Not through the provider's defaultTags: those need an explicit provider, which would ignore the user's
    other `aws:` configuration. Children of awsx components are created elsewhere: pass `tags` to those.
    """

    def add(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        # In the AWS provider, exactly the resources whose tags are a plain map have `tags_all`. S3 objects
        # may have only ten tags, and tagging them costs another request for each: the bucket's tags suffice.
        if not hasattr(type(args.resource), "tags_all") or isinstance(args.resource, aws.s3.BucketObjectv2):
            return None
        props = cast(dict[str, Any], args.props)
        props = {**props, "tags": {**tags, **(props.get("tags") or {})}}
        return pulumi.ResourceTransformationResult(props=props, opts=args.opts)

    pulumi.runtime.register_stack_transformation(add)
