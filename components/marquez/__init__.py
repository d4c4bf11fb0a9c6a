"""The lineage back end: on one EC2 node, or highly available."""
