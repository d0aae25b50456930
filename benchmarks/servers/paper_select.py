"""The paper's server: ``select.select`` on every socket, and one ``send`` per message and client.

It follows the paper and the tutorial behind it: one ``recv(10)`` for a header, one ``recv(n)`` for a message,
blocking sends, the four parts joined again for each client, no TCP_NODELAY. It prints nothing for a message,
like the other servers here. ``select`` supports only descriptors below 1024.
"""

from __future__ import annotations

import select
import socket

HEADER_LENGTH = 10

server_socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
server_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server_socket.bind(("127.0.0.1", 0))
server_socket.listen()
sockets_list = [server_socket]
clients: dict[socket.socket, dict[str, bytes]] = {}
print(f"Listening for connections on 127.0.0.1:{server_socket.getsockname()[1]}...", flush=True)


def receive_message(client_socket: socket.socket) -> dict[str, bytes] | None:
    try:
        message_header = client_socket.recv(HEADER_LENGTH)
        if not message_header:
            return None
        message_length = int(message_header.decode("utf-8").strip())
        return {"header": message_header, "data": client_socket.recv(message_length)}
    except (OSError, ValueError):
        return None


while True:
    read_sockets, _, exception_sockets = select.select(sockets_list, [], sockets_list)
    for notified_socket in read_sockets:
        if notified_socket is server_socket:
            new_socket, _address = server_socket.accept()
            new_user = receive_message(new_socket)
            if new_user is None:
                continue
            sockets_list.append(new_socket)
            clients[new_socket] = new_user
            continue
        message = receive_message(notified_socket)
        if message is None:
            sockets_list.remove(notified_socket)
            del clients[notified_socket]
            continue
        user = clients[notified_socket]
        for client_socket in clients:
            if client_socket is not notified_socket:
                client_socket.send(user["header"] + user["data"] + message["header"] + message["data"])
    for notified_socket in exception_sockets:
        sockets_list.remove(notified_socket)
        del clients[notified_socket]
