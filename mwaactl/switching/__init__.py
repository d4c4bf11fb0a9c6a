"""The switch: plan it, write it, drain the old side, make the target's records true."""
