"""The Pulumi CLI, and what it needs around it to work on the local cloud."""
