"""What Usher does in a second, always as a ratio to references that run in the same invocation: `python -m bench`."""
