"""The same Pulumi program on this machine: engine, plugins, emulated AWS, real Airflow."""
