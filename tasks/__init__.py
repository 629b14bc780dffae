"""What is done: each task parses and delegates; reads, calls, writes."""
