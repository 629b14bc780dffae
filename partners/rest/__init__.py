"""Speaks to a partner whose REST API is described in its configuration alone, without a line of code."""
