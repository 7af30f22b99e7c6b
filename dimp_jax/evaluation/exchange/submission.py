"""Packs a results folder for a benchmark's server or toolkit, or checks such an archive.

python -m dimp_jax.evaluation.submission OUT --server got10k --to FILE.zip
python -m dimp_jax.evaluation.submission OUT --server lasot --to FILE.zip --tracker dimp50
python -m dimp_jax.evaluation.submission --check FILE.zip --server got10k --dataset-dir DIR

`submission_check.py` says what is in an archive. It checks each new one before it gets its name.
"""

import dataclasses
import os
import re
import tempfile
import zipfile
from pathlib import Path
from typing import Annotated, Literal

import tyro

from dimp_jax.evaluation import datasets, identity, results
from dimp_jax.evaluation.exchange import submission_check
from dimp_jax.host import command_line
from dimp_jax.host.files import whole
from dimp_jax.media.images import InputError
from dimp_jax.media.text import first_names, rows_of

# Not taken from submission_check: what is wrong here must not be wrong there in the same way.
DATASETS = {
    "got10k": "got10k_test",
    "trackingnet": "trackingnet",
    "lasot": "lasot",
    "lasot_ext": "lasot_ext",
}
GOT10K_RUNS = 3
EPOCH = (1980, 1, 1, 0, 0, 0)  # of every file in an archive, so that equal results are equal bytes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Packs a results folder for a server, or checks an archive.

    Exit status: 0; 1 if --check finds something; 2 if nothing can be packed or checked.
    """

    out: Annotated[tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="OUT")] = None
    """Complete results of `evaluate.py --dataset`: got10k_test with --runs 3, trackingnet, lasot or
    lasot_ext."""

    server: Literal["got10k", "trackingnet", "lasot", "lasot_ext"]
    """Whose rules; LaSOT has no server, but files for its toolkit."""

    to: Path | None = None
    """The archive to write, FILE.zip; for LaSOT also a folder, which gets
    <tracker>_tracking_result/."""

    check: Path | None = None
    """An archive (for LaSOT also a folder <tracker>_tracking_result) to check instead."""

    dataset_dir: Path | None = None
    """The data set's folder; needed with --check. Default: the one that OUT was made from."""

    tracker: str | None = None
    """LaSOT: what the tracker is called. Default: the name of OUT."""

    run: int = 0
    """TrackingNet and LaSOT: which of several runs, from 0."""

    limit: int = 50
    """Show no more than this many problems."""


def pack(args: Arguments) -> tuple[Path, int]:
    """Writes the archive that the options ask for.

    Returns:
      what was written, and its number of files.

    Raises:
      InputError: the results are of something else or incomplete, the server would refuse them, or
        the archive cannot be written. An earlier archive of that name then stays as it was.
    """
    lasot = args.server.startswith("lasot")
    is_zip = args.to.suffix == ".zip"
    if not is_zip and not lasot:
        raise InputError(f"--to {args.to}: expected the name of a .zip file")
    sequences = _sequences(args)
    expected = submission_check.expected_of(sequences)
    if args.server == "got10k":
        files = _got10k_files(args.out, sequences)
    else:
        top = _lasot_folder(args) + "/" if lasot else ""
        files = {
            f"{top}{name}.txt": rows_of(boxes)
            for name, (boxes, _) in _read_run(args.out, sequences, args.run).items()
        }
    try:
        if is_zip:
            _write_zip(args.to, files, args.server, expected)
            return args.to, len(files)
        _write_folder(args.to / _lasot_folder(args), files, args.server, expected)
        return args.to / _lasot_folder(args), len(files)
    except OSError as error:
        raise InputError(f"{args.to}: cannot be written ({error.strerror})") from error


def check(args: Arguments) -> list[str]:
    """The problems of the archive --check.

    Raises:
      InputError: no such file, or the data set cannot be read.
    """
    sequences = datasets.load(DATASETS[args.server], args.dataset_dir)
    expected = submission_check.expected_of(sequences)
    return submission_check.check(args.check, args.server, expected)


def _sequences(args):
    """All sequences of the server's data set, if OUT has results of nothing less."""
    wanted = DATASETS[args.server]
    described = identity.read_input(args.out)
    if described.get("dataset") != wanted:
        what = described.get("dataset") or described.get("data") or described.get("video")
        runs = f" --runs {GOT10K_RUNS}" if args.server == "got10k" else ""
        raise InputError(
            f"{args.out}: results of {what or 'the demo'}, and this server scores {wanted}: make "
            f"them with evaluate.py CONFIG --dataset {wanted} --data-dir DIR{runs}"
        )
    for option, key in (("--sequences", "only"), ("--frames", "frames")):
        if described.get(key):
            raise InputError(
                f"{args.out}: made with {option}, so it is a part of {wanted} only: give the "
                f"evaluate.py command without {option}"
            )
    sequences = datasets.load(wanted, args.dataset_dir or described["data_dir"])
    identity.check_unchanged(args.out, sequences)
    return sequences


