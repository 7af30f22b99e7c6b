"""What `benchmarks.online` has measured: the table, the Pareto front and the plot."""

import statistics

from matplotlib.figure import Figure  # no pyplot: no window, and no state
from rich.table import Table

from benchmarks.online_variants import DEFAULT


def mean_and_spread(values) -> tuple[float, float | None]:
    """Mean and standard deviation (n - 1) over seeds; None for a single one."""
    spread = statistics.stdev(values) if len(values) > 1 else None
    return statistics.fmean(values), spread


def frames_per_second(records) -> dict[str, float]:
    """{variant: frames/s}: the ratio of each to the default, times one figure of the default.

    That figure is the median over all records: the default was timed beside every variant. Its own
    ratio is 1; what was measured against itself is the noise of a ratio.
    """
    default = statistics.median(record["default_frames_per_s"] for record in records)
    ratios = {record["variant"]: record["speed_ratio"] for record in records} | {DEFAULT: 1.0}
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
    return {r["variant"]: (speeds[r["variant"]], statistics.fmean(r["auc"])) for r in records}


def table(records) -> Table:
    """All records, best AUC first."""
    points = points_of(records)
    front = pareto_front(points)
    seeds = len(records[0]["auc"])
    shown = Table(
        caption=f"AUC: mean over sequences, then mean and standard deviation over {seeds} tracker "
        "seeds; worst: of the sequences; ratio: frames/s by the default's, timed in turns; init: "
        "first frame; decoding apart; *: no other one is both faster and better"
    )
    shown.add_column("variant", overflow="fold")
    for heading in ("AUC", "+-", "worst", "ratio", "frames/s", "init ms", ""):
        shown.add_column(heading, justify="right")
    for record in sorted(records, key=lambda r: -points[r["variant"]][1]):
        name = record["variant"]
        mean, spread = mean_and_spread(record["auc"])
        shown.add_row(
            name,
            f"{mean:.3f}",
            "-" if spread is None else f"{spread:.3f}",
            f"{min(record['sequences'].values()):.3f}",
            f"{points[name][0] / points[DEFAULT][0]:.2f}",
            f"{points[name][0]:.1f}",
            f"{1e3 * record['init_s']:.0f}",
            "*" if name in front else "",
            style="bold" if name == DEFAULT else None,
        )
    return shown


def plot(path, records, title: str) -> None:
    """Draws AUC against frames/s with the Pareto front; bars: the spread over the seeds.

    Args:
      path: the PNG file to write.
    """
    points = points_of(records)
    front = pareto_front(points)
    figure = Figure(figsize=(10, 7), layout="tight")
    axis = figure.subplots()
    axis.plot(*zip(*(points[name] for name in front), strict=True), "-", color="0.7", zorder=1)
    for record in records:
        name, (speed, auc) = record["variant"], points[record["variant"]]
        is_default = name == DEFAULT
        color = "C3" if is_default else "C0" if name in front else "0.5"
        axis.errorbar(
            speed,
            auc,
            yerr=mean_and_spread(record["auc"])[1],
            fmt="*" if is_default else "o",
            markersize=14 if is_default else 5,
            color=color,
            elinewidth=0.8,
        )
        axis.annotate(
            name, (speed, auc), xytext=(5, 3), textcoords="offset points", fontsize=8, color=color
        )
    axis.set_xlabel("frames/s (decoding apart)")
    axis.set_ylabel("mean success AUC")
    axis.set_title(title)
    axis.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
