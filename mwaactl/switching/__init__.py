"""The switch: plan it, write it, drain the source, and copy its final states to the target."""
