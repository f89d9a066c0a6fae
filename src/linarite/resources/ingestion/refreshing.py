"""Refreshes: the runs that come round every `dataRefreshIntervalInHours`."""

from linarite.resources.ingestion.service import Ingestion
from linarite.tasks.task import Schedule, Ticket


def schedules(ingestion: Ingestion) -> list[Schedule]:
    """What looks for jobs that are due; no two workers start the same run of one."""

    def refresh(ticket: Ticket) -> None:
        while ingestion.start_due():
            ticket.check()

    seconds = ingestion.settings.ingestion.refresh_seconds
    return [Schedule("ingestion.refresh", seconds, refresh)]
