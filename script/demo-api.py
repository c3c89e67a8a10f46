#!/usr/bin/env python3
"""The API process of the demo's clients: serves what the client's MongoDB and Redis hold.

Environment:
    ADDRESS, PORT     where to listen
    DRP_CLIENT        whose stack this is
    MONGO_URI_FILE    file with the URI of the client's MongoDB; read anew when a connection fails
    REDIS_URI_FILE    the same for Redis

GET /         JSON: client, served_from, orders {count, newest}, sessions; null for what cannot be read (yet)
GET /health   200 as soon as the process serves, whatever the databases do
Every answer carries X-DRP-Client. It starts before there is data and before the databases answer.
"""

import http.server
import json
import os
import pathlib
import signal
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "data"))
import connections  # noqa: E402

CLIENT, ADDRESS = os.environ["DRP_CLIENT"], os.environ.get("ADDRESS", "127.0.0.1")


class Databases:
    """One connection to each database, made when it is first needed and again after an error."""

    def __init__(self):
        self.lock, self.mongo, self.redis = threading.Lock(), None, None

    def orders(self):
        from pymongo import MongoClient

        if self.mongo is None:
            uri = connections.first_line(os.environ["MONGO_URI_FILE"])
            self.mongo = MongoClient(uri, serverSelectionTimeoutMS=1500)
        orders = self.mongo.shop.orders
        newest = orders.find_one({}, {"number": 1, "createdAt": 1}, sort=[("_id", -1)])
        return {
            "count": orders.estimated_document_count(),
            "newest": newest and {"number": newest["number"], "at": newest["createdAt"].isoformat() + "Z"},
        }

    def sessions(self):
        if self.redis is None:
            self.redis = connections.Redis(connections.first_line(os.environ["REDIS_URI_FILE"]), timeout=1.5)
        return self.redis.databases().get(0, 0)

    def read(self, name):
        with self.lock:
            try:
                return getattr(self, name)()
            except Exception as e:  # a database that is not there yet is no reason to fall over
                self.mongo, self.redis = None, None
                print("%s: %s" % (name, type(e).__name__), file=sys.stderr, flush=True)
                return None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    databases = Databases()

    def do_GET(self):
        if self.path == "/health":
            self.answer(200, {"client": CLIENT, "status": "up"})
        elif self.path == "/":
            orders, sessions = self.databases.read("orders"), self.databases.read("sessions")
            self.answer(200, {"client": CLIENT, "served_from": ADDRESS, "orders": orders, "sessions": sessions})
        else:
            self.answer(404, {"error": "no such page"})

    def answer(self, status, value):
        body = json.dumps(value).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-DRP-Client", CLIENT)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    http.server.ThreadingHTTPServer.daemon_threads = True
    http.server.ThreadingHTTPServer((ADDRESS, int(os.environ["PORT"])), Handler).serve_forever()


if __name__ == "__main__":
    main()
