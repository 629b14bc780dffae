"""Partner platforms: one interface, one HTTP door, one adapter a vendor. Knows no database and no Celery."""
