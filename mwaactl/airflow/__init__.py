"""Airflow's REST API, the same for Airflow 2 and 3."""
