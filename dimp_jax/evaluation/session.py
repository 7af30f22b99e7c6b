"""One command of `evaluate.py`, from checked input to the table: who tracks what, and where to."""

import dataclasses
import functools
import hashlib
import re
from pathlib import Path

from dimp_jax import config as configs
from dimp_jax.evaluation import datasets, identity, inputs, jobs, results, summary
from dimp_jax.evaluation.exchange import formats
from dimp_jax.evaluation.metrics import rules
from dimp_jax.evaluation.runners import objects, one_by_one
from dimp_jax.host import command_line, compilation, terminal
from dimp_jax.media import video_writer
from dimp_jax.media.images import InputError
from dimp_jax.media.text import first_names

LONGEST_CHANGES = 80  # characters that a default --out says of changed options


def source(args) -> inputs.Source:
    """What the options ask to track."""
    return inputs.Source(
        data=args.data,
        video=args.video,
        dataset=args.dataset,
        data_dir=args.data_dir,
        only=args.sequences,
        boxes=args.box,
        frames=args.frames,
    )


def check(args) -> bool:
    """Prints what is wrong with a copy of a data set; True if it is complete.

    Raises:
      InputError: no data set, or no folder.
    """
    if args.dataset is None or args.data_dir is None:
        raise InputError("--check: needs --dataset and --data-dir")
    problems = datasets.check(args.dataset, args.data_dir)
    for problem in problems:
        print(problem)
    print(f"{args.dataset}: {len(problems) or 'no'} problem{'' if len(problems) == 1 else 's'}")
    return not problems


def evaluate(args) -> bool:
    """Checks the input, builds the tracker, tracks, prints table and failures; True if none failed.

    Raises:
      InputError: what was given cannot be used.
      Stopped: the person ended the run in the window.
    """
    _check_options(args)
    found = inputs.load(source(args), show=args.show)
    if found.objects and (args.batch > 1 or args.workers > 1):
        raise InputError("--box several times: its targets are tracked together already")
    rule = rules.get(args.rule or found.rule)
    results.check_names(found.sequences)
    out = Path(args.out) if args.out else Path("results") / default_name(args, found.name)
    config = configs.to_dict(args.settings)
    del config["training"]
    described = inputs.describe(source(args), checkpoint=args.settings.checkpoint)
    made_from = {"config": config, "inputs": described}
    identity.check_folder(
        out, **made_from, sequences=found.sequences, redo_changed=args.redo_changed
    )
    changed = identity.changed_sequences(out, found.sequences) if args.redo_changed else {}
    _check_videos(found, out, args, changed)

    share = _join_hosts(args.distributed)
    if found.objects and share.count > 1:
        raise InputError(
            f"--box several times, on {share.count} hosts: its targets are tracked together: start "
            "it on one host, with --distributed.no-auto"
        )
    console = terminal.console(quiet=share.index > 0)
    options = jobs.Options(
        seed=args.settings.seed,
        runs=args.runs,
        rule=rule.name,
        save_video=args.save_video,
        show=args.show,
    )
    is_done = functools.partial(jobs.has_results, out, options=options)
    if found.objects:
        is_done = lambda job: objects.are_targets_done(
            out, found.sequences, job.run, options=options
        )
    track_jobs = lambda todo: ()  # nobody has to be built for what is done already
    if changed or not all(is_done(job) for job in jobs.all_jobs(found.sequences, options.runs)):
        track_jobs = _who_tracks(args, found, out, options, console)
    identity.check_folder(out, **made_from)  # by now another process may have begun something else
    if changed:
        identity.forget_changed(out, found.sequences, inputs=described)
    identity.make_folder(out, **made_from, sequences=found.sequences)

    def tracked(todo):
        for job, outcome in track_jobs(todo):
            identity.check_ours(out, **made_from)
            yield job, outcome

    scores = jobs.run_jobs(
        tracked,
        found.sequences,
        out,
        options=options,
        console=console,
        share=share,
        is_done=is_done,
    )
    console.print(summary.table(scores))
    if args.format and share.index == 0:
        scoreless = formats.write(out, found, args.format, runs=args.runs, dataset=args.dataset)
        if scoreless:
            terminal.print_line(
                console,
                f"--format: no scores were recorded of {first_names(scoreless)} "
                f"({len(scoreless)} sequences): they count as found in every frame",
            )
    failed = list(jobs.failures(out, scores))
    for where, text in failed:
        console.rule(f"failed: {where}", style="red")
        terminal.print_line(console, text.rstrip())
    kinds = [f"boxes in {'/, '.join(args.format)}/"] if args.format else []
    if args.save_video:
        kinds.append(f"videos: {video_writer.encoder()}")
    terminal.print_line(console, "; ".join([f"results in {out}", *kinds]))
    if failed:
        console.print(f"{len(failed)} failed; the same command tries them again", style="red")
    return not failed


