"""`make run`: everything on one machine, started in order, watched, shown at work with a demo purchase, stopped."""
