"""Adopting an Amazon MWAA environment that exists: it becomes blue of a stack."""
