"""Every act of the hostile clients at once, for seconds; `make hostile` takes
minutes, and measures."""

import pytest


@pytest.mark.make("hostile", "TRY=1")
def test_hostile(made):
    assert made.stdout
