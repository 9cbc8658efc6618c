"""Settings of the dashboard."""

from __future__ import annotations

from pydantic import Field

from demur.config import Settings


class DashboardConfig(Settings):
    """The page that shows how the guard fares."""

    enabled: bool = Field(default=True, description="Whether there is a dashboard.")
    session_s: float = Field(
        default=1800.0, ge=60, le=86_400, description="Seconds that a log-in lasts without a page being asked for."
    )
    longest_s: float = Field(
        default=28_800.0, ge=60, le=604_800, description="Seconds that a log-in lasts at most, whatever is asked."
    )
    logins_per_s: float = Field(
        default=0.5, gt=0, le=1000, description="Attempts to log in a second from one address; ten at once."
    )
    keep_s: float = Field(
        default=3.0, ge=0, le=600, description="Seconds that figures are shown again before they are read anew."
    )
    wait_s: float = Field(
        default=5.0, gt=0, le=600, description="Seconds that a page waits for the database; then it says so."
    )
    step_rows: int = Field(
        default=500,
        ge=10,
        le=100_000,
        description="Answers of a step of time, the newest, that labels and latency are taken of.",
    )
    flagged: int = Field(default=20, ge=1, le=200, description="Flagged answers that are listed.")
    excerpt: int = Field(
        default=280, ge=20, le=5000, description="Characters of a text that are shown where texts are logged."
    )
