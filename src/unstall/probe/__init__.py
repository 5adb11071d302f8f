"""Advice on probes: from measured stalls, and from what a cluster remembers of its restarts."""
