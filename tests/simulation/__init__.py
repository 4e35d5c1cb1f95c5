"""The autoscaler's control loop, simulated: how the shipped settings were chosen."""
