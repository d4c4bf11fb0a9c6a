"""Alarms that somebody hears, and one dashboard per stack."""
