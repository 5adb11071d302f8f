"""The kubelet: one sans-I/O machine, its probers and its two drivers."""
