"""What `make test-fast` runs: files that say within two minutes whether a change broke something in any room.

Single tests of other files join them by ``@pytest.mark.fast``. All of them are part of the whole suite, too.
"""

FAST = frozenset(
    {
        "test_architecture_axis",
        "test_arctan",
        "test_arguments",
        "test_balls",
        "test_closed_forms_that_cancel",
        "test_compiling",
        "test_data",
        "test_drawing",
        "test_duals",
        "test_empirical_kernel",
        "test_exact_law",
        "test_files",
        "test_image_files",
        "test_layout",
        "test_limits",
        "test_lower_bounds",
        "test_networks",
        "test_rates",
        "test_regimes",
        "test_reports",
        "test_run",
        "test_searching",
        "test_segments",
        "test_sequential",
        "test_statistics",
        "test_training",
        "test_verdict",
    }
)
"""Their names without ``.py``."""
