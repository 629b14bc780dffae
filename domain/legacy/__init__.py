"""Taking over an older system (seeds B and D): read it while it runs, place its rows, prove it, take it back.

`source` reads the older database, `tables` says which of its tables become what, `importing` goes through them in
batches, `checks` compares afterwards, `undoing` takes everything back.
"""
