"""Cells are measured in processes of their own, and skipped with a reason where time or memory does not suffice."""

import csv
import math

import pytest
from click.testing import CliRunner

from localblur.common.errors import LocalblurError
from localblur.training.benchmark_deblur import main, parse_size, table, weigh
from localblur.training.inference.network_speed import SIZES, Speed, measure_all, measure_apart
from localblur.training.networks.table import NETWORKS


@pytest.mark.parametrize("text", ["", "x", "12", "12x", "0x5", "-1x5", "axb"])
def test_senseless_sizes_are_refused(text):
    with pytest.raises(LocalblurError, match="is no size"):
        parse_size(text)


def test_unknown_networks_are_one_line(tmp_path):
    result = CliRunner().invoke(main, ["-o", str(tmp_path), "--network", "nothing"])
    assert result.exit_code == 1
    assert "unknown network 'nothing'" in result.stderr


def test_every_network_is_weighed():
    assert weigh("lbag").parameters == 16_109_670
    assert weigh("nafnet-w32").macs / 1e9 == pytest.approx(16.0, abs=0.2)
    assert len({weigh(name).macs for name in ("mimo-unet", "mimo-unet-plus", "tiny")}) == 3
    assert set(NETWORKS) > {"lbag", "restormer"}


def test_small_sizes_come_first_and_what_does_not_fit_is_skipped_with_its_reason():
    asked = []

    def measure(network, size, left_s):
        asked.append((network, size.name))
        area = size.pixels / SIZES[0].pixels
        per_area = {"quick": (1e-6, 1e6), "slow": (60.0, 1e6), "wide": (1e-6, 4e8)}[network]
        return Speed(network=network, size=size, seconds=per_area[0] * area, peak_bytes=per_area[1] * area)

    found = list(measure_all(["quick", "slow", "wide"], SIZES, measure, budget_s=100.0, memory_bytes=1e9))
    assert [speed.size.name for speed in found] == [size.name for size in SIZES for _ in range(3)]
    by_network = {name: [speed for speed in found if speed.network == name] for name in ("quick", "slow", "wide")}
    assert not any(speed.skipped for speed in by_network["quick"])
    assert by_network["slow"][1].skipped.startswith("time: about 624 s wanted")
    assert by_network["wide"][1].skipped.startswith("memory: about 1.6 GB wanted, 1.0 GB free")
    assert by_network["wide"][2].skipped == "memory: 256x256 was skipped already"
    assert len(asked) == 5 + 1 + 1


def test_without_time_everything_is_skipped():
    found = list(measure_all(["a"], SIZES[:2], lambda *_: pytest.fail("measured"), budget_s=0.0, memory_bytes=1e9))
    assert all("budget" in speed.skipped or "already" in speed.skipped for speed in found)


def test_a_process_that_takes_too_long_is_ended():
    found = measure_apart("tiny", SIZES[0], 0.0, precision="fp32", device="cpu")
    assert found.skipped.startswith("time: not done after")


def test_the_command_measures_and_writes_table_and_plot(tmp_path):
    arguments = ["-o", str(tmp_path / "out"), "--network", "tiny", "--size", "64x48", "--precision", "fp32"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    with (tmp_path / "out" / "speed.csv").open(newline="") as file:
        (line,) = csv.DictReader(file)
    assert (line["network"], line["width"], line["height"], line["skipped"]) == ("tiny", "64", "48", "")
    assert 0 < float(line["seconds"]) < 60
    assert float(line["images_per_s"]) == pytest.approx(1 / float(line["seconds"]), rel=1e-3)
    assert (tmp_path / "out" / "speed.png").stat().st_size > 5000
    again = CliRunner().invoke(main, arguments)
    assert "exists already" in again.stderr


def test_the_table_names_what_is_missing():
    speeds = [Speed(network="tiny", size=SIZES[0], skipped="memory: about 9 GB wanted, 1 GB free")]
    text = table({"tiny": weigh("tiny")}, speeds)
    assert "- (memory)" in text
    assert "tiny 128x128: skipped, memory: about 9 GB wanted" in text
    assert math.isnan(speeds[0].seconds)
