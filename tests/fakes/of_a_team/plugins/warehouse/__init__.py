"""A plugin of a team's own."""
