"""The picture of convergence has a panel a clip, which says what its bounds are worth and compares with the others."""

import pytest

from benchmarks.convergence import convergence_figure, draw_convergence


def move(clip, seconds, lower, upper, guarantee="grid"):
    return {
        "video": f"/videos/A/{clip}.avi", "seconds_since_submit": seconds, "fmsr_lower": lower, "fmsr_upper": upper,
        "fmsr_lower_guarantee": guarantee,
    }  # fmt: skip


TRACE = [
    move("b", 1.0, 0.0, None), move("a", 2.0, 0.0, None, "lipschitz:estimated"),
    move("a", 3.0, 0.0, 2000.0, "lipschitz:estimated"), move("c", 4.0, 0.0, None), move("d", 4.0, 0.0, None),
    move("b", 6.0, 64.0, None), move("a", 8.0, 64.0, 500.0, "lipschitz:estimated"),
]  # fmt: skip


@pytest.fixture
def figure():
    return convergence_figure(TRACE, "L2")


def panels(figure):
    return {axes.get_title(): axes for axes in figure.axes if axes.axison}


def test_every_clip_has_a_panel_and_the_rest_of_the_last_row_is_empty(figure):
    assert list(panels(figure)) == ["a", "b", "c", "d"]
    assert len(figure.axes) == 6


def test_bounds_are_steps_that_hold_until_the_end(figure):
    lower, upper = panels(figure)["a"].lines
    end = lower.get_xdata()[-1]
    assert end > 8
    assert (lower.get_drawstyle(), upper.get_drawstyle()) == ("steps-post", "steps-post")
    assert list(lower.get_xdata()) == list(upper.get_xdata()) == [2, 3, 8, end]
    assert list(lower.get_ydata()) == [0, 0, 64, 64]
    assert list(upper.get_ydata()) == [pytest.approx(float("nan"), nan_ok=True), 2000, 500, 500]


def test_a_panel_says_what_its_bounds_are_worth_and_no_legend_repeats_it(figure):
    found = {title: [text.get_text() for text in axes.texts] for title, axes in panels(figure).items()}
    assert found["a"] == ["lower: lipschitz:estimated", "upper: witness"]
    assert found["b"] == ["lower: grid", "upper: unknown"]
    assert not figure.legends
    assert all(axes.get_legend() is None for axes in figure.axes)


def test_all_panels_have_the_same_axes_and_the_figure_names_them_once(figure):
    drawn = panels(figure).values()
    assert {axes.get_yscale() for axes in drawn} == {"log"}
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in drawn}) == 1
    assert figure.get_supxlabel() == "seconds since the job was submitted"
    assert figure.get_supylabel() == "FMSR bounds, px (L2)"


def test_the_panels_with_none_below_them_say_the_seconds(figure):
    figure.draw_without_rendering()
    said = {title: axes.xaxis.get_tick_params()["labelbottom"] for title, axes in panels(figure).items()}
    assert said == {"a": False, "b": True, "c": True, "d": True}


def test_the_picture_is_written_with_its_folder(tmp_path):
    path = tmp_path / "pictures" / "new.png"
    draw_convergence(TRACE, "L2", path)
    assert path.read_bytes().startswith(b"\x89PNG")
