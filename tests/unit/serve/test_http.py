"""Connections as clients have them, that send what nobody should, over a socket of this process."""

import asyncio
import json
import resource
from contextlib import asynccontextmanager, suppress

import pytest
import uvicorn
from uvicorn.server import ServerState

from demur.serve._http import MAX_HEAD_BYTES, allow_connections, make_protocol

OK = b"HTTP/1.1 200 OK"
HEAD = b"POST / HTTP/1.1\r\nHost: guard\r\n"


class App:
    """Answers with the length of the body, at once where the path says so; remembers heads."""

    def __init__(self):
        self.scopes, self.writers, self.may_answer = [], [], asyncio.Event()
        self.may_answer.set()

    async def __call__(self, scope, receive, send):
        self.scopes.append(scope)
        size, is_more = 0, scope["path"] != "/unread"
        while is_more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            size += len(message.get("body", b""))
            is_more = message.get("more_body", False)
        await self.may_answer.wait()
        body = str(size).encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def listening(head_s=60.0, most=100):
    app = App()
    config = uvicorn.Config(app, lifespan="off", log_config=None, ws="none", timeout_keep_alive=600)
    make, state = make_protocol(head_s, most), ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: make(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    async with server:
        yield app, server.sockets[0].getsockname()[1]
        for writer in app.writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def connect(app, port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    app.writers.append(writer)
    return reader, writer


async def read_all(reader):
    """Until the server closes; one that closes before it has read all of ours resets the connection."""
    found = b""
    try:
        while part := await reader.read(65_536):
            found += part
    except ConnectionError:
        pass
    return found


async def read_answer(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    (length,) = (line for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
    return head, await reader.readexactly(int(length.split(b":")[1]))


async def send_parts(writer, parts):
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
    except ConnectionError:
        return False
    return True


def run(work, **options):
    async def main():
        async with asyncio.timeout(300), listening(**options) as (app, port):
            return await work(app, port)

    return asyncio.run(main())


def error_of(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    error = json.loads(body)["error"]
    assert set(error) == {"type", "message", "param", "request_id"}
    assert error["request_id"].encode() in head
    assert b"connection: close" in head
    return int(head.split()[1]), error


def test_requests_on_one_connection_are_answered_one_after_the_other():
    async def work(app, port):
        reader, writer = await connect(app, port)
        for size in (0, 5, 100_000):
            writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % size + b"a" * size)
            assert (await read_answer(reader))[1] == b"%d" % size
        writer.write((HEAD + b"Content-Length: 1\r\n\r\nx") * 50)
        assert [(await read_answer(reader))[1] for _ in range(50)] == [b"1"] * 50

    run(work)


def test_a_chunked_body_is_read_and_what_follows_it_is_nobodys_header():
    async def work(app, port):
        reader, writer = await connect(app, port)
        chunks = b"".join(b"1\r\nx\r\n" for _ in range(20_000))  # five bytes around each one
        writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nAuthorization: x\r\n\r\n")
        assert (await read_answer(reader))[1] == b"20000"
        assert b"authorization" not in dict(app.scopes[0]["headers"])

    run(work)


@pytest.mark.parametrize(
    "parts",
    [
        [HEAD, *(b"X-%d: " % number + b"a" * 1000 + b"\r\n" for number in range(5000))],
        [HEAD + b"X: ", *[b"a" * 1000] * 5000],
        [b"GET /", *[b"a" * 1000] * 5000],
        [b"\r\n" * 500] * 5000,
    ],
    ids=["headers", "header", "path", "nothing"],
)
def test_a_head_without_end_is_cut_off(parts):
    async def work(app, port):
        reader, writer = await connect(app, port)
        was_sent = await send_parts(writer, parts)
        answer = await read_all(reader)
        assert app.scopes == []
        return was_sent, answer

    was_sent, answer = run(work)
    assert not was_sent or answer  # it was closed before all of it came
    if answer:
        assert error_of(answer)[0] in (431, 400)


def test_a_head_of_the_usual_size_is_read_and_a_larger_one_is_said_so():
    async def work(app, port):
        answers = []
        for size in (MAX_HEAD_BYTES // 2, 2 * MAX_HEAD_BYTES):
            reader, writer = await connect(app, port)
            writer.write(HEAD + b"X: " + b"a" * size)
            await writer.drain()
            await asyncio.sleep(0)
            if size < MAX_HEAD_BYTES:
                writer.write(b"\r\nConnection: close\r\n\r\n")
            answers.append(await read_all(reader))
        return answers

    small, large = run(work)
    assert small.startswith(OK)
    status, error = error_of(large)
    assert (status, str(MAX_HEAD_BYTES) in error["message"]) == (431, True)


@pytest.mark.parametrize("extension", [b"0\r\nX: " + b"a" * 1000, b"1;" + b"a" * 1000], ids=["trailer", "chunk"])
def test_what_surrounds_a_chunked_body_is_bounded(extension):
    async def work(app, port):
        reader, writer = await connect(app, port)
        rest = [b"a" * 1000] * 5000
        assert not await send_parts(writer, [HEAD + b"Transfer-Encoding: chunked\r\n\r\n", extension, *rest])
        await read_all(reader)

    run(work)


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01 hello\r\n\r\n", HEAD + b"X: a\x00b\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n"]
)
def test_what_is_no_http_is_answered_in_the_shape_of_errors(data):
    async def work(app, port):
        reader, writer = await connect(app, port)
        writer.write(data)
        return await read_all(reader)

    status, error = error_of(run(work))
    assert (status, error["type"]) == (400, "invalid_request")


@pytest.mark.parametrize("beginning", [b"", b"G", HEAD, b"\r\n"])
def test_a_head_that_does_not_arrive_is_not_waited_for(beginning):
    async def work(app, port):
        reader, writer = await connect(app, port)
        writer.write(beginning)
        return await read_all(reader)

    answer = run(work, head_s=1.0)
    if beginning:
        assert error_of(answer)[0] == 408
    else:
        assert answer == b""


def test_a_head_that_drips_in_is_not_waited_for_either():
    async def work(app, port):
        reader, writer = await connect(app, port)
        reading = asyncio.create_task(read_all(reader))
        writer.write(HEAD)
        while not reading.done():
            await send_parts(writer, [b"X: a\r\n"])
            await asyncio.sleep(0.01)
        return reading.result()

    assert error_of(run(work, head_s=0.1))[0] == 408


def test_a_request_whose_answer_takes_long_is_answered_however_late_the_next_head_is():
    async def work(app, port):
        app.may_answer.clear()
        reader, writer = await connect(app, port)
        writer.write(HEAD + b"Content-Length: 1\r\n\r\nx" + HEAD)
        await asyncio.sleep(0.3)
        app.may_answer.set()
        return (await read_answer(reader))[1]

    assert run(work, head_s=0.05) == b"1"


def test_a_connection_without_requests_is_kept():
    async def work(app, port):
        reader, writer = await connect(app, port)
        for _ in range(2):
            writer.write(HEAD + b"Content-Length: 1\r\n\r\nx")
            await read_answer(reader)
            await asyncio.sleep(0.3)

    run(work, head_s=0.1)


def test_a_body_that_nobody_reads_may_not_drip_for_ever():
    async def work(app, port):
        reader, writer = await connect(app, port)
        writer.write(b"POST /unread HTTP/1.1\r\nHost: guard\r\nContent-Length: 1000000\r\n\r\n")
        await read_answer(reader)
        reading = asyncio.create_task(read_all(reader))
        while not reading.done():
            await send_parts(writer, [b"a"])
            await asyncio.sleep(0.01)

    run(work, head_s=0.1)


def test_a_body_that_nobody_reads_may_end_and_another_request_follow():
    async def work(app, port):
        reader, writer = await connect(app, port)
        writer.write(b"POST /unread HTTP/1.1\r\nHost: guard\r\nContent-Length: 10\r\n\r\n")
        await read_answer(reader)
        writer.write(b"a" * 10)
        await asyncio.sleep(0.3)
        writer.write(HEAD + b"Content-Length: 1\r\n\r\nx")
        return (await read_answer(reader))[1]

    assert run(work, head_s=0.1) == b"1"


def test_one_connection_too_many_is_refused_until_another_has_gone():
    async def work(app, port):
        first, second = [await connect(app, port) for _ in range(2)]
        for reader, writer in (first, second):
            writer.write(HEAD + b"Content-Length: 1\r\n\r\nx")
            await read_answer(reader)
        reader, _ = await connect(app, port)
        status, error = error_of(await read_all(reader))
        assert (status, len(app.scopes)) == (503, 2)
        assert "try again later" in error["message"]
        first[1].write(HEAD + b"Content-Length: 1\r\nConnection: close\r\n\r\nx")
        await read_all(first[0])
        reader, writer = await connect(app, port)
        writer.write(HEAD + b"Content-Length: 1\r\n\r\nx")
        assert (await read_answer(reader))[1] == b"1"
        assert len(app.scopes) == 4

    run(work, most=2)


def test_connections_are_allowed_as_far_as_the_system_has_files_for_them_and_for_the_rest():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
        for _ in range(2):
            assert allow_connections(100) == 100
            assert allow_connections(10**6) == min(hard, 65_536) - 256
            assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(hard, 65_536)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
