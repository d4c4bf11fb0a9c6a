"""The Pulumi CLI on the local cloud, and the parts that it needs there."""
