# asyncio's TLS needs no network: both ends are here, and one does not speak it.
import asyncio
import socket
import ssl


async def main():
    ours, theirs = socket.socketpair()
    theirs.sendall(b"this is no TLS record\r\n" * 3)
    try:
        await asyncio.open_connection(sock=ours, ssl=ssl.create_default_context(), server_hostname="x")
    except ssl.SSLError as error:
        print(type(error).__name__, error.reason)
    reader, writer = await asyncio.open_connection(sock=theirs)
    try:
        await asyncio.get_running_loop().start_tls(writer.transport, asyncio.Protocol(), "no context")
    except TypeError as error:
        print(error)


asyncio.run(main())
