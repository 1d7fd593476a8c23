"""
What the service can be told, and what it refuses.
"""

import pydantic
import pytest

from harness.errors import EgressDeniedError, UsageError
from harness.resilience import AdaptiveLimiterOptions
from harness.settings import ENVIRONMENT, ServiceSettings


def test_defaults_are_the_documented_ones() -> None:
    """
    Whoever says nothing gets the documented defaults.
    """
    settings = ServiceSettings()

    assert settings.breaker.failure_threshold == 5
    assert settings.breaker.break_duration == 30
    assert (settings.breaker.probes_max, settings.breaker.successes_to_close) == (3, 3)
    assert (settings.rate_limit.rate, settings.rate_limit.burst) == (100, 200)
    assert settings.rate_limit.wait_max == 30
    assert settings.upstream.attempts_max == 3
    assert settings.upstream.attempt_timeout == 30
    assert settings.upstream.total_timeout == 120
    connections = (settings.upstream.connections_max, settings.upstream.kept_alive_max)
    assert connections == (200, 100)
    assert AdaptiveLimiterOptions().base == 100
    assert (settings.tools.turns_max, settings.tools.pending_timeout) == (8, 60)
    assert (settings.webhook.attempts_max, settings.webhook.timeout) == (3, 10)
    assert settings.webhook.schedule().delays_s == (1, 2)
    assert settings.retention == 3600
    assert (settings.model, settings.temperature) == ("gpt-4o", 0.7)


def test_durations_and_rates_carry_units() -> None:
    """
    A bare number is refused where a unit is needed, with the way to write it.
    """
    settings = ServiceSettings.model_validate(
        {"breaker": {"break_duration": "250ms"}, "rate_limit": {"rate": "600/min"}}
    )

    assert settings.breaker.break_duration == 0.25
    assert settings.rate_limit.rate == 10
    with pytest.raises(pydantic.ValidationError, match="write a number and a unit"):
        ServiceSettings.model_validate({"breaker": {"break_duration": 5}})


def test_all_mistakes_are_told_at_once() -> None:
    """
    Unknown keys and senseless values are refused together.
    """
    with pytest.raises(pydantic.ValidationError) as caught:
        ServiceSettings.model_validate(
            {
                "breaker": {"failure_treshold": 5, "probes_max": 0},
                "upstream": {"base_url": "nowhere", "attempts_max": 0},
            }
        )

    assert {".".join(map(str, e["loc"])) for e in caught.value.errors()} == {
        "breaker.failure_treshold",
        "breaker.probes_max",
        "upstream.base_url",
        "upstream.attempts_max",
    }


def test_environment_goes_over_the_file() -> None:
    """
    Variables replace what the file said and leave the rest of it alone.
    """
    file = ServiceSettings.model_validate(
        {
            "port": 9000,
            "webhook": {"timeout": "1s"},
            "upstream": {"api_key": "sk-of-the-file"},
        }
    )

    settings = ServiceSettings.from_environment(
        {
            "PORT": "0",
            "WEBHOOK_URL": "http://127.0.0.1:4010/webhooks/default",
            "WEBHOOK_ALLOW_PRIVATE": "127.0.0.0/8, ::1/128",
            "UNRELATED": "x",
        },
        file,
    )

    assert settings.port == 0
    assert settings.webhook.timeout == 1
    assert settings.webhook.url == "http://127.0.0.1:4010/webhooks/default"
    assert settings.webhook.allow_private == ("127.0.0.0/8", "::1/128")
    assert settings.upstream.api_key.get_secret_value() == "sk-of-the-file"


def test_environment_mistakes_name_the_variable() -> None:
    """
    A variable that makes no sense is named, all of them at once.
    """
    with pytest.raises(UsageError) as caught:
        ServiceSettings.from_environment({"PORT": "soon", "WEBHOOK_URL": "there"})

    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        "PORT",
        "WEBHOOK_URL",
    ]


