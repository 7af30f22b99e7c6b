"""The folder of a study: finished units of work, tables, plots and the report.

OUT/
  study.json     what the study was made from; a folder of another one is refused
  units/KEY.json one finished unit each: a study that was stopped goes on with the missing ones
  NAME.csv, NAME.png
  cost.json      seconds that all commands on the folder took together
  report.md      generated; begins with the text of findings.md, if somebody wrote one
"""

import csv
import dataclasses
import datetime
import hashlib
import io
import json
import os
import re
import shlex
import time
from pathlib import Path

from dimp_jax import config as configs
from dimp_jax.evaluation import inputs, results
from dimp_jax.host.machine import machine
from dimp_jax.media.images import InputError

COST = "cost.json"
CONFIGS = {  # parts of what a study was made from
    "base": configs.Config,
    "config": configs.Config,
    "model": configs.ModelConfig,
    "tracker": configs.TrackerConfig,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Common:
    """Options of every study."""

    out: Path
    """Folder of the study; the same command goes on where it was stopped."""

    config: str = "dimp_lite0"
    """A config file, or the name of one that ships with dimp_jax."""

    checkpoint: str | None = None
    """Weights instead of those that the config names."""

    data: tuple[Path, ...] = ()
    """Sequences (img/*.jpg|png, groundtruth.txt), or folders of them; default: the demo clip."""

    frames: int | None = None
    """Use only the first frames of each sequence. Default: all; with --quick, a few."""

    seed: int = 0
    """Of all randomness."""

    quick: bool = False
    """Small sizes, the first sequence: under two minutes on two cores, to see that it works."""


@dataclasses.dataclass(frozen=True)
class Study:
    """An open folder."""

    folder: Path
    name: str
    command: str
    seed: int
    seconds_before: float = 0.0  # of earlier commands
    started: float = dataclasses.field(default_factory=time.monotonic)

    def unit(self, key: str):
        """What `record` stored under `key`, or None."""
        path = self._path(key)
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def record(self, key: str, value) -> None:
        """Stores a finished unit, JSON values; complete or not at all."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        results.write_atomically(path, json.dumps(value, indent=1) + "\n")
        self._spent()

    def table(self, name: str, rows: list[dict]) -> None:
        """Writes NAME.csv; the columns are those of all rows, in the order they come up."""
        columns = list(dict.fromkeys(column for row in rows for column in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        results.write_atomically(self.folder / f"{name}.csv", text.getvalue())

    def report(self, title: str, sections: list[str]) -> None:
        """Writes report.md: title, findings, how it was made, then the sections (Markdown)."""
        findings = self.folder / "findings.md"
        parts = [f"# {title}"]
        if findings.is_file():
            parts.append(findings.read_text(encoding="utf-8").strip())
        parts.append(
            f"Command: `{self.command}`. Seed {self.seed}. Machine: {where()}. "
            f"{datetime.date.today().isoformat()}. Took {duration(self._spent())}."
        )
        results.write_atomically(self.folder / "report.md", "\n\n".join(parts + sections) + "\n")

    def _spent(self) -> float:
        """Seconds up to now, of earlier commands, too; written down."""
        seconds = self.seconds_before + time.monotonic() - self.started
        results.write_atomically(self.folder / COST, json.dumps({"seconds": seconds}) + "\n")
        return seconds

    def _path(self, key):
        return self.folder / "units" / f"{unit_name(key)}.json"


def unit_name(key: str) -> str:
    """Of a unit: letters beyond ASCII have a digest, for the `_` in their place are all alike."""
    name = re.sub(r"[^A-Za-z0-9._=-]+", "_", key)
    return name if key.isascii() else f"{name}-{hashlib.sha256(os.fsencode(key)).hexdigest()[:8]}"


def check_names(sequences) -> None:
    """Raises InputError: two sequences would have the same units."""
    owners = {}
    for sequence in sequences:
        owner = owners.setdefault(unit_name(sequence.name).strip("_"), sequence)
        if owner is not sequence:
            raise InputError(
                f"--data: the sequences {owner.name!r} and {sequence.name!r} would have the same "
                "files in the study: rename one of them"
            )


def duration(seconds: float) -> str:
    """For people: "40 s", "12 min", "6.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def state_of(folder: Path) -> tuple[str, str]:
    """(cost, state) of a study's folder, from its report or else from what is finished."""
    report = folder / "report.md"
    if report.is_file():
        text = report.read_text(encoding="utf-8")
        made = re.search(r"^Command: .*?(\d{4}-\d\d-\d\d)\.(?: Took (.*)\.)?$", text, re.MULTILINE)
        day, took = made.groups() if made else (None, None)
        return took or "not recorded", "report" if day is None else f"report of {day}"
    if not (folder / "study.json").is_file():
        return "-", "not run"
    done = len(list((folder / "units").glob("*.json")))
    return f"{duration(_seconds(folder))} so far", f"begun, {done} units"


def answer_of(folder: Path) -> str | None:
    """The first sentence of what its report says, if somebody wrote findings."""
    report = folder / "report.md"
    text = report.read_text(encoding="utf-8") if report.is_file() else ""
    found = re.search(r"^\*\*What it says\.\*\*(.+?\.)\s", text, re.MULTILINE | re.DOTALL)
    return found and " ".join(found[1].replace("*", "").split())


def check_counts(args, names, expected: str = "at least 1", least: int = 1) -> None:
    """Raises InputError for an option, or one of its numbers, below `least`."""
    for name in names:
        value = getattr(args, name)
        numbers = value if isinstance(value, tuple) else (value,)
        if any(number is not None and number < least for number in numbers):
            option = f"--{name.replace('_', '-')} {' '.join(map(str, numbers))}"
            raise InputError(f"{option}: expected {expected}")


def smaller(args, **sizes):
    """The options with numbers, and lengths of tuples, of at most `sizes`; None is no limit."""

    def least(value, most):
        if isinstance(value, tuple):
            return value[:most]
        return most if value is None else min(value, most)

    sizes = {name: least(getattr(args, name), most) for name, most in sizes.items()}
    return dataclasses.replace(args, **sizes)


def config_of(common: Common):
    """The config that the options name, with their weights."""
    config = configs.load(common.config)
    if common.checkpoint is not None:
        config = dataclasses.replace(config, checkpoint=common.checkpoint)
    return config


def inputs_of(common: Common, config) -> list[dict]:
    """What a study's figures depend on beside the config: frames and weights, as JSON values."""
    return [input_of(data, common, config) for data in common.data or (None,)]


def input_of(data: Path | None, common: Common, config) -> dict:
    """The same of one folder."""
    data = None if data is None else str(data)
    source = inputs.Source(data=data, frames=common.frames)
    return inputs.describe(source, checkpoint=config.checkpoint)


def open_study(name: str, common: Common, made_from: dict, argv) -> Study:
    """Opens, or goes on with, the folder `common.out`; `argv` is for the report.

    Args:
      made_from: JSON values; all that the figures depend on.

    Raises:
      InputError: the folder holds another study, or cannot be written.
    """
    made_from = json.loads(json.dumps({"study": name, **made_from}, default=str))
    path = common.out / "study.json"
    try:
        common.out.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            found = up_to_date(json.loads(path.read_text(encoding="utf-8")), made_from)
            wrong = sorted(k for k in made_from | found if found.get(k) != made_from.get(k))
            if wrong:
                raise InputError(
                    f"{common.out} holds a study with another {' and '.join(wrong)}: choose "
                    "another --out, or delete that folder"
                )
        else:
            results.write_atomically(path, json.dumps(made_from, indent=1) + "\n")
    except OSError as error:
        raise InputError(f"{common.out}: cannot be written ({error.strerror})") from error
    command = f"python -m dimp_jax.studies {shlex.join(argv)}"
    return Study(common.out, name, command, common.seed, _seconds(common.out))


def up_to_date(found: dict, now: dict) -> dict:
    """What a study was made from, the configs in it by `with_new_fields`."""
    parts = CONFIGS.keys() & found.keys() & now.keys()
    return found | {part: with_new_fields(CONFIGS[part], found[part], now[part]) for part in parts}


def with_new_fields(cls, found: dict, now: dict) -> dict:
    """The values of a config that was found: a field that is newer was as its default is.

    Args:
      cls: of the config. now: today's values; what they leave out is left out.
    """
    try:
        whole = json.loads(json.dumps(configs.to_dict(configs.from_dict(cls, found))))
    except ValueError:  # of a field that is no more: another config
        return found
    return _fields_of(now, whole)


def _fields_of(now, whole):
    if not (isinstance(now, dict) and isinstance(whole, dict)):
        return whole
    return {key: _fields_of(now[key], whole[key]) for key in now if key in whole}


def _seconds(folder) -> float:
    """What the commands on a folder took until now; 0 if that is not known."""
    path = folder / COST
    return json.loads(path.read_text(encoding="utf-8"))["seconds"] if path.is_file() else 0.0


def markdown_table(rows: list[dict], *, digits: int = 3) -> str:
    """Rows as a Markdown table; numbers get `digits` significant digits, None becomes a dash."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    for row in rows:
        cells = (_cell(row.get(column), digits) for column in columns)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def where() -> str:
    """Processor, cores, load, device and versions, for people."""
    import jax  # takes seconds: commands check their input first

    here = machine()
    return (
        f"{here['machine']}, {here['cores']} cores, load {here['load']} at the end, "
        f"{jax.default_backend()}, jax {jax.__version__}, Python {here['python']}"
    )


def _cell(value, digits):
    if value is None:
        return "-"
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)
