"""The camera controller: keeps the pool's registry as the cluster's `Camera` objects say."""
