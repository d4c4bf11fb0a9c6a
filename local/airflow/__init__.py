"""What an environment of the local MWAA runs on: real Airflow processes."""
