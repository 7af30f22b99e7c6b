"""The study from the pool to the report."""

import dataclasses

from dimp_jax.checkpoints import CheckpointError, weights_file
from dimp_jax.checkpoints.publish import without_folders
from dimp_jax.host import terminal
from dimp_jax.host.machine import machine
from dimp_jax.studies.ablation import cost, report
from dimp_jax.studies.trainings import data, run, score, settings, train
from dimp_jax.training import workdir


def train_and_score(study, args, arms, configs, sequences, console) -> None:
    """Does what is missing in the study's folder; writes the report whenever a part is done.

    Wave by wave: all arms of one to the first of `score_at`, tracked with, then to the last step,
    tracked with. Tracking at the points between comes last; hits are counted as they are passed.

    Args:
      configs: {arm: `Config`}, the base first.
    """
    load = machine()["load"]
    shared = run.share(study, args, configs[arms[0].name], sequences, console)
    points = settings.scored_steps(args)
    waves = sorted({arm.wave for arm in arms})

    def fitted(wave, step):
        return run.fitted(study, args, arms, configs, wave, step, shared, console)

    def done(wave, step):
        for point in points[: points.index(step) + 1]:
            groups, states, curves = fitted(wave, point)
            run.record(study, groups, states, curves, shared, wave, point)
        report.write(study, args, arms, configs, sequences)
        if (wave, step) == (waves[0], points[-1]):
            costs(study, args, groups, states, shared, load)
        if step == points[-1]:
            publish(study.folder, groups, states, shared.base, console)
        trained = run.members_of(groups, states)
        if wave != waves[0]:  # some arms track with the base's weights, of the first wave
            trained |= run.members_of(*fitted(waves[0], step)[:2])
        scored = [arm for arm in settings.scored_arms(args, arms, step) if arm.wave == wave]
        score.score(study, scored, configs, trained, step, sequences, console)
        report.write(study, args, arms, configs, sequences)

    for wave in waves:
        for step in dict.fromkeys((points[0], points[-1])):
            done(wave, step)
    for step in points[1:-1]:
        for wave in waves:
            done(wave, step)


def publish(out, groups, states, base, console) -> None:
    """Writes the weights of each training as a file for `--checkpoint`, out/weights/NAME."""
    for group, state in zip(groups, states, strict=True):
        for index, member in enumerate(group.members):
            path = out / "weights" / f"{member.name}.safetensors"
            if path.exists():
                continue
            config = dataclasses.replace(
                member.config, training=base.training, seed=member.seed, checkpoint=None
            )
            card = without_folders(workdir.card(config, f"{member.arm}, study ablation"))
            try:
                weights_file.save(path, train.member_variables(state, index), card, "float16")
            except CheckpointError as error:  # a training that diverged
                terminal.print_line(console, f"{member.name}: no file of its weights: {error}")


def costs(study, args, groups, states, shared, load) -> None:
    """Measures what a step costs, once."""
    if args.repeats and study.unit("cost") is None:
        batch = next(data.batches(shared.pool, groups[0].config, train.seeds_of(groups), 0))
        heads = shared.heads[args.seed]
        variables = {g: of | heads.get(g, {}) for g, of in shared.variables.items()}
        options = {"load": load, "train_py": not args.quick}
        rows = cost.measure(groups, states, batch, shared.base, variables, args.repeats, **options)
        study.record("cost", rows)
