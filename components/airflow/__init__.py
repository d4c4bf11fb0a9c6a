"""One Airflow environment on Amazon MWAA, and what it loads."""
