"""The camera controller: keeps the pool's registry equal to the cluster's `Camera` objects."""
