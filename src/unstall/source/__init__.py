"""Reads a project's source, without importing it."""
