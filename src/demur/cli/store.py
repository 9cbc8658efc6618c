"""``demur store``: the database of the guard and the spool before it, from the command line."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from demur.store import KeyRow, Spool, Store

app = typer.Typer(
    no_args_is_help=True, help="The database of the guard: make its tables, count, copy, forget, keys."
)
keys = typer.Typer(no_args_is_help=True, help="The keys of the API.")
app.add_typer(keys, name="keys")

Url = Annotated[
    str | None,
    typer.Option(
        "--url", help="The database (default: DATABASE_URL, else sqlite:///demur.db).", show_default=False
    ),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The server's configuration, which names both.", show_default=False),
]
SpoolFolder = Annotated[Path | None, typer.Option("--spool", help="The folder of the spool.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


@app.command("migrate")
def migrate_store(url: Url = None, config: Config = None) -> None:
    """Bring the tables to this version; any number of processes may do so at once."""
    with _open(url, config) as store:
        steps = store.migrate()
        print(f"{store.url}: {', '.join(steps) if steps else 'up to date'}")


@app.command("counts")
def show_counts(
    url: Url = None, config: Config = None, spool: SpoolFolder = None, as_json: AsJson = False
) -> None:
    """Print the rows of every table, and what waits in the spool."""
    import json
    from dataclasses import asdict

    with _open(url, config) as store:
        counts = store.counts()
    waits = _spool(spool, config)
    waiting = {} if waits is None else asdict(waits.stats())
    if as_json:
        print(json.dumps({"tables": counts} | ({"spool": waiting} if waiting else {})))
        return
    for name, value in {**counts, **{f"spool {key}": value for key, value in waiting.items()}}.items():
        print(f"{name:<20} {'-' if value is None else value}")


@app.command("drain")
def drain_spool(
    spool: SpoolFolder = None,
    url: Url = None,
    config: Config = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try the rows in quarantine again.")] = False,
) -> None:
    """Move what waits in a spool into the database, also what killed processes left behind."""
    from demur.errors import UsageError

    found = _spool(spool, config)
    if found is None:
        raise UsageError("no spool is named; give its folder with --spool, or the server's --config")
    with _open(url, config) as store, found as opened:
        if retry:
            print(f"{opened.requeue()} rows of the quarantine are tried again")
        done = opened.drain(store)
        waiting = opened.quarantined()
    print(f"{done.rows} rows moved, {done.new} of them new")
    for row in waiting:
        print(f"in quarantine: {row.kind} of request {row.request_id}: {row.reason}")
    if done.broken_files:
        print(f"{done.broken_files} files could not be read and were renamed to end in .broken")
        raise typer.Exit(1)


@app.command("export")
def export_store(
    out: Annotated[Path, typer.Option("--out", "-o", help="A folder, or a .parquet file for one table.")],
    url: Url = None,
    config: Config = None,
    table: Annotated[str | None, typer.Option(help="Only this table.", show_default=False)] = None,
    since: Annotated[str | None, typer.Option(help="Only rows from this time on (2031-05-04, UTC).")] = None,
    until: Annotated[str | None, typer.Option(help="Only rows before this time.")] = None,
    no_texts: Annotated[bool, typer.Option("--no-texts", help="Leave prompts, responses and notes out.")] = False,
) -> None:
    """Write tables as Parquet files, one a table."""
    from demur.errors import UsageError

    if table is None and (since or until or out.suffix == ".parquet"):
        raise UsageError("a file or a span of time is of one table; name it with --table")
    with _open(url, config) as store:
        if table is None:
            for name, rows in store.export_all(out, texts=not no_texts).items():
                print(f"{out / f'{name}.parquet'}: {rows} rows")
            return
        path = out if out.suffix == ".parquet" else out / f"{table}.parquet"
        rows = store.export(path, table, _time(since, "--since"), _time(until, "--until"), texts=not no_texts)
        print(f"{path}: {rows} rows")


@app.command("copy")
def copy_store(
    to: Annotated[str, typer.Option("--to", help="The database to copy to; its tables are made where they lack.")],
    url: Url = None,
    config: Config = None,
) -> None:
    """Add every row to another database, such as PostgreSQL to move to; stop the servers first."""
    with _open(url, config) as store, _open(to, None) as target:
        target.migrate()
        for name, rows in store.copy_to(target).items():
            print(f"{name:<20} {rows} new rows")


@app.command("purge")
def purge_store(
    older_than: Annotated[str, typer.Option(help="An age (30d, 12h) or a time (2031-05-04, UTC).")],
    url: Url = None,
    config: Config = None,
    spool: SpoolFolder = None,
    tables: Annotated[str | None, typer.Option(metavar="NAME,NAME,...", help="Other tables than usual.")] = None,
    texts_only: Annotated[
        bool, typer.Option("--texts-only", help="Delete prompts, responses and notes, keep the answers.")
    ] = False,
) -> None:
    """Delete what came from users by age, in small transactions; with --spool, old rows in quarantine too."""
    end = _before(older_than)
    with _open(url, config) as store:
        if texts_only:
            done = {"texts": store.purge_texts(end)}
            print(f"{done['texts']} rows lost their texts")
        else:
            done = store.purge(end, tables.split(",")) if tables else store.purge(end)
            print("".join(f"{name}: {rows} rows deleted\n" for name, rows in done.items()), end="")
        store.audit(
            "system", "purge", end.isoformat(timespec="seconds"), {"rows": done, "by": "demur store purge"}
        )
    waits = _spool(spool, config)
    if waits is not None:
        print(f"quarantine: {waits.purge(end)} rows deleted")


@app.command("delete")
def delete_rows(
    request_id: Annotated[str, typer.Argument(help="The id that the answer bore.")],
    url: Url = None,
    config: Config = None,
    spool: SpoolFolder = None,
) -> None:
    """Delete all that is kept of a request; what of it comes later is not stored."""
    from demur.store import delete_request

    with _open(url, config) as store:
        rows = delete_request(store, _spool(spool, config), request_id)
        store.audit("system", "delete", request_id, {"rows": rows, "by": "demur store delete"})
    print(f"{rows} rows deleted")


@keys.command("list")
def list_keys(url: Url = None, config: Config = None, as_json: AsJson = False) -> None:
    """Print the keys; what opens is not among it, since only a hash of that is kept."""
    import json

    with _open(url, config) as store:
        rows = store.keys()
    if as_json:
        print(json.dumps([_describe(row) for row in rows]))
        return
    for row in rows:
        said = _describe(row)
        rate = "" if row.rate_per_s is None else f"  {row.rate_per_s:g}/s"
        revoked = "" if row.revoked_at is None else f"  revoked {said['revoked_at']}"
        print(f"{row.id}  {row.name}  {','.join(row.scopes)}{rate}{revoked}")


@keys.command("add")
def add_key(
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help="What it opens: classify (default), feedback, admin; several with several options."),
    ] = None,
    rate: Annotated[float | None, typer.Option(min=0.001, help="Requests a second that it may make.")] = None,
    url: Url = None,
    config: Config = None,
) -> None:
    """Make a key and print it, this once: nobody can print it again."""
    from demur.store import new_key

    text, row = new_key(name, scope or ["classify"], rate)
    with _open(url, config) as store:
        store.add_key(row)
        store.audit(
            "system", "key.add", row.id, {"name": name, "scopes": row.scopes, "by": "demur store keys add"}
        )
    print(text)


@keys.command("revoke")
def revoke_key(
    id: Annotated[str, typer.Argument(help="The id of the key.")], url: Url = None, config: Config = None
) -> None:
    """Let a key open nothing any more."""
    with _open(url, config) as store:
        row = store.revoke_key(id)
        store.audit("system", "key.revoke", row.id, {"name": row.name, "by": "demur store keys revoke"})
    print(f"{row.id}  {row.name}  revoked {_describe(row)['revoked_at']}")


def _open(url: str | None, config: Path | None) -> Store:
    """The store that is named by an address, a configuration, or the environment, in this order."""
    from demur.serve.secrets import Secrets, SecretText
    from demur.store import DEFAULT_URL, open_store

    if url is None and config is not None:
        from demur.serve import load_serve

        settings = load_serve(config)
        return open_store(Secrets(settings.secrets).reveal(settings.database.url))
    # The variable may name a secret, as it may for the server: postgresql://demur:${secret:PASSWORD}@db/demur.
    given = SecretText(url or os.environ.get("DATABASE_URL") or DEFAULT_URL)
    return open_store(Secrets().reveal(given))


def _spool(folder: Path | None, config: Path | None) -> Spool | None:
    """The spool of a folder or of a configuration, if one is named."""
    from demur.errors import UsageError
    from demur.store import Spool

    if folder is None and config is not None:
        from demur.serve import load_serve

        folder = load_serve(config).spool.folder
        if not folder.exists():  # nothing was put yet
            return None
    if folder is not None and not folder.is_dir():
        raise UsageError(f"there is no spool folder {folder}; check the path")
    return None if folder is None else Spool(folder)


def _describe(row: KeyRow) -> dict[str, object]:
    """A key without its hash, as plain values."""
    return {
        "id": row.id,
        "name": row.name,
        "scopes": row.scopes,
        "rate_per_s": row.rate_per_s,
        "at": row.at.isoformat(timespec="seconds"),
        "revoked_at": None if row.revoked_at is None else row.revoked_at.isoformat(timespec="seconds"),
    }


def _time(text: str | None, option: str) -> datetime | None:
    """A time in UTC, where it names no other zone."""
    from datetime import UTC

    from demur.errors import UsageError

    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option}: '{text}' is no time; give one as 2031-05-04 or 2031-05-04T12:00") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _before(text: str) -> datetime:
    """The time that an age means now, or the time itself."""
    import re
    from datetime import timedelta

    from demur.store import utc_now

    found = re.fullmatch(r"(\d{1,6})(m|h|d|w)", text)
    if found is None:
        time = _time(text, "--older-than")
        assert time is not None
        return time
    unit = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}[found[2]]
    return utc_now() - timedelta(**{unit: int(found[1])})
