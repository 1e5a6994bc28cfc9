import logging
import pickle
import time
from collections import Counter
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from localblur.common.errors import LocalblurError
from localblur.datasets.images import srgb_encode
from localblur.datasets.loading.augmentation import Augmentation
from localblur.datasets.pair import Pair, PairInfo, Verdict, binary_mask
from localblur.datasets.patches import PatchDataset
from localblur.datasets.storage.hdf5 import LIBVER
from localblur.datasets.storage.layout import create_scene, write_header
from localblur.datasets.storage.patch_choice import turn
from localblur.datasets.storage.schema import PAIR_ROW
from localblur.datasets.store import StoreHeader

SIZE = (96, 120)


@pytest.fixture
def path(tmp_path, make_pair, make_file):
    members = [make_pair(name=f"{n}", size=SIZE) for n in range(5)]
    return make_file(tmp_path / "a.h5", {"train": members, "val": [make_pair("s2", size=SIZE)]})


def coordinates_pair(name="0", mask=None, size=SIZE, **info):
    """Pixels say where they are: red is the row, green the column; sharp differs from blurred in blue."""
    rows, columns = np.indices(size, dtype=np.uint8)
    blurred = np.dstack([rows, columns, np.zeros_like(rows)])
    sharp = np.dstack([rows, columns, np.full_like(rows, 255)])
    return Pair(scene="s1", info=PairInfo(name=name, **info), blurred=blurred, sharp=sharp, mask=mask)


def corner(sample):
    """Row and column of the upper left pixel of an unturned patch of `coordinates_pair`."""
    row, column = (sample["blurred"][:2, 0, 0] * 255).round().int().tolist()
    return row, column


def assert_same(left, right):
    assert left.keys() == right.keys()
    for key in left:
        assert torch.equal(left[key], right[key]), key


# --- what is refused ---


def test_pictures_smaller_than_a_patch_name_file_scene_and_sizes(path):
    with pytest.raises(
        LocalblurError, match=r"a\.h5: the pictures of scene s1 are 120x96, smaller than the 97 px patch"
    ):
        PatchDataset([path], patch_px=97)
    assert PatchDataset([path], patch_px=96)[0]["blurred"].shape == (3, 96, 96)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"split": "holdout"}, "split must be one of"),
        ({"patch_px": 0}, "patch_px must be at least 1"),
        ({"blur_aware_probability": 1.5}, r"blur_aware_probability must lie in \[0, 1\]"),
        ({"min_blurred_fraction": -0.1}, "min_blurred_fraction must lie"),
        ({"seed": -1}, "seed must not be negative"),
        ({"split": "test"}, "no usable test pair in .*a.h5"),
        ({"weights": [1.0, 2.0]}, "one weight >= 0 for each of the 1 files"),
        ({"weights": [-1.0]}, "one weight >= 0"),
        ({"weights": [float("nan")]}, "one weight >= 0"),
        ({"weights": [0.0]}, "leave no pair"),
    ],
)
def test_options_that_make_no_sense_are_named(path, options, complaint):
    with pytest.raises(LocalblurError, match=complaint):
        PatchDataset([path], **{"patch_px": 32, **options})


def test_missing_files_and_no_files_are_named(tmp_path):
    with pytest.raises(LocalblurError, match="does not exist"):
        PatchDataset([tmp_path / "none.h5"])
    with pytest.raises(LocalblurError, match="no usable train pair in no file"):
        PatchDataset([])


def test_missing_masks_are_zeros_with_a_flag_or_an_error(tmp_path, make_pair, make_file):
    members = [make_pair(name="0", size=SIZE), make_pair(name="1", size=SIZE, masked=False)]
    path = make_file(tmp_path / "a.h5", {"train": members})
    dataset = PatchDataset([path], patch_px=32)
    flags = {}
    for index in range(2):
        sample = dataset[index]
        flags[bool(sample["has_mask"])] = sample["mask"]
    assert set(flags) == {True, False}
    assert not flags[False].any()
    with pytest.raises(LocalblurError, match=r"a\.h5: pair s1/1 has no blur mask; run mask-dataset"):
        PatchDataset([path], patch_px=32, require_masks=True)


