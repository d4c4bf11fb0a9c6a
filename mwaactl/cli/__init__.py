"""The commands: their arguments, their questions, and their exit codes."""
