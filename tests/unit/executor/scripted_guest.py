"""A guest that does what it is told, the right thing and every wrong one. Runs as a program of its own: standard library only.

The word before the descriptor says how it starts; the body of a call says what it does with the call.
"""

import os
import signal
import socket
import struct
import subprocess
import sys
import time

HEADER = struct.Struct(">IBBHIIII")
READY, LOAD, LOADED, CALL, ANSWER, ERROR, START, CHUNK, END, CREDIT, WARM, BODY = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
BACKGROUND = 2
PIECEWISE = 0x10
WINDOW = 8
KEPT: list[bytearray] = []


def frame(kind: int, *, call: int = 0, status: int = 0, head: bytes = b"", body: bytes = b"", flags: int = 0) -> bytes:
    """Return a frame's bytes."""
    return HEADER.pack(20 + len(head) + len(body), kind, flags, status, call, len(head), 7, 8) + head + body


def read(peer: socket.socket) -> tuple[int, int, int, bytes, bytes]:
    """Return type, call, status, head and body of the next frame; end with the connection."""
    fixed = peer.recv(HEADER.size, socket.MSG_WAITALL)
    if len(fixed) < HEADER.size:
        sys.exit(0)
    length, kind, _, status, call, head, _, _ = HEADER.unpack(fixed)
    rest = peer.recv(length - 20, socket.MSG_WAITALL) if length > 20 else b""
    return kind, call, status, rest[:head], rest[head:]


def stream(peer: socket.socket, call: int, count: int, size: int = 4) -> None:
    """Begin a streamed answer and send so many pieces, as credit comes; the first one goes with the start."""
    peer.sendall(frame(START, call=call, status=200, head=b"[]", body=b"0" * size))
    room = WINDOW
    for number in range(1, count):
        if not room:
            _, _, granted, _, _ = read(peer)
            room += granted
        peer.sendall(frame(CHUNK, call=call, body=b"%d" % (number % 10) * size))
        room -= 1
    # What was granted and not used lies in the socket still: it is read with the next call.


def read_by_and_by(peer: socket.socket, call: int, trick: str) -> None:  # noqa: C901  a list of tricks
    """Do with a call whose body is to be asked for what its head says."""

    def ask(pieces: int, of: int = call) -> None:
        peer.sendall(frame(CREDIT, call=of, status=pieces))

    def answer(body: bytes) -> None:
        peer.sendall(frame(ANSWER, call=call, status=200, head=b"[]", body=body))

    match trick.split(" "):
        case ["read", pieces]:
            ask(int(pieces))
            answer(b"|".join(read(peer)[4] for _ in range(int(pieces))))
        case ["echo", pieces]:
            ask(int(pieces))
            peer.sendall(frame(START, call=call, status=200, head=b"[]"))
            for _ in range(int(pieces)):
                peer.sendall(frame(CHUNK, call=call, body=read(peer)[4]))
            peer.sendall(frame(END, call=call))
        case ["ask-and-hang", pieces]:
            ask(int(pieces))
            time.sleep(1000)
        case ["ask-without-end"]:
            while True:
                ask(1)
        case ["ask-for-another"]:
            ask(1, of=call + 1)
            time.sleep(1000)
        case ["ask-after-answer"]:
            answer(b"answered")
            ask(1)
        case ["ask-in-background"]:
            peer.sendall(frame(ANSWER, call=call, status=200, head=b"[]", flags=BACKGROUND))
            ask(1)
            time.sleep(1000)
        case _:
            answer(b"unread")


