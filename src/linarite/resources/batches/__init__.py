"""Batches: a file of requests, validated, asked one by one, answered in two files."""
