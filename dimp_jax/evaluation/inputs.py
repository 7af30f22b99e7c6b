"""From the options of `evaluate.py` to the sequences to track."""

import hashlib
from pathlib import Path

from dimp_jax.checkpoints import shipped
from dimp_jax.evaluation import demo, sequences, window
from dimp_jax.evaluation.images import InputError


def load(args) -> tuple[list[sequences.Sequence], str | None]:
    """The sequences that the options `data`, `video`, `box`, `frames`, `show` ask for.

    Returns:
      sequences, and a name for the data; None for the demo.

    Raises:
      InputError: options that do not go together, or input that cannot be used.
    """
    if args.frames is not None and args.frames < 1:
        raise InputError(f"--frames {args.frames}: expected at least 1")
    if args.data is not None and args.video is not None:
        raise InputError("--data and --video: give only one of them")
    box = None if args.box is None else sequences.parse_box(args.box)
    if args.show:
        window.check_display()
    if args.data is not None:
        found = sequences.load_folder(args.data, limit=args.frames, box=box)
        return found, Path(args.data).resolve().name
    if args.video is not None:
        if box is None and not args.show:
            raise InputError(f"--video {args.video}: needs --box X,Y,W,H, or --show to draw it")
        source = int(args.video) if args.video.isdecimal() else args.video
        if isinstance(source, int) and args.frames is None and not args.show:
            raise InputError(f"--video {args.video}: a camera needs --show or --frames to end")
        found = sequences.load_video(source, limit=args.frames, box=box)
        return [found], found.name
    if box is not None:
        raise InputError("--box goes with --video, or with --data: the demo has its own")
    return [demo.load(limit=args.frames)], None


def describe(args, *, checkpoint) -> dict:
    """What the results depend on beside the configuration, as JSON types."""
    absolute = lambda path: None if path is None else str(Path(path).resolve())
    camera = args.video is not None and args.video.isdecimal()
    return {
        "data": absolute(args.data),
        "video": args.video if camera else absolute(args.video),
        "box": args.box,
        "frames": args.frames,
        **_version(checkpoint),
    }


def _version(checkpoint) -> dict:
    """What changes when other weights are stored under the same name."""
    path = None if checkpoint is None else shipped.resolve(checkpoint)
    if path is not None and path.is_file():
        # Not its time: the same file is installed again and again.
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256")
        return {"checkpoint_sha256": digest.hexdigest()}
    return {"checkpoint_modified": None if path is None else _last_modified(path)}


def _last_modified(folder):
    """Newest modification time below `folder`; None if it holds no files."""
    files = [p for p in folder.rglob("*") if p.is_file()]
    return max((p.stat().st_mtime for p in files), default=None)
