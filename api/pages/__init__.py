"""Server-rendered pages. Each reads in one transaction, changes through the same rules as the API, and works without
JavaScript: forms post and are answered with a redirect (303), or with the form and its mistakes (422).
"""