def test_rejected_pairs_are_never_used(tmp_path, make_file):
    members = [coordinates_pair("0"), coordinates_pair("1", verdict=Verdict.ACCEPT)]
    rejected = coordinates_pair("2", verdict=Verdict.REJECT)
    rejected.blurred[...] = 99
    path = make_file(tmp_path / "a.h5", {"train": [*members, rejected]})
    dataset = PatchDataset([path], patch_px=32)
    assert len(dataset) == 2
    assert not any((dataset[n]["blurred"] == 99 / 255).all() for n in range(20))
    with pytest.raises(LocalblurError, match="no usable train pair"):
        PatchDataset([make_file(tmp_path / "b.h5", {"train": [rejected]})], patch_px=32)


def test_pairs_whose_valid_box_is_too_small_are_left_out_with_a_warning(tmp_path, make_file, caplog):
    members = [coordinates_pair("0", valid_box=(0, 0, 31, 120)), coordinates_pair("1")]
    path = make_file(tmp_path / "a.h5", {"train": members})
    with caplog.at_level(logging.WARNING):
        assert len(PatchDataset([path], patch_px=32)) == 1
    assert "1 train pairs are left out" in caplog.text


def test_negative_indices_are_an_index_error(path):
    with pytest.raises(IndexError):
        PatchDataset([path], patch_px=32)[-1]


# --- what a sample is ---


def test_a_sample_has_the_promised_shapes_types_and_ranges(path):
    sample = PatchDataset([path], patch_px=48)[3]
    assert {key: (tuple(value.shape), value.dtype) for key, value in sample.items()} == {
        "blurred": ((3, 48, 48), torch.float32),
        "sharp": ((3, 48, 48), torch.float32),
        "mask": ((1, 48, 48), torch.float32),
        "has_mask": ((), torch.bool),
    }
    assert 0 <= sample["blurred"].min() < 0.1 < 0.9 < sample["blurred"].max() <= 1
    assert set(sample["mask"].unique().tolist()) <= {0.0, 1.0}


def test_blurred_sharp_and_mask_are_cut_and_turned_alike(tmp_path, make_file, rng):
    mask = rng.integers(0, 256, SIZE, dtype=np.uint8)
    path = make_file(tmp_path / "a.h5", {"train": [coordinates_pair(mask=mask)]})
    dataset = PatchDataset([path], patch_px=40, seed=4)
    ways = set()
    for index in range(60):
        sample = dataset[index]
        rows, columns = (sample["blurred"][:2] * 255).round().long()
        assert torch.equal(sample["sharp"][:2], sample["blurred"][:2])
        expected = binary_mask(mask)[rows.numpy(), columns.numpy()]
        np.testing.assert_array_equal(sample["mask"][0].numpy(), expected)
        steps = (
            rows[0, 1] - rows[0, 0],
            columns[0, 1] - columns[0, 0],
            rows[1, 0] - rows[0, 0],
            columns[1, 0] - columns[0, 0],
        )
        ways.add(tuple(int(step) for step in steps))
    assert len(ways) == 8


def test_turning_has_eight_ways_that_are_all_different(rng):
    square = rng.integers(0, 256, (5, 5, 3))
    turned = {turn(square, way).tobytes() for way in range(8)}
    assert len(turned) == 8
    np.testing.assert_array_equal(turn(square, 0), square)
    np.testing.assert_array_equal(turn(square, 1), square[:, ::-1])
    np.testing.assert_array_equal(turn(square, 5), square[::-1])


def test_linear_files_are_srgb_coded_on_load(tmp_path, make_pair, make_file):
    pair = make_pair(dtype=np.uint16, size=(32, 32))
    path = make_file(tmp_path / "a.h5", {"train": [pair]}, StoreHeader(encoding="linear", bit_depth=16))
    sample = PatchDataset([path], patch_px=32, augment=False)[0]
    expected = srgb_encode(pair.blurred / np.float32(65535))
    np.testing.assert_allclose(sample["blurred"].permute(1, 2, 0).numpy(), expected, atol=1e-6)


def test_patches_stay_in_the_valid_box_and_reach_its_borders(tmp_path, make_file, rng):
    box = (7, 11, 60, 101)
    mask = rng.integers(0, 256, SIZE, dtype=np.uint8)
    path = make_file(tmp_path / "a.h5", {"train": [coordinates_pair(mask=mask, valid_box=box)]})
    corners = []
    for probability in (0.0, 1.0):
        dataset = PatchDataset([path], patch_px=50, augment=False, blur_aware_probability=probability)
        corners.append({corner(dataset[n]) for n in range(400)})
    for found in corners:
        rows, columns = zip(*found, strict=True)
        assert (min(rows), max(rows)) == (7, 10)
        assert min(columns) >= 11
        assert max(columns) <= 51
    assert {column for _, column in corners[0]} >= {11, 51}


