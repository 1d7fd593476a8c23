"""
The pytest plugin, seen from whole sessions of somebody else's tests.
"""

import pytest

pytest_plugins = ["pytester"]

FAILING = """
import pytest

@pytest.mark.virtual_time
@pytest.mark.parametrize("number", [1, 2])
async def test_fails(number, virtual_time):
    assert virtual_time.randomness.seed == 0
"""


@pytest.fixture
def session(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """
    A project whose warnings are errors, with two plugins and no others.
    """
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini("""
        [pytest]
        asyncio_mode = auto
        asyncio_default_fixture_loop_scope = function
        filterwarnings = error
        addopts = --strict-markers -p pytest_asyncio.plugin -p harness.testing.plugin
    """)
    return pytester


def test_a_failure_prints_its_seed(session: pytest.Pytester) -> None:
    """
    Under a failing test stands the command that runs it again with its seed.
    """
    session.makepyfile(test_it=FAILING)

    first = session.runpytest_subprocess()
    again = session.runpytest_subprocess("--harness-seed=0")

    first.assert_outcomes(failed=2)
    first.stdout.re_match_lines_random(
        [r".*pytest --harness-seed=\d+ 'test_it.py::test_fails\[1\]'"]
    )
    again.assert_outcomes(passed=2)


def test_seeds_stay_from_session_to_session(session: pytest.Pytester) -> None:
    """
    Without an option a test has the same seed every time, and each test its own.
    """
    session.makepyfile(
        test_it="""
        def test_one(randomness):
            print("seed of one", randomness.seed)

        def test_two(randomness):
            print("seed of two", randomness.seed)
        """
    )

    first, second = (session.runpytest_subprocess("-s") for _ in range(2))

    seeds, seeds_again = (
        [line for line in result.outlines if "seed of" in line]
        for result in (first, second)
    )
    assert seeds == seeds_again
    assert seeds[0].split()[-1] != seeds[1].split()[-1]


def test_marks_that_the_loop_does_not_know_are_refused(
    session: pytest.Pytester,
) -> None:
    """
    A misspelt option of the marker is an error that names the right ones.
    """
    session.makepyfile(
        """
        import pytest

        @pytest.mark.virtual_time(sead=1)
        async def test_it():
            pass
        """
    )

    result = session.runpytest_subprocess()

    assert result.ret != 0
    result.stdout.fnmatch_lines(["*virtual_time takes latency_s, seed, steps_max*"])


def test_async_tests_of_others_go_on_as_before(session: pytest.Pytester) -> None:
    """
    Tests without the marker run on the loop that pytest-asyncio makes, in any scope.
    """
    session.makepyfile(
        """
        import asyncio
        import pytest

        loops = []

        @pytest.mark.asyncio(loop_scope="module")
        async def test_one():
            loops.append(asyncio.get_running_loop())

        @pytest.mark.asyncio(loop_scope="module")
        async def test_two():
            assert loops == [asyncio.get_running_loop()]

        async def test_three():
            assert asyncio.get_running_loop() not in loops
            assert type(asyncio.get_running_loop()).__module__.startswith("asyncio")
        """
    )

    session.runpytest_subprocess().assert_outcomes(passed=3)


def test_factories_of_others_are_kept(session: pytest.Pytester) -> None:
    """
    A project that has loop factories of its own keeps them, but for virtual time.
    """
    session.makeconftest(
        """
        import asyncio

        class Loop(asyncio.SelectorEventLoop):
            pass

        def pytest_asyncio_loop_factories(config, item):
            return {"own": Loop}
        """
    )
    session.makepyfile(
        """
        import asyncio
        import pytest

        async def test_own():
            assert type(asyncio.get_running_loop()).__name__ == "Loop"

        async def test_virtual(virtual_time):
            await asyncio.sleep(3600)
        """
    )

    session.runpytest_subprocess().assert_outcomes(passed=2)


def test_the_marker_is_enough_in_strict_mode(session: pytest.Pytester) -> None:
    """
    In the strict mode of pytest-asyncio a test needs no second marker, nor a fixture.
    """
    session.makepyfile(
        """
        import asyncio
        import pytest
        from harness.testing import SimLoop

        @pytest.mark.virtual_time
        async def test_marked(clock):
            await asyncio.sleep(3600)
            assert isinstance(asyncio.get_running_loop(), SimLoop)

        async def test_asks(virtual_time):
            assert asyncio.get_running_loop() is virtual_time

        @pytest.mark.asyncio
        @pytest.mark.virtual_time
        async def test_marked_twice():
            await asyncio.sleep(3600)

        class TestMethods:
            @pytest.mark.virtual_time
            @pytest.mark.parametrize("pause_s", [1, 3600])
            async def test_method(self, pause_s):
                await asyncio.sleep(pause_s)

        @pytest.mark.virtual_time
        def test_sync():
            pass
        """
    )

    result = session.runpytest_subprocess("-o", "asyncio_mode=strict")

    result.assert_outcomes(passed=6)


def test_processes_of_xdist_share_nothing(session: pytest.Pytester) -> None:
    """
    Several processes run tests in virtual time, with the seeds that one process gives.
    """
    session.makepyfile(
        """
        import pytest

        @pytest.mark.virtual_time
        @pytest.mark.parametrize("number", range(4))
        async def test_it(number, clock, recorder, randomness):
            assert recorder.events == []
            await clock.sleep(3600)
            print("seed", randomness.seed)
            assert False
        """
    )

    # pytest-xdist gives its processes the words of the first one.
    result = session.runpytest_subprocess("-p", "xdist.plugin", "-n", "2")
    alone = session.runpytest_subprocess()

    for each in (result, alone):
        each.assert_outcomes(failed=4)
    seeds, seeds_alone = (
        {line for line in each.outlines if line.startswith("seed ")}
        for each in (result, alone)
    )
    assert seeds == seeds_alone
    assert len(seeds) == 1
    result.stdout.fnmatch_lines(["the same run again: pytest --harness-seed=*"])


def test_works_without_pytest_asyncio(session: pytest.Pytester) -> None:
    """
    Where pytest-asyncio is not at hand, sync tests have fixtures and decorator.
    """
    session.makeini("[pytest]\naddopts = -p harness.testing.plugin\n")
    session.makepyfile(
        """
        import asyncio
        from harness.testing import in_virtual_time

        @in_virtual_time(seed=3)
        async def test_decorated(randomness):
            await asyncio.sleep(3600)
            assert asyncio.get_running_loop().time() == 4600

        def test_sync(clock, bus, recorder, ids):
            assert recorder.events == []

        async def test_async(virtual_time):
            pass
        """
    )

    result = session.runpytest_subprocess("-W", "error")

    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*virtual_time needs a pytest-asyncio*"])


def test_is_light(session: pytest.Pytester) -> None:
    """
    The plugin is loaded in everybody's pytest, so it brings nothing heavy with it.
    """
    session.makepyfile(
        """
        import sys

        def test_it():
            heavy = {"aiohttp", "pydantic", "mock_server", "openai", "jinja2"}
            assert not heavy & set(sys.modules)
        """
    )

    result = session.runpytest_subprocess(
        "-p", "no:aiohttp", "-p", "no:hypothesispytest"
    )

    result.assert_outcomes(passed=1)
