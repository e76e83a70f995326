#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""http_get.py HOST PORT PATH [EXPOSE] - GET a page through an exit, by libnswrap and ctypes"""
import ctypes
import http.client
import os
import socket
import sys


class Error(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("text", ctypes.c_char * 508)]


nswrap = ctypes.CDLL(os.environ.get("LIBNSWRAP", "libnswrap.so.0"))
nswrap.nswrap_exit_start.restype = ctypes.c_void_p
nswrap.nswrap_entrance_start.restype = ctypes.c_void_p


def words(*texts):
    """A list of C, with NULL at its end."""
    return (ctypes.c_char_p * (len(texts) + 1))(*(text.encode() for text in texts), None)


def start(function, fd, *arguments):
    error = Error()
    made = function(fd, fd, *arguments, ctypes.byref(error))
    if not made:
        sys.exit(f"http_get: {error.text.decode()}")
    return ctypes.c_void_p(made)


def dial(entrance, host, port):
    error = Error()
    fd = nswrap.nswrap_dial(entrance, b"tcp", host.encode(), port, 10000, 0, ctypes.byref(error))
    if fd < 0:
        sys.exit(f"http_get: {error.text.decode()}")
    return socket.socket(fileno=fd)


def main():
    host, port, path, *expose = sys.argv[1:]
    ours, theirs = socket.socketpair()
    out = start(nswrap.nswrap_exit_start, theirs.detach(), words(*expose) if expose else None)
    entrance = start(nswrap.nswrap_entrance_start, ours.detach())
    client = http.client.HTTPConnection(host, int(port))
    client.sock = dial(entrance, host, int(port))
    client.request("GET", path)
    print(client.getresponse().read().decode(), end="")
    client.close()
    nswrap.nswrap_entrance_stop(entrance)
    nswrap.nswrap_exit_stop(out)


if __name__ == "__main__":
    main()