# --- a function of seed and index ---


def test_samples_depend_on_seed_and_index_alone(path):
    one, other = PatchDataset([path], patch_px=32, seed=5), PatchDataset([path], patch_px=32, seed=5)
    order = [7, 3, 1000, 0, 7]
    for index in order:
        assert_same(one[index], other[index])
    for index in reversed(order):
        assert_same(one[index], other[index])
    different = PatchDataset([path], patch_px=32, seed=6)
    assert not all(torch.equal(one[n]["blurred"], different[n]["blurred"]) for n in range(5))
    assert not torch.equal(one[0]["blurred"], one[5]["blurred"])


def test_every_pair_comes_once_per_round_in_an_order_of_its_own(tmp_path, make_file):
    members = [coordinates_pair(f"{n}") for n in range(6)]
    for number, pair in enumerate(members):
        pair.blurred[..., 2] = number
    path = make_file(tmp_path / "a.h5", {"train": members})
    dataset = PatchDataset([path], patch_px=16)
    assert len(dataset) == 6
    rounds = [[round(float(dataset[6 * r + n]["blurred"][2, 0, 0]) * 255) for n in range(6)] for r in range(4)]
    assert all(sorted(order) == list(range(6)) for order in rounds)
    assert len({tuple(order) for order in rounds}) > 1


def test_weights_are_shares_of_the_samples(tmp_path, make_file):
    paths = []
    for number, count in enumerate((6, 1, 2)):
        members = [coordinates_pair(f"{n}") for n in range(count)]
        for pair in members:
            pair.blurred[..., 2] = number
        paths.append(make_file(tmp_path / f"{number}.h5", {"train": members}))
    dataset = PatchDataset(paths, patch_px=4, weights=[1.0, 3.0, 0.0], blur_aware_probability=0)
    drawn = Counter(round(float(dataset[n]["blurred"][2, 0, 0]) * 255) for n in range(800))
    assert set(drawn) == {0, 1}
    assert 0.7 < drawn[1] / 800 < 0.8
    assert len(PatchDataset(paths, patch_px=4)) == 9


@pytest.mark.parametrize("workers", [0, 1])
def test_workers_do_not_change_what_is_read(path, workers):
    dataset = PatchDataset([path], patch_px=32, seed=2)
    expected = [dataset[n] for n in range(6)]  # the file is open in this process now
    loader = DataLoader(
        dataset,
        batch_size=3,
        sampler=list(range(6)),
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,
    )
    batches = list(loader)
    assert len(batches) == 2
    for number, batch in enumerate(batches):
        for key in batch:
            assert torch.equal(batch[key], torch.stack([expected[3 * number + n][key] for n in range(3)])), key


def test_a_dataset_in_use_can_be_pickled(path):
    dataset = PatchDataset([path], patch_px=32)
    expected = dataset[4]
    assert_same(pickle.loads(pickle.dumps(dataset))[4], expected)  # noqa: S301


# --- blur-aware cropping ---


def spot(*pixels, size=SIZE):
    mask = np.zeros(size, np.uint8)
    for y, x in pixels:
        mask[y, x] = 200
    return mask


@pytest.mark.parametrize("pixel", [(0, 0), (95, 119), (0, 119), (50, 60), (3, 64), (95, 17)])
def test_a_single_blurred_pixel_is_found_up_to_the_border_and_centred_where_possible(tmp_path, make_file, pixel):
    path = make_file(tmp_path / "a.h5", {"train": [coordinates_pair(mask=spot(pixel))]})
    dataset = PatchDataset([path], patch_px=33, augment=False, blur_aware_probability=1.0, min_blurred_fraction=0)
    expected = (min(max(pixel[0] - 16, 0), 96 - 33), min(max(pixel[1] - 16, 0), 120 - 33))
    for index in range(5):
        sample = dataset[index]
        assert corner(sample) == expected
        assert sample["mask"].sum() == 1
        assert sample["mask"][0, pixel[0] - expected[0], pixel[1] - expected[1]] == 1


def test_probability_decides_how_often_a_patch_shows_blur(tmp_path, make_file):
    path = make_file(tmp_path / "a.h5", {"train": [coordinates_pair(mask=spot((50, 60)))]})

    def share(probability):
        options = {"patch_px": 8, "blur_aware_probability": probability, "min_blurred_fraction": 0.0}
        dataset = PatchDataset([path], **options)
        return np.mean([bool(dataset[n]["mask"].any()) for n in range(300)])

    assert share(0.0) < 0.05
    assert 0.4 < share(0.5) < 0.6
    assert share(1.0) == 1.0


