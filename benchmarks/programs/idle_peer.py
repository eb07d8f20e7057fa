"""Helper of `active_among_idle.py`: opens connections and holds them until its input is closed.

Usage: python idle_peer.py PORT NUMBER
"""

from __future__ import annotations

import resource
import socket
import sys


def main() -> None:
    port, number = int(sys.argv[1]), int(sys.argv[2])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (number + 100, hard))
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(number)]
    print(len(held), flush=True)
    sys.stdin.read()
    for connection in held:
        connection.close()


if __name__ == "__main__":
    main()
