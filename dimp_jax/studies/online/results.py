"""What the units of the study say: a record for each variant, and the rows of its tables."""

import dataclasses
import statistics

from dimp_jax import config as configs
from dimp_jax.studies import paired
from dimp_jax.studies.online.measure import seed_name, unit_key
from dimp_jax.studies.online.variants import DEFAULT

SUMMARY = """Success AUC (rule `visible`): mean over the sequences and the tracker's seeds; worst:
the lowest AUC of a sequence, mean over seeds. difference: to the default on the same sequences and
seeds, with the 95 % interval of a bootstrap over {drawn}; detectable: what would
have been told from 0 with probability 0.8. ratio: frames/s by the default's, both timed in turns in
one process without decoding, median over the rounds; frames/s: this ratio times one figure of the
default, the median over all its timings; first frame: the initialisation. *: no other variant is
both faster and better."""
PUBLISHED_TEXT = """Diamonds: the paper's differences for the ways to update the filter (Bhat et
al., ICCV 2019, table 3: 61.7 against 63.8 % on OTB-100, NFS and UAV123 together; other data and
another network, so only the order can be compared). Its moving average takes in every frame."""
PUBLISHED = {"none": -0.021, "moving_average": -0.021}  # AUC less that of the memory


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """One variant, measured."""

    name: str
    changes: dict  # {"memory.size": 30}: where the tracker's configuration is not the default
    default_values: dict  # {"memory.size": 50}: what the default has there
    auc: dict[int, dict[str, float]]  # of each seed and sequence
    speed_ratio: float
    default_frames_per_s: float
    init_s: float
    busy: str | None  # the notice, if other programs ran during the timing

    @property
    def auc_of_seeds(self) -> list[float]:
        """Mean over the sequences, for each seed."""
        return [statistics.fmean(scores.values()) for scores in self.auc.values()]

    @property
    def mean_auc(self) -> float:
        return statistics.fmean(self.auc_of_seeds)


def collect(study) -> list[Record]:
    """All variants with a speed and an AUC, those of earlier commands included; default first.

    A variant has the seeds from the study's first one to the first that is missing.
    """
    trackers, records = study.unit("variants"), []
    for name, tracker in trackers.items():
        speed = study.unit(unit_key(name, tracker, "speed"))
        auc, seed = {}, study.seed
        while (scores := study.unit(unit_key(name, tracker, seed_name(seed)))) is not None:
            auc[seed], seed = scores, seed + 1
        if speed is None or not auc:
            continue
        changed = list(configs.differences(trackers[DEFAULT], tracker))
        records.append(
            Record(
                name=name,
                changes={field: value for field, _, value in changed},
                default_values={field: value for field, value, _ in changed},
                auc=auc,
                **{field: speed[field] for field in SPEED_FIELDS},
            )
        )
    return sorted(records, key=lambda record: record.name != DEFAULT)


SPEED_FIELDS = ("speed_ratio", "default_frames_per_s", "init_s", "busy")


def frames_per_second(records) -> dict[str, float]:
    """{variant: frames/s}: the ratio of each to the default, times one figure of the default.

    That figure is the median over all records: the default was timed beside every variant. Its own
    ratio is 1; what was measured against itself is the noise of a ratio.
    """
    default = statistics.median(record.default_frames_per_s for record in records)
    ratios = {record.name: record.speed_ratio for record in records} | {DEFAULT: 1.0}
    return {name: ratio * default for name, ratio in ratios.items()}


def pareto_front(points: dict) -> list[str]:
    """Names of the points (speed, AUC) that no other one reaches in both; slowest first.

    Of equal points all are kept.
    """
    front = []
    for name, (speed, auc) in points.items():
        beaten = any(
            other[0] >= speed and other[1] >= auc and other != (speed, auc)
            for other in points.values()
        )
        if not beaten:
            front.append(name)
    return sorted(front, key=lambda name: points[name])


def points_of(records) -> dict[str, tuple[float, float]]:
    """{variant: (frames/s, mean AUC)}."""
    speeds = frames_per_second(records)
    return {record.name: (speeds[record.name], record.mean_auc) for record in records}


def compared(records) -> dict:
    """{variant: `paired.Measured`}, the default's first; one seed is enough."""
    measured = {record.name: record.auc for record in records}
    return paired.compared(measured, DEFAULT, over_sequences=True)


def published(records) -> dict[str, float]:
    """{variant: the paper's difference} of those that change nothing but how the filter learns."""
    ways = {record.name: record.changes.get("memory.update") for record in records}
    return {name: PUBLISHED[way] for name, way in ways.items() if way is not None}


def rows(records) -> list[dict]:
    """One for each variant, best AUC first."""
    points, apart = points_of(records), compared(records)
    front = pareto_front(points)
    made = []
    for record in sorted(records, key=lambda record: -record.mean_auc):
        of = apart[record.name].difference
        frames_per_s = points[record.name][0]
        seeds = list(record.auc.values())
        of_sequences = [statistics.fmean(of[name] for of in seeds) for name in seeds[0]]
        made.append(
            {
                "variant": record.name,
                "seeds": len(record.auc),
                "AUC": record.mean_auc,
                "worst": min(of_sequences),
                "difference": of and of.mean,
                "low": of and of.low,
                "high": of and of.high,
                "detectable": of and of.detectable,
                "ratio": frames_per_s / points[DEFAULT][0],
                "frames/s": frames_per_s,
                "first frame (ms)": round(1e3 * record.init_s),
                "front": "*" if record.name in front else "",
            }
        )
    return made


def sequence_rows(records) -> list[dict]:
    """AUC of every variant, seed and sequence."""
    return [
        {"variant": record.name, "seed": seed, "sequence": sequence, "AUC": auc}
        for record in records
        for seed, scores in record.auc.items()
        for sequence, auc in scores.items()
    ]


def noise(records) -> str:
    """How far the speeds can be trusted."""
    busy = [record for record in records if record.busy]
    text = f"The default timed in turns with itself: ratio {records[0].speed_ratio:.2f}, of noise."
    if busy:
        text += f" {len(busy)} of {len(records)} speeds are not to be relied on: {busy[0].busy}."
    return text
