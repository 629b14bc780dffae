"""The integrator's kit: servers that play a vendor, and what every adapter must stand. Not used in production."""
