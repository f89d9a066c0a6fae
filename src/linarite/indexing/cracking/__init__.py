"""Text from files: in a child process with limits of memory, CPU and time."""
