"""Planning without a cluster: the autoscaler's loop simulated, and cameras turned into pods, cores and bandwidth."""
