"""The source worker: leases cameras of the pool and runs them in a few child processes."""
