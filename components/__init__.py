"""The resources in AWS: one ComponentResource per module, and the settings that they are built from."""
