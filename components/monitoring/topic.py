"""Whom the alarms tell, and what else they are told: changes of ownership."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.config.settings import Settings
from components.iam_policies import document, statement


@dataclass(frozen=True, kw_only=True)
class AlarmTopicArgs:
    """`ownership_parameter`: the name of the parameter whose changes are announced."""

    settings: Settings
    ownership_parameter: str


class AlarmTopic(pulumi.ComponentResource):
    """The SNS topic of the stack: the user's (`alarm_topic_arn`), or one for `alarm_email`; else none.

    Each change of ownership is announced there as well, with who decided it and why: EventBridge sees the
    change of the parameter, whoever makes it. To a topic of the user's only if its policy lets EventBridge
    publish.
    """

    arns: Sequence[pulumi.Input[str]]

    def __init__(self, name: str, args: AlarmTopicArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mwaa-openlineage:index:AlarmTopic", name, None, opts)
        self._name, self._args = name, args
        self._child = pulumi.ResourceOptions(parent=self)
        settings = args.settings
        self.arns = [settings.alarm_topic_arn] if settings.alarm_topic_arn else []
        if settings.alarm_email:
            self.arns = [self._own(settings.alarm_email)]
        for arn in self.arns:
            self._announce(arn)
        self.register_outputs({})

    def _own(self, email: str) -> pulumi.Output[str]:
        topic = aws.sns.Topic(self._name, opts=self._child)
        account = aws.get_caller_identity().account_id
        allowed = statement(
            ["sns:Publish"],
            [topic.arn],
            sid="AlarmsAndEventsOfThisAccount",
            principals={"Service": ["cloudwatch.amazonaws.com", "events.amazonaws.com"]},
            conditions={"StringEquals": {"aws:SourceAccount": account}},
        )
        aws.sns.TopicPolicy(self._name, arn=topic.arn, policy=document(allowed), opts=self._child)
        aws.sns.TopicSubscription(
            self._name, topic=topic.arn, protocol="email", endpoint=email, opts=self._child
        )
        return topic.arn

    def _announce(self, topic: pulumi.Input[str]) -> None:
        rule = aws.cloudwatch.EventRule(
            f"{self._name}-ownership",
            description="A change of the ownership of the scheduled work",
            event_pattern=json.dumps(
                {
                    "source": ["aws.ssm"],
                    "detail-type": ["Parameter Store Change"],
                    "detail": {"name": [self._args.ownership_parameter]},
                }
            ),
            opts=self._child,
        )
        stack = self._args.settings.stack
        aws.cloudwatch.EventTarget(
            f"{self._name}-ownership",
            rule=rule.name,
            target_id="topic",
            arn=topic,
            input_transformer=aws.cloudwatch.EventTargetInputTransformerArgs(
                input_paths={"what": "$.detail.description", "how": "$.detail.operation"},
                input_template=f'"Ownership of {stack} (<how>): <what>. See: mwaactl history -s {stack}"',
            ),
            opts=self._child,
        )
