"""Passes connections on, at no more than so many bytes a second in all: a store behind a thin line.

    slow_proxy.py FILE TARGET-URL BYTES-PER-SECOND    writes its own URL to FILE, ends with its parent
"""

import asyncio
import os
import sys
import urllib.parse

PIECE = 4096


class Line:
    """The moment at which the line is free again."""

    def __init__(self, rate):
        self.rate, self.free = rate, 0.0

    async def pass_on(self, count):
        loop = asyncio.get_running_loop()
        self.free = max(self.free, loop.time()) + count / self.rate
        await asyncio.sleep(self.free - loop.time())


async def pump(reader, writer, line):
    try:
        while data := await reader.read(PIECE):
            await line.pass_on(len(data))
            writer.write(data)
            await writer.drain()
    except (ConnectionError, asyncio.CancelledError):
        pass
    finally:
        writer.close()


async def main(path, target, rate):
    where = urllib.parse.urlsplit(target)
    up, down = Line(rate), Line(rate)

    async def serve(reader, writer):
        far_reader, far_writer = await asyncio.open_connection(where.hostname, where.port)
        await asyncio.gather(pump(reader, far_writer, up), pump(far_reader, writer, down))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=PIECE)
    with open(path + ".part", "w") as file:
        file.write("http://127.0.0.1:%d" % server.sockets[0].getsockname()[1])
    os.rename(path + ".part", path)
    parent = os.getppid()
    while os.getppid() == parent:
        await asyncio.sleep(1)


asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
