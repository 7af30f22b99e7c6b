"""Makes the pictures of the README from the demo clip: `python docs/pictures/make.py`.

tracking.webp: the clip as it is tracked, beside the score map of each frame.
method.png: the learned loss of the first frame, and the filter that is fitted with it.
"""

import functools
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure  # no pyplot: no window, and no state
from matplotlib.patches import Rectangle
from PIL import Image, ImageDraw, ImageFont

import dimp_jax
from dimp_jax.evaluation import demo
from dimp_jax.media import draw
from dimp_jax.models.dimp import STRIDE_PX, DiMP
from dimp_jax.predictor.correlation import correlate
from dimp_jax.predictor.objectives import Samples, learned_maps
from dimp_jax.predictor.predict import effective_params, optimize_filter
from dimp_jax.tracking import online

FOLDER = Path(__file__).parent
SHOWN_ITERATIONS = (0, 1, 2, 5, 10)
LATER_FRAME = 35  # of the figure, after the van: the filter has seen the first frame alone
FRAME_MS = 90
MAP_PX, MARGIN_PX = 228, 22
COLOR_MAP = matplotlib.colormaps["viridis"]


def track(tracker, frames, first_box):
    """Yields (frame, result, details) of every frame after the first."""
    state = tracker.init(frames[0], first_box)
    for frame in frames[1:]:
        state, result, details = tracker.detailed_step(state, frame)
        yield frame, result, details


def moving_picture(path, tracker, sequence) -> None:
    """Frames with their boxes on the left, score maps in one colour scale on the right."""
    frames = [image for _, image in sequence.images()]
    given = draw.annotate(
        frames[0], sequence.groundtruth[0], verdict=draw.GIVEN, score=None, frame=0
    )
    pictures = [beside(given, None)]
    for number, (frame, result, details) in enumerate(track(tracker, frames, sequence.init_box), 1):
        annotated = draw.annotate(
            frame,
            result.box_xywh,
            verdict=result.verdict.name,
            score=result.score,
            frame=number,
        )
        pictures.append(beside(annotated, np.asarray(details.look.scores[0])))
    first, *others = pictures
    durations = [12 * FRAME_MS] + [FRAME_MS] * (len(others) - 1) + [12 * FRAME_MS]
    first.save(
        path, save_all=True, append_images=others, duration=durations, loop=0, quality=55, method=6
    )


def beside(frame, scores) -> Image.Image:
    """One picture of an annotated frame and a score map [S, S], or an empty one."""
    height, width = frame.shape[:2]
    whole = Image.new("RGB", (width + MAP_PX + 2 * MARGIN_PX, height), "white")
    whole.paste(Image.fromarray(frame), (0, 0))
    corner = (width + MARGIN_PX, (height - MAP_PX) // 2 + 10)
    colors = np.full((1, 1, 3), 235, np.uint8)
    if scores is not None:
        colors = (COLOR_MAP(np.clip(scores, 0, 1))[..., :3] * 255).astype(np.uint8)
    shown = Image.fromarray(colors).resize((MAP_PX, MAP_PX), Image.Resampling.NEAREST)
    whole.paste(shown, corner)
    text = "score map of the search area" if scores is not None else "learning the target"
    ImageDraw.Draw(whole).text(
        (corner[0], corner[1] - 22), text, fill="black", font=ImageFont.load_default(15)
    )
    return whole


def method_figure(path, tracker, sequence) -> None:
    """Label, mask and weight of the first frame; scores of a later one as the filter is fitted."""
    frames = [image for _, image in sequence.images()][: LATER_FRAME + 1]
    model, settings = tracker.config.model, tracker.config.tracker
    apply = functools.partial(DiMP(model, folded=True).apply, {"params": tracker.network.params})
    state = tracker.init(frames[0], sequence.init_box)
    memory, predictor = state.memory, model.predictor
    start = apply(
        memory.feat[: memory.num_init],
        memory.box_xywh[: memory.num_init],
        method="initial_filter",
    )
    loss = apply(method="loss_parameters")
    fit = optimize_filter(
        loss,
        start,
        memory.feat,
        memory.box_xywh,
        memory.weight,
        predictor,
        num_iter=settings.memory.init_iterations,
        stride_px=STRIDE_PX,
    )
    one = Samples(
        memory.feat[:1], memory.box_xywh[:1], np.ones(1, np.float32), STRIDE_PX, start.shape[0]
    )
    maps, _ = learned_maps(effective_params(loss, predictor), one, predictor)
    first = online.sample_crops(settings, state.pose, frames[0], tracker.network)[0][0]
    *_, (_, _, later) = track(tracker, frames, sequence.init_box)

    figure = Figure(figsize=(11, 5.2), layout="constrained", facecolor="white")
    above, below = figure.subfigures(2, 1, height_ratios=(1.15, 1))
    axes = above.subplots(1, 5, width_ratios=(1, 1.15, 1.15, 1.15, 1.3))
    crop_px = settings.crop_size_px
    extent = (-STRIDE_PX / 2, crop_px + STRIDE_PX / 2, crop_px + STRIDE_PX / 2, -STRIDE_PX / 2)
    picture(axes[0], first, "first frame,\ntarget given", memory.box_xywh[0])
    learned = (
        (maps.label[0], "label:\nscores that are wanted"),
        (maps.mask[0], "mask: where scores\nbelow 0 count, too"),
        (maps.weight[0], "weight: how much\na cell matters"),
    )
    for axis, (values, title) in zip(axes[1:4], learned, strict=True):
        shown = axis.imshow(np.asarray(values), extent=extent, cmap=COLOR_MAP)
        titled(axis, title)
        above.colorbar(shown, ax=axis, shrink=0.6)
    axes[4].plot(fit.losses, color="#3b528b", marker="o", ms=3)
    axes[4].set(ylim=(0, None), xlabel="iteration")
    axes[4].set_title("loss of the filter\non the first frame", fontsize="medium")
    axes[4].spines[["top", "right"]].set_visible(False)
    axes = below.subplots(1, 1 + len(SHOWN_ITERATIONS))
    picture(axes[0], later.crops[0], f"frame {LATER_FRAME}:\nwhere is it?", None)
    for axis, iteration in zip(axes[1:], SHOWN_ITERATIONS, strict=True):
        scores = correlate(fit.iterates[iteration], later.look.feat[None])[0]
        axis.imshow(np.asarray(scores), extent=extent, cmap=COLOR_MAP, vmin=0, vmax=1)
        steps = "1 iteration" if iteration == 1 else f"{iteration} iterations"
        titled(axis, f"scores after\n{steps}" if iteration else "scores of the\ninitial filter")
    figure.savefig(path, dpi=100)


def picture(axis, crop, title, box_xywh) -> None:
    axis.imshow(np.asarray(crop).astype(np.uint8))
    titled(axis, title)
    if box_xywh is not None:
        x, y, w, h = np.asarray(box_xywh)
        axis.add_patch(Rectangle((x, y), w, h, fill=False, color="#5ac8ff", lw=2))


def titled(axis, title) -> None:
    axis.set(xticks=[], yticks=[])
    axis.set_title(title, fontsize="medium")


if __name__ == "__main__":
    tracker, sequence = dimp_jax.load("dimp_lite0"), demo.load()
    moving_picture(FOLDER / "tracking.webp", tracker, sequence)
    method_figure(FOLDER / "method.png", tracker, sequence)