def test_secrets_do_not_show() -> None:
    """
    Neither a representation nor a dump nor an error shows a secret.
    """
    settings = ServiceSettings.from_environment(
        {
            "OPENAI_API_KEY": "sk-very-secret",
            "WEBHOOK_SECRET": "whsec_very_secret",
            "ADMIN_TOKEN": "admin-very-secret",
        }
    )

    shown = repr(settings) + str(settings) + settings.model_dump_json()

    assert "secret" not in shown.replace("secret=", "").replace('"secret"', "").replace(
        "SecretStr", ""
    )


def test_what_was_not_given_is_no_secret() -> None:
    """
    Only secrets that somebody gave are kept out of sight.
    """
    settings = ServiceSettings.from_environment({"OPENAI_API_KEY": "sk-one"})

    assert ServiceSettings().secret_texts() == ()
    assert settings.secret_texts() == ("sk-one",)


def test_dump_can_be_read_again() -> None:
    """
    Settings written as JSON are read back as the same settings.
    """
    settings = ServiceSettings.model_validate(
        {"breaker": {"break_duration": "1500us"}, "rate_limit": {"rate": "0.5/s"}}
    )

    again = ServiceSettings.model_validate_json(settings.model_dump_json())

    assert again.breaker == settings.breaker
    assert again.rate_limit == settings.rate_limit


def test_every_variable_puts_a_setting_that_exists() -> None:
    """
    The table of variables names only settings that there are.
    """
    for path in ENVIRONMENT.values():
        value: object = ServiceSettings()
        for part in path:
            assert part in type(value).model_fields  # type: ignore[attr-defined]
            value = getattr(value, part)


def test_store_defaults_to_a_file_under_the_data_directory() -> None:
    """
    Without a store of its own the service keeps a SQLite file under ``data_dir``.
    """
    settings = ServiceSettings.from_environment({"DATA_DIR": "/var/lib/svc/"})

    assert settings.store_url == "sqlite:////var/lib/svc/service.sqlite"


@pytest.mark.parametrize(
    ("host", "url", "allow_private", "is_dialled"),
    [
        ("127.0.0.1", "http://127.0.0.1:4010/", None, True),
        ("127.0.0.1", "http://localhost:4010/", None, True),
        ("127.0.0.1", "http://127.0.0.1:4010/", [], False),
        ("127.0.0.1", "http://hooks.example/", None, False),
        ("127.0.0.1", "http://10.0.0.1/", None, False),
        ("127.0.0.1", "http://hooks.example/", ["127.0.0.0/8"], True),
        ("0.0.0.0", "http://127.0.0.1:4010/", None, False),  # noqa: S104
        ("0.0.0.0", "http://127.0.0.1:4010/", ["127.0.0.0/8"], True),  # noqa: S104
    ],
)
def test_loopback_is_dialled_where_both_ends_are_there(
    host: str, url: str, allow_private: list[str] | None, *, is_dialled: bool
) -> None:
    """
    A service on loopback reaches the endpoint on loopback that its own settings name.

    In every other case loopback is a private network like all others, and a list, an
    empty one too, says all there is.
    """
    settings = ServiceSettings.model_validate(
        {"host": host, "webhook": {"url": url, "allow_private": allow_private}}
    )

    policy = settings.webhook.egress_policy(bound_host=settings.host)

    denied = False
    try:
        policy.check_address("127.0.0.1", 4010)
    except EgressDeniedError:
        denied = True
    assert denied is not is_dialled


def test_all_strategies_can_be_asked_for() -> None:
    """
    What the pipeline can do stands in the settings, each strategy with its figures.
    """
    settings = ServiceSettings.model_validate(
        {
            "breaker": {
                "failure_ratio": 0.5,
                "slow_ratio": 0.8,
                "slow_call": "4s",
                "window_calls": 40,
                "break_factor": 2,
                "break_max": "5min",
                "break_jitter": 0.1,
            },
            "concurrency": {"enabled": True, "requests_max": 8},
            "rate_limit": {"tokens_per_minute": 30_000},
            "upstream": {"hedging": {"enabled": True, "delay_min": "1s"}},
        }
    )

    options = settings.pipeline_options()

    breaker, limiter = options.circuit_breaker, options.rate_limiter
    assert breaker is not None
    assert (breaker.failure_ratio, breaker.slow_ratio) == (0.5, 0.8)
    assert (breaker.slow_call_s, breaker.window_calls) == (4, 40)
    assert (breaker.break_factor, breaker.break_max_s) == (2, 300)
    assert breaker.break_jitter == 0.1
    assert options.bulkhead is not None
    assert options.bulkhead.permits_max == 8
    assert options.adaptive_limiter is None
    assert limiter is not None
    assert (limiter.token_rate_per_s, limiter.token_burst) == (500, 30_000)
    assert options.hedging is not None
    assert options.hedging.delay_min_s == 1


