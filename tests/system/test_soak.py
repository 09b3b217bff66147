"""The soak's short form; `make soak` is the long one."""

import pytest

MINUTES = 0.75  # of faults; with what comes before and after, about one


@pytest.mark.make("soak", f"MINUTES={MINUTES}")
def test_soak(made):
    assert made.stdout