def obey(peer: socket.socket, call: int, head: bytes, body: bytes) -> None:  # noqa: C901  a list of tricks
    """Do with a call what its body says."""
    begun = time.process_time()
    answer = frame(ANSWER, call=call, status=200, head=head, body=body)
    match body.decode("latin-1").split(" "):
        case ["exit", code]:
            os._exit(int(code))
        case ["answer-and-exit"]:
            peer.sendall(answer)
            os._exit(0)
        case ["signal", number]:
            os.kill(os.getpid(), int(number))
        case ["hang"]:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                time.sleep(1000)
        case ["sleep", seconds]:
            time.sleep(float(seconds))
            peer.sendall(answer)
        case ["burn", seconds]:
            while time.process_time() - begun < float(seconds):
                pass
            peer.sendall(answer)
        case ["burn-and-exit", seconds]:
            while time.process_time() - begun < float(seconds):
                pass
            os._exit(3)
        case ["child-burns", seconds]:
            source = f"import time\nwhile time.process_time() < {float(seconds)}: pass"
            subprocess.run([sys.executable, "-I", "-S", "-c", source], check=True)
            peer.sendall(answer)
        case ["swell", megabytes]:
            del (bytearray(b"x") * (int(megabytes) << 20))[:]
            peer.sendall(answer)
        case ["grow", megabytes]:
            KEPT.append(bytearray(b"x") * (int(megabytes) << 20))
            peer.sendall(answer)
        case ["grow-and-hang", megabytes]:
            KEPT.append(bytearray(b"x") * (int(megabytes) << 20))
            time.sleep(1000)
        case ["write-later", seconds, path]:
            time.sleep(float(seconds))
            open(path, "w").close()
        case ["child", path]:
            subprocess.Popen(["sh", "-c", f"echo $$ > {path}; exec sleep 1000"])
            while True:
                time.sleep(1000)
        case ["print", text, count]:
            os.write(1, text.encode() * int(count))
            os.write(2, b"complaint\n")
            peer.sendall(answer)
        case ["twice"]:
            peer.sendall(answer + answer)
        case ["other"]:
            peer.sendall(frame(ANSWER, call=call + 1, status=200))
        case ["garbage"]:
            peer.sendall(b"\xff" * 100)
        case ["huge"]:
            peer.sendall(HEADER.pack(1 << 30, ANSWER, 0, 200, call, 0, 0, 0))
        case ["close"]:
            peer.close()
            time.sleep(1000)
        case ["half"]:
            peer.sendall(answer[: len(answer) - 1])
            time.sleep(1000)
        case ["piecemeal"]:
            for at in range(len(answer)):
                peer.sendall(answer[at : at + 1])
        case ["status", status]:
            peer.sendall(frame(ANSWER, call=call, status=int(status)))
        case ["error", code]:
            reason = b'{"code":"%s","type":"ValueError","message":"no","stack":"at line 1"}' % code.encode()
            peer.sendall(frame(ERROR, call=call, status=500, head=reason, body=b'{"error":"no"}'))
        case ["stream", count, size]:
            stream(peer, call, int(count), int(size))
            peer.sendall(frame(END, call=call))
        case ["stream-and-fail", count]:
            stream(peer, call, int(count))
            reason = b'{"code":"handler_error","type":"ValueError","message":"late","stack":""}'
            peer.sendall(frame(ERROR, call=call, status=500, head=reason))
        case ["stream-and-exit", count]:
            stream(peer, call, int(count))
            os._exit(3)
        case ["stream-and-hang"]:
            stream(peer, call, 1)
            time.sleep(1000)
        case ["flood"]:
            peer.sendall(frame(START, call=call, status=200, head=b"[]"))
            while True:
                peer.sendall(frame(CHUNK, call=call, body=b"x"))
        case ["ask"]:
            peer.sendall(frame(CREDIT, call=call, status=1))
            time.sleep(1000)
        case ["chunk-without-start"]:
            peer.sendall(frame(CHUNK, call=call, body=b"x"))
        case ["start-twice"]:
            peer.sendall(frame(START, call=call, status=200) * 2)
        case ["background", seconds, path]:
            peer.sendall(frame(ANSWER, call=call, status=200, head=head, body=b"answered", flags=BACKGROUND))
            time.sleep(float(seconds))
            open(path, "w").close()
            peer.sendall(frame(END, call=call))
        case ["head", size]:
            peer.sendall(frame(ANSWER, call=call, status=200, head=b"h" * int(size)))
        case ["pid"]:
            peer.sendall(frame(ANSWER, call=call, status=200, body=str(os.getpid()).encode()))
        case _:
            peer.sendall(answer)


def main() -> None:  # noqa: C901  a list of tricks
    """Start as told, then obey."""
    script, descriptor = sys.argv[-2:]
    peer = socket.socket(fileno=int(descriptor))
    os.set_inheritable(peer.fileno(), False)
    if script == "never-ready":
        time.sleep(1000)
    if script == "dies":
        sys.stderr.write("no such library\n")
        sys.exit(5)
    if script == "garbage":
        peer.sendall(b"hello, I am a guest\n" * 10)
        time.sleep(1000)
    warmed: list[bytes] = []
    peer.sendall(frame(READY, head=b'{"read_ahead": true}' if script == "reads-ahead" else b""))
    while True:
        kind, call, _, head, body = read(peer)
        if kind == CALL and script == "reads" and not body:
            read_by_and_by(peer, call, head.decode())
        elif kind == CALL:
            obey(peer, call, head, body)
        elif kind == LOAD and script == "load-dies":
            sys.exit(7)
        elif kind == LOAD and script == "load-hangs":
            time.sleep(1000)
        elif kind == LOAD and script == "load-fails":
            reason = b'{"code":"load_error","type":"SyntaxError","message":"a.py line 3","stack":""}'
            peer.sendall(frame(ERROR, status=500, head=reason, body=b'{"error":"a.py line 3"}'))
        elif kind == LOAD:
            peer.sendall(frame(LOADED, head=b"".join(warmed), flags=PIECEWISE if script == "reads" else 0))
        elif kind == WARM:
            warmed.append(head)


if __name__ == "__main__":
    main()
