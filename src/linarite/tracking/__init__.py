"""Telling Weights & Biases of runs, each in a process of its own; knows no job and no database."""
