#!/usr/bin/env python3
"""Stands in for SSH's forwards into a Docker site: docker_relay.py NETWORK_NAMESPACE CONTROL_SOCKET

A client of the control socket writes a line `HOST:PORT` and reads the path of a unix socket from which connections are carried
on to HOST:PORT as the namespace sees it. The same place keeps its socket for as long as the relay lives.
"""

import ctypes
import os
import socket
import sys
import threading

NAMESPACE, CONTROL = sys.argv[1:]
CLONE_NEWNET = 0x40000000
paths, lock = {}, threading.Lock()
libc = ctypes.CDLL(None, use_errno=True)


def connect_inside(place):
    """A thread alone enters the namespace; the socket that it makes stays there."""
    host, port = place.rsplit(":", 1)
    descriptor = os.open(NAMESPACE, os.O_RDONLY)
    try:
        if libc.setns(descriptor, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(descriptor)
    return socket.create_connection((host, int(port)), 5)


def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, sink):
            end.close()


def carry(outer, place):
    try:
        inner = connect_inside(place)
    except OSError:
        outer.close()
        return
    inner.settimeout(None)
    back = threading.Thread(target=pump, args=(inner, outer), daemon=True)
    back.start()
    pump(outer, inner)
    back.join()
    outer.close()
    inner.close()


def accept(listener, place):
    while True:
        outer, _ = listener.accept()
        threading.Thread(target=carry, args=(outer, place), daemon=True).start()


def path_for(place):
    with lock:
        if place not in paths:
            # libmongoc takes a path for a socket's only if it ends so.
            path = "%s.%d.sock" % (CONTROL, len(paths))
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(path)
            listener.listen(64)
            paths[place] = path
            threading.Thread(target=accept, args=(listener, place), daemon=True).start()
        return paths[place]


def serve(client):
    with client, client.makefile("rw") as lines:
        for line in lines:
            lines.write(path_for(line.strip()) + "\n")
            lines.flush()


def main():
    threading.stack_size(256 << 10)
    os.umask(0o077)
    control = socket.socket(socket.AF_UNIX)
    control.bind(CONTROL)
    control.listen()
    while True:
        client, _ = control.accept()
        threading.Thread(target=serve, args=(client,), daemon=True).start()


if __name__ == "__main__":
    main()