def _got10k_files(out, sequences):
    """{name in the archive: text}."""
    runs = results.count_runs(out)
    if runs < GOT10K_RUNS:
        raise InputError(
            f"{out}: has {runs} of the {GOT10K_RUNS} runs that the server asks for: give the "
            f"evaluate.py command again with --runs {GOT10K_RUNS}; what is done is kept"
        )
    read = [_read_run(out, sequences, run) for run in range(GOT10K_RUNS)]
    files = {}
    for sequence in sequences:
        name = sequence.name
        for number, run in enumerate(read, 1):
            files[f"{name}/{name}_{number:03d}.txt"] = rows_of(run[name][0])
        times_s = zip(*(run[name][1] for run in read), strict=True)  # a column for every run
        rows = (",".join(f"{seconds:.8f}" for seconds in row) + "\n" for row in times_s)
        files[f"{name}/{name}_time.txt"] = "".join(rows)
    return files


def _read_run(out, sequences, run):
    """{name: (boxes, times_s)} of all sequences of a run."""
    if not 0 <= run < results.count_runs(out):
        raise InputError(f"--run {run}: {out} has the runs 0 to {results.count_runs(out) - 1}")
    folder = results.run_folder(out, run)
    read = {}
    for sequence in sequences:
        found = results.read_sequence(folder, sequence.name)
        if found is not None and len(found[0]) == sequence.frames.count:
            read[sequence.name] = found
    missing = [sequence.name for sequence in sequences if sequence.name not in read]
    if missing:
        failed = sum(results.read_error(folder, name) is not None for name in missing)
        raise InputError(
            f"{folder}: incomplete: {len(missing)} of {len(sequences)} sequences have no results "
            f"({failed} of them failed): {first_names(missing)}: give the evaluate.py command "
            "again, it goes on with them"
        )
    return read


def _lasot_folder(args):
    name = args.out.resolve().name if args.tracker is None else args.tracker
    if not re.fullmatch(r"[\w.-]+", name, re.ASCII):
        raise InputError(f"--tracker {name!r}: expected letters, digits, '_', '-' and '.' only")
    return f"{name}_tracking_result"


def _write_zip(path, files, server, expected):
    """Writes an archive under `path`, unless the checker objects to it."""
    with whole(path) as temporary:
        with zipfile.ZipFile(temporary, "w") as archive:
            for name in sorted(files):
                info = zipfile.ZipInfo(name, EPOCH)
                info.create_system, info.external_attr = 3, 0o644 << 16  # 3: Unix, wherever it runs
                archive.writestr(info, files[name], zipfile.ZIP_DEFLATED, 9)
        _refuse(submission_check.check(temporary, server, expected), path)


def _write_folder(path, files, server, expected):
    """Writes a folder that appears whole, unless it exists or the checker objects to it."""
    if path.exists():
        raise InputError(f"{path}: exists: choose another --to or --tracker, or delete it")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as staging:
        for name, text in files.items():
            target = Path(staging, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="ascii", newline="\n")
        _refuse(submission_check.check(target.parent, server, expected), path)
        os.replace(target.parent, path)


def _refuse(problems, path):
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise InputError(f"{path}: not written, it would be refused: {problems[0]}{more}")


def _check_arguments(args):
    """Raises InputError unless the options ask for one thing and have what it needs."""
    if (args.out is None) == (args.check is None):
        raise InputError("give a results folder OUT to pack, or --check FILE, and not both")
    if args.check is not None and (args.to is not None or args.dataset_dir is None):
        raise InputError("--check FILE needs --dataset-dir DIR, and has no use for --to")
    if args.out is not None and args.to is None:
        raise InputError("--to FILE.zip: needed, the archive to write")
    if args.out is not None and not args.out.is_dir():
        raise InputError(f"{args.out}: no such folder")


@command_line.command("submission", InputError)
def main(argv=None, prog="python -m dimp_jax.evaluation.submission") -> int:
    """Exit status: 0; 1 if --check finds something; 2 after one line on stderr."""
    args = tyro.cli(Arguments, args=argv, prog=prog)
    _check_arguments(args)
    if args.check is None:
        path, count = pack(args)
        print(f"{path}: {count} files, as {args.server} asks for them")
        return 0
    problems = check(args)
    for problem in problems[: args.limit]:
        print(problem)
    if len(problems) > args.limit:
        print(f"... and {len(problems) - args.limit} more (--limit {len(problems)} shows all)")
    if not problems:
        print(f"{args.check}: nothing is wrong with it")
    return int(bool(problems))


if __name__ == "__main__":
    raise SystemExit(main())
