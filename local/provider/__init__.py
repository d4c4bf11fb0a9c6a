"""One resource plugin for `aws`, `awsx` and `random`, which the Pulumi engine uses on the local cloud.

What the running system uses is created for real, through boto3: in the emulated AWS (`storage`, `records`,
`iam`) and in the local MWAA (`mwaa`). The rest is recorded with computed outputs (`kinds` is the table).
Names and types of inputs are checked against the real Python SDKs (`schema`).
"""