def test_pictures_with_less_blur_than_asked_for_are_cut_at_random(tmp_path, make_file):
    mask = np.zeros(SIZE, np.uint8)
    mask[:48, :60] = 255  # a quarter
    path = make_file(tmp_path / "a.h5", {"train": [coordinates_pair(mask=mask)]})

    def all_show_blur(fraction):
        dataset = PatchDataset([path], patch_px=9, blur_aware_probability=1.0, min_blurred_fraction=fraction)
        return all(dataset[n]["mask"].any() for n in range(60))

    assert all_show_blur(0.25)
    assert not all_show_blur(0.26)


def test_blurred_pixels_outside_the_valid_box_are_not_chosen(tmp_path, make_file):
    mask = spot((2, 2), (20, 20), (23, 23), (90, 110))
    pair = coordinates_pair(mask=mask, valid_box=(22, 22, 80, 100))
    path = make_file(tmp_path / "a.h5", {"train": [pair]})
    dataset = PatchDataset([path], patch_px=8, augment=False, blur_aware_probability=1.0, min_blurred_fraction=0)
    assert {corner(dataset[n]) for n in range(30)} == {(22, 22)}
    empty = replace(pair, mask=spot((20, 20)))
    dataset = PatchDataset([make_file(tmp_path / "b.h5", {"train": [empty]})], patch_px=8, blur_aware_probability=1.0)
    assert not any(dataset[n]["mask"].any() for n in range(30))


# --- many pairs ---


def write_many(path, scenes, per_scene):
    """A file of pairs of 16x16 that were never written: zeros, as chunks without content read."""
    row = np.zeros(per_scene, PAIR_ROW)
    row["complete"], row["valid_box"], row["verdict"] = 1, (0, 0, 16, 16), b"accept"
    row["name"] = [f"{number:06d}".encode() for number in range(per_scene)]
    with h5py.File(path, "w", libver=LIBVER) as file:
        write_header(file, StoreHeader(encoding="srgb", bit_depth=8), "now")
        for number in range(scenes):
            group = create_scene(file, f"s{number}", "train", (16, 16, 3), np.uint8, "gzip")
            for dataset in group.values():
                dataset.resize(per_scene, axis=0)
            group["pairs"][:] = row
    return path


def test_a_hundred_thousand_pairs_open_and_give_a_batch_within_two_seconds_of_work(tmp_path):
    path = write_many(tmp_path / "many.h5", 100, 1000)
    started = time.process_time()
    dataset = PatchDataset([path], patch_px=16)
    batch = next(iter(DataLoader(dataset, batch_size=16)))
    assert time.process_time() - started < 2
    assert len(dataset) == 100_000
    assert batch["blurred"].shape == (16, 3, 16, 16)
    assert len(pickle.dumps(dataset)) < 100 * len(dataset)  # what each worker is sent


def test_every_pair_of_many_scenes_is_reached_once(tmp_path, make_pair, make_file):
    counts = {"a": 3, "b": 1, "c": 4}
    members = [make_pair(scene, f"{n}", size=(8, 8)) for scene, count in counts.items() for n in range(count)]
    members += [make_pair("b", "no", size=(8, 8), verdict=Verdict.REJECT)]
    path = make_file(tmp_path / "a.h5", {"train": members})
    dataset = PatchDataset([path], patch_px=8, augment=False)
    found = Counter(dataset[index]["blurred"].numpy().tobytes() for index in range(len(dataset)))
    assert len(dataset) == len(found) == 8


def test_augmentation_changes_both_pictures_alike_but_noise_the_blurred_one_alone(tmp_path, make_file):
    pair = coordinates_pair(size=(40, 40))
    pair.sharp[...] = pair.blurred
    path = make_file(tmp_path / "a.h5", {"train": [pair]})
    both = Augmentation(channel_order=True, exposure_stops=0.5)
    dataset = PatchDataset([path], patch_px=40, augment=both)
    assert_same(dataset[5], dataset[5])
    for index in range(6):
        assert torch.equal(dataset[index]["blurred"], dataset[index]["sharp"])
    noisy = PatchDataset([path], patch_px=40, augment=both.model_copy(update={"noise": 0.1}))
    assert_same(noisy[3], noisy[3])
    assert not torch.equal(noisy[3]["blurred"], noisy[3]["sharp"])
