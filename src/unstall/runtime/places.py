"""Where the observer is asked how the pod is: a port that nothing listens on unless told to, and paths."""

DEFAULT_HEALTH_PORT = 8099
"""Where manifests made by us send the probes."""
LIVEZ, READYZ, STARTUPZ = "/livez", "/readyz", "/startupz"
METRICS, STALLS = "/metrics", "/stalls"
