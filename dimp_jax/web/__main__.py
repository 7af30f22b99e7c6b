"""Serves one page on this machine: draw a box on the first frame of a clip, see it tracked.

python -m dimp_jax.web
python -m dimp_jax.web dimp50 --checkpoint CONVERTED --port 0 --open
"""

import dataclasses
import errno
import importlib.util
import ipaddress
import math
import signal
import socket
import sys
import webbrowser

import tyro

from dimp_jax.host import command_line

SHUTDOWN_S = 2  # for open connections to end
NEEDED = ("starlette", "uvicorn")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments(command_line.TrackerArguments):
    """Serves one page: draw a box on the first frame of a clip, see it tracked, take the boxes.

    Only this machine reaches it, unless --host says otherwise. Uploaded videos and results are in a
    temporary folder, the last four of each, and are removed when the command ends (Ctrl-C).
    """

    host: str = "127.0.0.1"
    """The address to listen at. Others than this machine's own let anybody in who reaches them:
    there is no password."""

    port: int = 8400
    """The port; 0: any free one, which is printed."""

    open: tyro.conf.FlagCreatePairsOff[bool] = False
    """Open the page in the browser."""

    max_upload_mb: float = 500.0
    """Larger videos are refused."""

    frames: int | None = None
    """Track only the first frames of each clip."""


def parse(argv, prog) -> Arguments:
    """See `command_line.parse_tracker`."""
    return command_line.parse_tracker(Arguments, argv, prog=prog)


def check_arguments(args: Arguments) -> None:
    """Raises ValueError: options that cannot be used, or the extra is missing."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        needed = " and ".join(missing)
        raise ValueError(f'the page needs {needed}: pip install "dimp_jax[web]"')
    if not 0 < args.max_upload_mb < math.inf:
        raise ValueError(
            f"--max-upload-mb {args.max_upload_mb:g}: expected more than 0, and finite"
        )
    if args.frames is not None and args.frames < 1:
        raise ValueError(f"--frames {args.frames}: expected at least 1")


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises ValueError: it cannot, and what to do."""
    if not 0 <= port <= 65535:
        raise ValueError(f"--port {port}: expected 0 to 65535; 0 is any free one")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except PermissionError as error:
        raise ValueError(f"--port {port}: needs rights of an administrator; try 8400") from error
    except (OSError, UnicodeError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise ValueError(
                f"--port {port}: is taken by another program (another demo?): choose another one, "
                "or --port 0 for any free one"
            ) from error
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"--host {host}: cannot listen there ({reason})") from error


def address_of(listening: socket.socket) -> str:
    """The address to open in a browser of this machine."""
    host, port = listening.getsockname()[:2]
    name = ipaddress.ip_address(host)
    if name.is_loopback or name.is_unspecified:
        return f"http://localhost:{port}/" if name.version == 4 else f"http://[::1]:{port}/"
    return f"http://[{host}]:{port}/" if name.version == 6 else f"http://{host}:{port}/"


def serve(tracker, listening: socket.socket, args: Arguments) -> None:
    """Answers requests until a signal ends it."""
    import uvicorn

    from dimp_jax.web import app, guard
    from dimp_jax.web.jobs import Worker
    from dimp_jax.web.session import Session

    session = Session(Worker(tracker, args.seed), limit=args.frames)
    backbone = args.model.backbone
    about = {"tracker": f"{args.config} ({backbone}). {tracker.notice or ''}".strip()}
    made = app.make(
        session, names=guard.names_of(args.host), max_upload_mb=args.max_upload_mb, about=about
    )
    settings = uvicorn.Config(
        made, log_level="warning", access_log=False, timeout_graceful_shutdown=SHUTDOWN_S
    )
    if hasattr(signal, "SIGHUP"):  # the terminal was closed
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    address = address_of(listening)
    print(f"{address} (Ctrl-C ends it)", flush=True)
    own, port = listening.getsockname()[:2]
    if not ipaddress.ip_address(own).is_loopback:
        print(
            f"--host {args.host}: whoever reaches this machine can use the page, at "
            f"http://{socket.gethostname()}:{port}/ or by its IP address",
            file=sys.stderr,
        )
    if args.open:
        webbrowser.open(address)
    uvicorn.Server(settings).run(sockets=[listening])


@command_line.command("demo", ValueError, OSError, ImportError)
def main(argv=None, prog="python -m dimp_jax.web") -> int:
    """Exit status: 2 if it cannot start, after a line on stderr; 130 after Ctrl-C."""
    args = parse(sys.argv[1:] if argv is None else argv, prog)
    check_arguments(args)
    with listen(args.host, args.port) as listening:
        from dimp_jax.tracking.tracker import build  # jax takes seconds: not before the checks

        serve(build(args.settings), listening, args)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
