"""What the start of each process imports: time and memory that all of them pay for."""

import subprocess
import sys

import pytest

HELP = "from app.cli import main; main(['--help'], standalone_mode=False)"
BEAT = "import tasks; tasks.celery.conf.beat_schedule; tasks.celery.loader.init_worker()"
WEB = "import app.api.factory; app.api.factory.create_app()"
SHOW = "import sys; print(*{name.partition('.')[0] for name in sys.modules})"


def imported_packages(program: str) -> set[str]:
    output = subprocess.run(
        [sys.executable, "-c", f"{program}\n{SHOW}"], capture_output=True, text=True, check=True
    ).stdout
    return {*output.splitlines()[-1].split()}


@pytest.mark.usefixtures("environment")
def test_processes_do_not_import_what_only_others_need() -> None:
    servers = {"flask", "gunicorn", "prometheus_client"}
    database = {"alembic", "psycopg2", "sqlalchemy"}
    failures = []
    for program, unwanted in (
        (HELP, servers | database | {"celery", "pydantic", "redis", "rich"}),
        (BEAT, servers | database | {"phonenumbers", "requests"}),
        (WEB, {"alembic", "boto3", "botocore", "celery", "kombu"}),
    ):
        if found := imported_packages(program) & unwanted:
            failures.append(f"{program}: {sorted(found)}")
    assert not failures
