"""What people prefer: language, which mails they want, whether others may see them

Revision: 0017, after 0016
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

FLAGS = ("wants_streak_mail", "wants_progress_mail", "visible_to_others")


def upgrade() -> None:
    op.add_column("users", sa.Column("locale", sa.Text(), nullable=True))
    for name in FLAGS:
        default = "true" if name == "wants_progress_mail" else "false"
        op.add_column("users", sa.Column(name, sa.Boolean(), server_default=sa.text(default), nullable=False))


def downgrade() -> None:
    for name in (*FLAGS, "locale"):
        op.drop_column("users", name)
