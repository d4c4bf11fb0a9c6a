"""The runtime of the local MWAA's environments: real Airflow processes."""
