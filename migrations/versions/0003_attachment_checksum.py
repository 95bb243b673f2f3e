"""Attachments may say what their bytes must hash to."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("attachments", sa.Column("sha256", sa.Text(), nullable=True))
    op.create_check_constraint("sha256", "attachments", "sha256 ~* '^[0-9a-f]{64}$'")


def downgrade() -> None:
    op.drop_column("attachments", "sha256")
