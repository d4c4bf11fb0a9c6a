"""The resource types that are created for real, in the emulated AWS."""
