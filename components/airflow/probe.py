"""The probe's DAG file: the DAG itself is in plugins.zip (plugins/bluegreen/probe.py)."""

from __future__ import annotations


def dag_file(minutes: int) -> str:
    """The content of the file, for a DAG that is due every so many minutes.

    A change of the period is a change of this file: no environment is updated for it.
    """
    return f'''"""An Airflow DAG that shows whether the blue/green gate works. `pulumi up` writes it."""

from bluegreen.probe import probe

dag = probe(minutes={minutes})
'''
