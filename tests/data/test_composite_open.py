"""Opening the composite source: built data sets, missing and broken pictures."""

import dataclasses
import pickle

import numpy as np
import pytest

from dimp_jax.config.training import CompositeConfig
from dimp_jax.data import records
from dimp_jax.data.composite import source as composite
from dimp_jax.data.composite import stock
from dimp_jax.data.source import Frame
from dimp_jax.media.images import InputError
from tests.support.composite_pictures import ellipse, make_folders, write
from tests.support.hidden_files import sprinkle

SIZE_HW = (120, 160)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    cutouts, backgrounds = make_folders(tmp_path_factory.mktemp("pictures"))
    return CompositeConfig(
        cutouts_dir=str(cutouts),
        backgrounds_dir=str(backgrounds),
        num_sequences=60,
        length=24,
        size_hw_px=SIZE_HW,
    )


class FakeDataSet:
    """Two videos of a moving disc with masks, or stills where `is_video` is False."""

    def __init__(self, name, is_video):
        self.name, self.is_video = name, is_video

    def __len__(self):
        return 2

    def visible(self, sequence):
        return np.ones(7 if self.is_video else 1, bool)

    def mask(self, sequence, frame):
        y, x = np.mgrid[:90, :130]
        return np.hypot(y - 45, x - 40 - 5 * frame) < 20

    def read(self, sequence, frame_ids):
        frames = []
        for frame in frame_ids:
            image = np.full((90, 130, 3), 40 + 60 * sequence, np.uint8)
            image[:, ::6] += np.uint8(5 * frame)
            image[self.mask(sequence, frame)] = (250, 120, 10)
            frames.append(Frame(image, np.zeros(4, np.float32)))
        return frames


def open_fake(data_dir, name, split="train", *, min_box_px):
    assert (data_dir, split, min_box_px) == ("/data", "val" if name == "clips" else "train", 2.0)
    return FakeDataSet(name, is_video=name == "clips")


def test_built_data_sets_give_objects_and_moving_backgrounds(monkeypatch, config):
    monkeypatch.setattr(records, "open_source", open_fake)
    config = dataclasses.replace(
        config,
        cutouts_dir=None,
        backgrounds_dir=None,
        objects_from=("clips:val", "stills"),
        videos_from=("clips:val",),
    )
    source = composite.open_source(config, "/data")
    origins = {entry.origin[1:] for entry in source.objects.entries}
    assert {origin[:2] for origin in origins} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert len(origins) == 2 * 4 + 2  # four frames of each video
    for sequence in range(10):
        scene, pictures = source.scene(sequence), source.pictures(sequence)
        assert pictures.canvas is None
        first, second = (source._canvas(scene, t) for t in (0, 1))
        assert (first != second).any()
        target = source.objects.entries[scene.layers[scene.target].entry].origin
        ground = source.backgrounds.entries[scene.background].origin
        assert (target.data_set, target.sequence) != (ground.data_set, ground.sequence)
        assert np.isfinite(source.read(sequence, [0, 23])[1].box_xywh).all()
    again = pickle.loads(pickle.dumps(source))
    image = again.read(4, [3])[0].image
    np.testing.assert_array_equal(image, source.read(4, [3])[0].image)


def test_missing_and_empty_folders_are_refused(tmp_path, config):
    def changed(**fields):
        return dataclasses.replace(config, **fields)

    with pytest.raises(InputError, match="no folder of cutouts: set training.data.composite.cut"):
        composite.open_source(changed(cutouts_dir=None), None)
    with pytest.raises(InputError, match="composite/backgrounds: no such folder"):
        composite.open_source(changed(backgrounds_dir=None), str(tmp_path))
    with pytest.raises(InputError, match="nowhere: no such folder; expected a folder of images"):
        composite.open_source(changed(cutouts_dir=str(tmp_path / "nowhere")), None)
    with pytest.raises(InputError, match="no image in it"):
        composite.open_source(changed(backgrounds_dir=str(tmp_path)), None)
    with pytest.raises(InputError, match="data set 'davis' is named, but no folder"):
        composite.open_source(changed(objects_from=("davis",)), None)
    with pytest.raises(InputError, match="'davis:': expected NAME or NAME:SPLIT"):
        composite.open_source(changed(objects_from=("davis:",)), "/data")
    with pytest.raises(ValueError, match=r"length=0.*expected at least 1, 1 and 64 x 64 px"):
        composite.open_source(changed(length=0), None)
    write(tmp_path / "rectangle.png", np.full((50, 50, 4), 255, np.uint8))
    with pytest.raises(InputError, match="none of its 1 pictures makes an object .1 no background"):
        composite.open_source(changed(cutouts_dir=str(tmp_path)), None)


def test_broken_backgrounds_are_named_and_left_out(tmp_path, config, caplog):
    cutouts, backgrounds = make_folders(tmp_path)
    broken = backgrounds / "broken.jpg"
    broken.write_bytes((backgrounds / "ground-0.jpg").read_bytes()[:500])
    config = dataclasses.replace(config, backgrounds_dir=str(backgrounds))
    source = composite.open_source(config, None)
    assert len(source.backgrounds.entries) == 2
    assert "broken.jpg: the image is truncated" in caplog.text


def test_one_object_alone_makes_sequences(tmp_path, config):
    write(tmp_path / "only.png", ellipse(50, 40, (200, 30, 30)))
    source = composite.open_source(dataclasses.replace(config, cutouts_dir=str(tmp_path)), None)
    assert source.read(0, [0])[0].image.shape == (*SIZE_HW, 3)


def test_hidden_files_are_no_pictures(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    sprinkle(tmp_path)
    assert stock.list_images(tmp_path, "pictures") == [str(tmp_path / "a.png")]