def default_name(args, data_name: str | None) -> str:
    """The folder of results in results/: the config, what was changed of it, and the data."""
    given = configs.to_dict(configs.load(args.config))
    changed = list(_changes(given, configs.to_dict(args.settings)))
    if given["checkpoint"] is None:  # it needs one: which, is no variant of the config
        changed = [text for text in changed if not text.startswith("checkpoint=")]
    text = re.sub(r"[^\w.=+-]+", "_", "-".join(changed))
    if len(text) > LONGEST_CHANGES:
        text = hashlib.sha256(text.encode()).hexdigest()[:8]
    return "-".join(part for part in (Path(args.config).stem, text, data_name) if part)


def _changes(given: dict, used: dict):
    """Yields option=value of what differs outside of "training"."""
    for name, value in used.items():
        if isinstance(value, dict) and isinstance(given[name], dict):
            if name != "training":
                yield from _changes(given[name], value)
        elif value != given[name]:
            yield f"{name}={Path(value).name if name == 'checkpoint' else value}"


def _check_options(args):
    for name in ("runs", "batch", "workers"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name} {getattr(args, name)}: expected at least 1")
    if args.batch > 1 and args.workers > 1:
        raise InputError("--batch and --workers: give only one of them")
    drawn = "--show" if args.show else "--save-video" if args.save_video else None
    if drawn and (args.batch > 1 or args.workers > 1):
        raise InputError(f"{drawn}: goes with one sequence at a time, without --batch or --workers")
    if args.runs > 1 and args.video is not None and args.video.isdecimal():
        raise InputError(f"--runs {args.runs}: a camera cannot be tracked again")
    if "coco" in args.format and args.video is not None and args.video.isdecimal():
        raise InputError("--format coco: not of a camera, whose frames have no files and are gone")


def _check_videos(found, out, args, changed):
    """Refuses an `out` where an annotated video would take the place of another one, or be of what
    the sequence was."""
    path_of = results.video_of_targets if found.objects else results.video_of
    for job in jobs.all_jobs(found.sequences, args.runs):
        name = job.sequence.name
        path = path_of(results.run_folder(out, job.run), name)
        if not path.exists():
            continue
        source = getattr(job.sequence.frames, "source", None)
        is_source = isinstance(source, str) and path.samefile(source)
        if args.save_video and (is_source or not identity.is_known(out, name)):
            what = "the video to be tracked" if is_source else "of no results in this folder"
            raise InputError(f"{path}: is {what}, and would be replaced: choose another --out")
        if name in changed and not args.save_video and not is_source:
            raise InputError(
                f"{path}: shows {name} as it was: give --save-video, too, or move the video"
            )


def _join_hosts(distributed: command_line.Distributed) -> jobs.Share:
    from dimp_jax.host.distributed import initialize_distributed

    try:
        several = initialize_distributed(**dataclasses.asdict(distributed))
    except ValueError as error:
        raise InputError(str(error)) from error
    if not several:
        return jobs.Share()
    import jax
    from jax.experimental import multihost_utils

    meet = lambda: multihost_utils.sync_global_devices("evaluation")
    return jobs.Share(jax.process_index(), jax.process_count(), meet)


def _who_tracks(args, found, out, options, console) -> jobs.TrackJobs:
    compilation.enable_cache()  # importing jax takes seconds: not before all input is checked
    if args.workers > 1:
        from dimp_jax.evaluation.runners import workers

        build = functools.partial(_compiled_tracker, args.settings)
        return lambda todo: workers.in_processes(
            build, todo, workers=args.workers, options=options, console=console
        )
    tracker = _tracker(args.settings)
    if tracker.notice:
        terminal.print_line(console, tracker.notice)
    shown = {"options": options, "console": console}
    with terminal.status(console, "compiling (once; kept for the next start)"):
        if found.objects:
            from dimp_jax.tracking.many.objects import Objects

            _warmup(Objects(tracker, len(found.sequences)))
            return lambda todo: objects.targets_of_one_video(tracker, todo, out, **shown)
        if args.batch > 1:
            from dimp_jax.evaluation.runners.lanes import at_once
            from dimp_jax.tracking.many.lanes import Lanes

            lanes = Lanes(tracker, args.batch)
            _warmup(lanes)
            return lambda todo: at_once(lanes, todo, **shown)
        _warmup(tracker)
        return lambda todo: one_by_one.one_by_one(tracker, todo, out, **shown)


def _compiled_tracker(settings):
    """The tracker of a worker process."""
    compilation.enable_cache()
    tracker = _tracker(settings)
    _warmup(tracker)
    return tracker


def _tracker(settings):
    from dimp_jax.tracking.tracker import build

    try:
        return build(settings)
    except (ValueError, FileNotFoundError) as error:
        raise InputError(str(error)) from error


def _warmup(tracks):
    """Compiles; parts of the predictor that do not fit the config are told of."""
    from dimp_jax.predictor.parts import PartError

    try:
        tracks.warmup()
    except PartError as error:
        raise InputError(str(error)) from error