def test_concurrency_can_be_found_out() -> None:
    """
    With a rule the limit is the one to begin with, and there is no fixed one.
    """
    settings = ServiceSettings.model_validate(
        {
            "concurrency": {"enabled": True, "adaptive": "vegas"},
            "upstream": {"attempt_timeout": "7s"},
        }
    )

    options = settings.pipeline_options()

    assert options.bulkhead is None
    assert options.adaptive_limiter is not None
    assert options.adaptive_limiter.strategy == "vegas"
    assert options.adaptive_limiter.base == 100
    assert options.adaptive_limiter.timeout_s == 7


def test_settings_that_do_not_fit_together_are_refused() -> None:
    """
    Mistakes across settings are told by the names in the file, all of them at once.
    """
    with pytest.raises(pydantic.ValidationError) as caught:
        ServiceSettings.model_validate(
            {
                "breaker": {
                    "failure_ratio": 0.5,
                    "window_calls": 5,
                    "break_duration": "9s",
                    "break_max": "3s",
                },
                "upstream": {
                    "attempt_timeout": "9s",
                    "total_timeout": "3s",
                    "backoff_base": "2s",
                    "backoff_max": "1s",
                },
            }
        )
    told = {".".join(map(str, e["loc"])): e["msg"] for e in caught.value.errors()}

    assert told.keys() == {"breaker", "upstream"}
    assert "window_calls is below minimum_throughput" in told["breaker"]
    assert "break_max is shorter than break_duration" in told["breaker"]
    assert "attempt_timeout is longer than total_timeout" in told["upstream"]
    assert "backoff_base is longer than backoff_max" in told["upstream"]


def test_probes_have_to_fit_through_the_bulkhead() -> None:
    """
    More probes than requests at once would never be made; a default gives way.
    """
    with pytest.raises(pydantic.ValidationError) as caught:
        ServiceSettings.model_validate(
            {
                "concurrency": {"enabled": True, "requests_max": 2},
                "upstream": {"attempts_max": 0},
            }
        )
    told = {".".join(map(str, e["loc"])): e["msg"] for e in caught.value.errors()}
    assert told.keys() == {"concurrency", "upstream.attempts_max"}
    assert "requests_max 2 is less than breaker.probes_max 3" in told["concurrency"]
    short = ServiceSettings.model_validate({"upstream": {"total_timeout": "3s"}})

    assert short.pipeline_options().attempt_timeout_s == 3


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, []),
        ({"webhook": {"url": "http://127.0.0.1:4010/"}}, []),
        ({"webhook": {"url": "https://hooks.example/"}}, []),
        ({"host": "0.0.0.0", "admin_token": "t"}, []),  # noqa: S104
        ({"host": "0.0.0.0"}, ["ADMIN_TOKEN"]),  # noqa: S104
        ({"webhook": {"url": "http://10.0.0.1/"}}, ["10.0.0.0/8"]),
        ({"webhook": {"url": "http://hooks.example:25/"}}, ["hooks.example:25"]),
        (
            {"webhook": {"url": "http://10.0.0.1/", "allow_private": ["10.0.0.0/8"]}},
            [],
        ),
        (
            {"host": "::", "webhook": {"url": "http://127.0.0.1:4010/"}},
            ["ADMIN_TOKEN", "127.0.0.0/8"],
        ),
    ],
)
def test_what_is_hardly_meant_is_doubted(
    values: dict[str, object], told: list[str]
) -> None:
    """
    Settings that are allowed and can hardly be meant are told, and no others.
    """
    doubts = ServiceSettings.model_validate(values).doubts()

    assert len(doubts) == len(told)
    assert all(word in doubt for word, doubt in zip(told, doubts, strict=True))
