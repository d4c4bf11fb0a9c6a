"""What an operator types: the switch and its companions."""
