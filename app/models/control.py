"""What controls the processes: leases, paused agents, and the scheduler."""

from datetime import datetime

from sqlalchemy import CheckConstraint, SmallInteger, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base


class Lease(Base):
    """The right to do a piece of work that one process does at a time; see `app.leases`."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    lease_until: Mapped[datetime]


class AgentState(Base):
    """Whether an agent is paused. An agent without a row is not."""

    __tablename__ = "agent_states"

    agent: Mapped[str] = mapped_column(primary_key=True)
    paused: Mapped[bool]
    reason: Mapped[str | None]
    changed_by: Mapped[str]
    changed_at: Mapped[datetime] = mapped_column(server_default=func.now())


class SchedulerState(Base):
    """Whether the scheduler is running, and the time of the last scan. A single row."""

    __tablename__ = "scheduler_state"
    __table_args__ = (CheckConstraint("id = 1", name="single"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, server_default="1")
    running: Mapped[bool] = mapped_column(server_default=text("true"))
    changed_by: Mapped[str | None]
    changed_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_scan_at: Mapped[datetime | None]
