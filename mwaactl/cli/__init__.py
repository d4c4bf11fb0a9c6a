"""The commands: their arguments, what they ask, how they end."""
