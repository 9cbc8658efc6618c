"""A real PostgreSQL for tests: a cluster in a temporary folder, made once, with a fresh database for each test.

``postgres`` is the address of an empty database; ``postgres_server`` can be stopped and started again.
"""

import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from pathlib import Path

import pytest

TIMEOUT_S = 120
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "60",
    "shared_buffers": "16MB",
    "timezone": "Pacific/Chatham",  # nobody may rely on a server whose times are in UTC
}


def find_programs():
    """The folder of PostgreSQL's server programs, or None."""
    on_path = shutil.which("initdb")
    folders = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda one: float(Path(one).parent.name))
    return Path(on_path).parent if on_path else (Path(folders[-1]) if folders else None)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """One cluster and its server."""

    def __init__(self, programs):
        self.programs, self.port = programs, free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="demur-pg-"))
        self.prefix = []
        if os.geteuid() == 0:  # the server refuses to run as root
            owner = pwd.getpwnam("postgres")
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
            self.prefix = ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
        self.call("initdb", "-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        lines = "".join(f"{name} = '{value}'\n" for name, value in SETTINGS.items())
        with (self.folder / "data" / "postgresql.conf").open("a") as config:
            config.write(f"{lines}port = {self.port}\n")

    def call(self, program, *arguments):
        # Output goes to a file: the server would keep a pipe open.
        with (self.folder / "out.txt").open("w+") as out:
            done = subprocess.run(
                [*self.prefix, str(self.programs / program), *arguments],
                cwd=self.folder,
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=TIMEOUT_S,
                check=False,
            )
            out.seek(0)
            assert done.returncode == 0, f"{program} failed: {out.read()}"

    def is_running(self):
        return (self.folder / "data" / "postmaster.pid").exists()

    def start(self):
        """Start it, and wait until it answers."""
        if not self.is_running():
            self.call("pg_ctl", "start", "-D", "data", "-l", "log.txt", "-w", "-t", str(TIMEOUT_S))

    def stop(self, mode="fast"):
        """Stop it; ``immediate`` is as a crash."""
        if self.is_running():
            self.call("pg_ctl", "stop", "-D", "data", "-m", mode, "-w", "-t", str(TIMEOUT_S))

    def url(self, database="postgres"):
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def execute(self, statement, database="postgres"):
        """Run one statement, and give what it returns."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            done = connection.execute(statement)
            return done.fetchall() if done.description else []

    def remove(self):
        self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def _cluster():
    programs = find_programs()
    if programs is None:
        pytest.skip("no PostgreSQL server here: initdb is neither on PATH nor in /usr/lib/postgresql/*/bin")
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("PostgreSQL does not run as root, and there is no setpriv to become its user")
    try:
        server = Server(programs)
    except KeyError:
        pytest.skip("PostgreSQL does not run as root, and there is no user 'postgres'")
    try:
        yield server
    finally:
        server.remove()


@pytest.fixture
def postgres_server(_cluster):
    """A running PostgreSQL server, which a test may stop and start."""
    _cluster.start()
    return _cluster


@pytest.fixture
def postgres(postgres_server):
    """The address of an empty database of a running PostgreSQL server."""
    name = f"t{uuid.uuid4().hex}"
    postgres_server.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    yield postgres_server.url(name)
    postgres_server.start()
    postgres_server.execute(f"DROP DATABASE {name} WITH (FORCE)")
