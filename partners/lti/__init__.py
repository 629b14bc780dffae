"""LTI 1.3, where Usher is the platform and the partner is a tool: what is said, and how it is signed. No database."""
