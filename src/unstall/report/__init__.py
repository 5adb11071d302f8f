"""The report: one page on which anybody sees why the pod was restarted."""
