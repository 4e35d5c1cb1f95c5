"""The capacity planner: cameras turned into pods, cores and bandwidth, without a cluster."""
