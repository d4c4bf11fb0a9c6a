"""A folder of DAGs as a real Airflow imports it, without AWS."""
