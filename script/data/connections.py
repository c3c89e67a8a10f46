"""How the data tools are told where a server is, and a small Redis client. Not run by itself.

A URI with a password must not stand in a command line, which everybody on the machine can read: so it is given by
--uri-file FILE, whose first line it is. The client speaks RESP2 with the standard library alone: what judges a restore
shares no code with what made it.
"""

import argparse
import json
import socket
import ssl
import sys
from urllib.parse import unquote, urlsplit


def parser(doc):
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_server(made)
    return made


def checker(doc):
    """For the tools that describe a server, or compare two descriptions."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    described = made.add_mutually_exclusive_group(required=True)
    add_server(made, described)
    described.add_argument("--manifest", metavar="FILE", help="what this tool said of a server before")
    made.add_argument("--compare", metavar="FILE", help="a manifest of the server as it should be")
    return made


def add_server(made, group=None):
    whose = group or made
    whose.add_argument("--uri-file", metavar="FILE", required=not group, help="its first line is the server's URI")
    made.add_argument("--ca", metavar="FILE", help="PEM file with the only CA to trust (Redis with TLS)")


def run(main):
    """Exit status 2 and one line, where the server could not be asked: that is no difference (1)."""
    try:
        main()
    except Exception as e:
        if not isinstance(e, (OSError, EOFError, Refused)) and type(e).__module__.split(".")[0] != "pymongo":
            raise
        print("%s: %s: %s" % (sys.argv[0], type(e).__name__, e), file=sys.stderr)
        sys.exit(2)


def first_line(path):
    with open(path) as f:
        return f.readline().strip()


def manifest(path):
    with open(path) as f:
        return json.load(f)


def mongo_client(options, **more):
    """A client of the server in --uri-file; says what is missing instead of a stack trace."""
    try:
        from pymongo import MongoClient
    except ImportError as e:
        sys.exit("this needs pymongo (script/setup installs it): %s" % e)
    return MongoClient(first_line(options.uri_file), serverSelectionTimeoutMS=10000, **more)


def redis_client(options, db=0):
    return Redis(first_line(options.uri_file), options.ca, db)


class Refused(Exception):
    """An error reply of the server."""


class Redis:
    """One connection. Replies: str for simple strings, bytes for bulk strings, int, list, None."""

    def __init__(self, uri, ca=None, db=0, timeout=60):
        u = urlsplit(uri)
        if u.scheme not in ("redis", "rediss") or not u.hostname:
            raise SystemExit("wanted redis[s]://user:password@host:port/db, got a URI of scheme %r" % u.scheme)
        self.socket = socket.create_connection((u.hostname, u.port or 6379), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if u.scheme == "rediss":
            self.socket = ssl.create_default_context(cafile=ca).wrap_socket(self.socket, server_hostname=u.hostname)
        self.replies = self.socket.makefile("rb", 1 << 18)
        if u.password:
            self.call("AUTH", *([unquote(u.username)] if u.username else []), unquote(u.password))
        if db:
            self.call("SELECT", db)

    def close(self):
        self.replies.close()
        self.socket.close()

    def call(self, *command):
        return self.pipeline([command])[0]

    def pipeline(self, commands, strict=True):
        """Sends all and then reads all, so keep both below a few MB. Not strict: an error reply stands in the list."""
        self.socket.sendall(b"".join(map(encoded, commands)))
        got = [self.reply() for _ in commands]
        if strict:
            for reply in got:
                if isinstance(reply, Refused):
                    raise reply
        return got

    def reply(self):
        line = self.replies.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError("the server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            n = int(rest)
            return None if n < 0 else self.replies.read(n + 2)[:-2]
        if kind == b":":
            return int(rest)
        if kind == b"*":
            n = int(rest)
            return None if n < 0 else [self.reply() for _ in range(n)]
        if kind == b"-":
            return Refused(rest.decode(errors="replace"))
        return rest.decode()

    def info(self, section):
        lines = self.call("INFO", section).decode().split("\r\n")
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def databases(self):
        """Number -> keys, of the databases that are not empty."""
        return {int(name[2:]): int(facts.split(",")[0].split("=")[1]) for name, facts in self.info("keyspace").items()}


def encoded(command):
    parts = [p if isinstance(p, bytes) else str(p).encode() for p in command]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)
