"""The order of a folder's images: shown by the numbers in their names, or refused; orders written down by hand."""

from __future__ import annotations

import itertools

import pytest
from PIL import Image

from teinet.data.video.image_folder import image_order
from teinet.data.video.image_order import UnclearOrder, in_order, in_order_of
from teinet.data.video.reader import VideoReader, is_video
from teinet.errors import VideoError


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        ("number", "img_9.png img_10.png img_11.png"),
        ("number", "00001.jpg 00002.PNG 3.jpeg"),
        ("number", "IMG_1.JPG img_2.jpg"),
        ("number", "clip-3.png clip-10.png"),  # a dash, not a sign
        ("number", "v2_c1_001.png v2_c1_012.png"),
        ("number", "part1_1.png part1_2.png part2_3.png"),  # both rise
        ("number", "frame_1_of_9_s17.png frame_2_of_9_s17.png"),
        ("signed number", "t_-10.png t_-9.png t_0.png t_1.png"),
        ("decimal number", "1305031102.175304.png 1305031102.977504.png 1305031103.111204.png 1305031104.047104.png"),
        ("decimal number", "0.png 0.04.png 0.08.png 0.1.png 1.02.png"),
        ("decimal number", "-0.50.png -0.25.png 0.00.png 0.25.png"),
        ("date and time", "2024-01-31_23-59-59.jpg 2024-02-01_00-00-00.jpg 2024-02-01_00-01-00.jpg"),
        ("date and time", "PXL_20240131_235959123.jpg PXL_20240201_000000001.jpg PXL_20240201_000100001.jpg"),
        ("date and time", "cam 2024-01-31T12.05.09.500.png|cam 2024-01-31T12.06.01.png|cam 2024-02-01T11.00.00.png"),
        ("date and time", "00-00-59.960.png 00-01-00.000.png 00-01-00.040.png"),
    ],
)
def test_orders_that_names_show(rule, names):
    wanted = tuple(names.split("|" if "|" in names else " "))
    for given in itertools.permutations(wanted):
        assert in_order(given) == (wanted, rule)


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ("flow_x_0.jpg flow_x_1.jpg img_0.jpg img_1.jpg", "flow_x_0.jpg and img_0.jpg have the same number"),
        ("00001.jpg 00001.png", "have the same number"),
        ("001.jpg 1.jpg", "001.jpg and 1.jpg have the same number"),
        ("IMG_1.jpg img_1.jpg", "have the same number"),
        ("cam1_01.png cam1_02.png cam2_01.png cam2_02.png", "cam1_01.png and cam2_01.png have the same number"),
        ("left_1.png right_2.png", "are named differently"),
        ("p1_01.png p1_03.png p2_02.png p2_04.png", "have numbers of two orders"),  # two cameras with one counter
        ("01-02-2024.jpg 02-02-2024.jpg 31-01-2024.jpg", "have the same number"),  # the day comes first
        ("-1.png -3.png", "have numbers that can be read in two ways"),  # signs or dashes
        ("1.10.png 1.9.png", "have numbers that can be read in two ways"),  # fractions or parts
        ("1.10.png 1.9.png 2.1.png", "have numbers of two orders"),  # the same
        ("at 1.00.00 PM.png|at 1.00.10 PM.png|at 12.59.59 PM.png", "have times of 12 hours"),
        ("0001_a8f3.png 0002_b9c1.png", "are named differently"),
    ],
)
def test_names_that_contradict_each_other_are_refused(names, why):
    for given in itertools.permutations(names.split("|" if "|" in names else " ")):
        with pytest.raises(UnclearOrder, match=why if given == tuple(sorted(given)) else why.split(" have ")[-1]):
            in_order(given)


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("img_%d.jpg", "img_0.jpg img_1.jpg"),
        ("%03d.jpg", "001.jpg 002.jpg"),
        ("cam%d_%02d.png", "cam1_01.png cam1_02.png cam2_01.png"),
        ("%f.png", "1.10.png 1.9.png"),
        ("%d.%d.png", "1.9.png 1.10.png"),
        ("t_%d.png", "t_-10.png t_-9.png"),
        ("%04d_*.png", "0001_a8f3.png 0002_b9c1.png"),
    ],
)
def test_a_pattern_settles_the_order_by_its_numbers_from_left_to_right(pattern, wanted):
    wanted = tuple(wanted.split())
    for given in itertools.permutations((*wanted, "flow_x_0.jpg", "1.jpg")):
        assert in_order_of(pattern, given) == wanted
    with pytest.raises(UnclearOrder, match="the same number"):
        in_order_of("img_%d*", ("img_1.jpg", "img_1.png"))


@pytest.fixture
def two_series(tmp_path):
    for number, series in itertools.product(range(3), ("img", "depth")):
        gray = 20 * number + (100 if series == "depth" else 0)
        Image.new("L", (8, 8), gray).save(tmp_path / f"{series}_{number:05d}.png")
    (tmp_path / "times.txt").touch()
    return tmp_path


def test_two_series_are_refused_until_one_is_named_as_the_message_says(two_series):
    assert is_video(two_series)  # not passed over
    with pytest.raises(VideoError) as error:
        VideoReader(two_series).sample(range)
    pattern = f"{two_series}/img_%05d.png"
    said = "the order of its images is unclear: depth_00000.png and img_00000.png have the same number; name one series"
    assert error.value.reason == f"{said} with data.image_names, such as img_%05d.png, or give {pattern}"
    assert VideoReader(pattern).sample(range).images[:, 0, 0, 0].tolist() == [0, 20, 40]
    assert image_order(pattern)[1:] == ("pattern img_%05d.png", ())


def test_images_of_other_names_are_said_to_be_left_out(two_series):
    for name in ("depth_00000.png", "depth_00001.png", "depth_00002.png"):
        (two_series / name).unlink()
    (two_series / "cover.png").touch()
    (two_series / "3.png").mkdir()
    order = image_order(str(two_series))
    assert order.names == ("img_00000.png", "img_00001.png", "img_00002.png")
    assert (order.rule, order.others) == ("number", ("3.png", "cover.png", "times.txt"))


def test_real_names_of_a_depth_camera(shared):
    names = image_order(str(shared / "data" / "troubles" / "tum_names")).names
    assert len(names) == 24 and list(names) == sorted(names)  # all digits of one length: text sorts as time
