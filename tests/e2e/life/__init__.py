"""The life of two environments: what is in flight around a switch, a side that dies, one that is replaced.

`dags/` is the customer's DAG folder, which comes in waves; `story` deploys, brings and reads them. The tests
themselves are in `tests/e2e/long/`.
"""
