"""What exists in AWS: one ComponentResource per room, and the settings that they are made from."""
