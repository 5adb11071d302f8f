"""Where stalls go besides the record: the app's log, Prometheus, OpenTelemetry, a function of yours."""
