"""PostgreSQL: models, migrations, the inbox, the jobs. Knows no rules and no vendors."""
