"""The stand-ins for AWS: MiniStack for its services, and a PostgreSQL server for Airflow's databases."""
