"""
``python -m mock_server``: the mock alone.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mock_server.options import DEFAULT_HOST, DEFAULT_PORT, MockOptions, OptionsError
from mock_server.quick_start import start_quickly
from mock_server.tokens import ESTIMATE, TOKENIZERS


def make_parser() -> argparse.ArgumentParser:
    """
    Return the flags, the same as those of ``harness mock``.
    """
    parser = argparse.ArgumentParser(
        prog="mock_server",
        description="Everything outside a service that calls functions, as one mock.",
    )
    parser.add_argument(
        "--script", type=Path, metavar="FILE", help="script or scenario"
    )
    parser.add_argument("--host", default=DEFAULT_HOST, metavar="H")
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, metavar="P", help="0 takes a free one"
    )
    parser.add_argument(
        "--control-port",
        type=int,
        metavar="P",
        help="a second listener for control, tools and webhooks",
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="by default the scenario's"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes that share the work of one mock",
    )
    parser.add_argument(
        "--service-url", metavar="URL", help="where webhooks of deferred tools go"
    )
    parser.add_argument(
        "--webhook-secret", metavar="S", help="whsec_…, both directions"
    )
    parser.add_argument("--control-token", metavar="T")
    parser.add_argument(
        "--tls-cert", type=Path, metavar="FILE", help="speak TLS; a certificate as PEM"
    )
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key")
    parser.add_argument(
        "--tokenizer",
        choices=TOKENIZERS,
        default=ESTIMATE,
        help="what counts tokens; all but the estimate need the package bpe-openai",
    )
    parser.add_argument(
        "--speed", type=float, default=1.0, metavar="X", help="divides all latencies"
    )
    parser.add_argument(
        "--faults", action="store_true", help="print the catalogue of faults and end"
    )
    parser.add_argument(
        "--check", action="store_true", help="only check the script, and end"
    )
    parser.add_argument(
        "--event-log", type=Path, metavar="FILE", help="append every event to it"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Serve until told to stop, and return the exit code.
    """
    given = make_parser().parse_args(arguments)
    start_quickly()
    from mock_server.serving import (  # noqa: PLC0415 - once it is quick
        EXIT_PASSED,
        EXIT_USAGE,
        check,
        serve,
    )

    if given.faults:
        from mock_server.faults import describe_catalogue  # noqa: PLC0415 - loads them all

        print(describe_catalogue())  # noqa: T201 - what the flag is for
        return EXIT_PASSED
    if given.check:
        return check(given.script)
    try:
        options = MockOptions(
            host=given.host,
            port=given.port,
            control_port=given.control_port,
            seed=given.seed,
            service_url=given.service_url,
            webhook_secret=given.webhook_secret,
            control_token=given.control_token,
            tls_cert=given.tls_cert,
            tls_key=given.tls_key,
            speed=given.speed,
            event_log=given.event_log,
        )
    except OptionsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a mistake of the user
        return EXIT_USAGE
    return serve(
        options,
        script_file=given.script,
        workers=given.workers,
        tokenizer=given.tokenizer,
    )


if __name__ == "__main__":
    sys.exit(main())
