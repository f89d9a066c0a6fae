"""Benchmarks: one script a question, each printing a ratio against a peer or a limit.

    python -m bench                      every script in turn
    python -m bench.batch_control_plane  one of them
    python -m bench --report             write the newest results into docs/benchmarks.md

Both sides of a ratio are measured in the same run, in turn; the ratio is the median over five
pairs. A script ends with 1 when a line it holds is not met and names the line.
"""
