"""A load for two Airflows that switch, and what tells afterwards whether each run was executed once.

`dags/` is the customer's DAG folder, `schedule` says what of it is due when, `twins` deploys and breaks the
two Airflows, `proxy` stands between them and the parameter store, `operator` switches, `ledger` is what the
tasks wrote, `decisions` who owned what, `verdict` compares, `report` explains.
"""
