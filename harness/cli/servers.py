"""
Commands that serve until they are stopped.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.shared import app
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.settings import ServiceSettings


_ControlPort = Annotated[
    int | None,
    typer.Option(min=0, max=65535, help="A second listener: control, tools, webhooks."),
]
_Seed = Annotated[int | None, typer.Option(help="By default the scenario's own.")]
_MockWorkers = Annotated[
    int, typer.Option(help="Processes that share the work of one mock.")
]
_TlsCert = Annotated[Path | None, typer.Option(help="Speak TLS; a certificate as PEM.")]
_TlsKey = Annotated[Path | None, typer.Option(help="Its private key.")]
_Tokenizer = Annotated[
    str, typer.Option(help="estimate; with bpe-openai also o200k_base, cl100k_base.")
]


@app.command()
def mock(  # noqa: PLR0913 - a flag each
    script: Annotated[
        Path | None, typer.Option(help="Script or scenario file.")
    ] = None,
    host: Annotated[str, typer.Option()] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 4010,
    control_port: _ControlPort = None,
    seed: _Seed = None,
    workers: _MockWorkers = 1,
    tokenizer: _Tokenizer = "estimate",
    service_url: Annotated[
        str | None, typer.Option(help="Where webhooks to the service go.")
    ] = None,
    webhook_secret: Annotated[str | None, typer.Option(help="whsec_…")] = None,
    control_token: Annotated[
        str | None, typer.Option(help="Guards /_mock/; needed off loopback.")
    ] = None,
    *,
    tls_cert: _TlsCert = None,
    tls_key: _TlsKey = None,
    event_log: Annotated[Path | None, typer.Option(help="Write events here.")] = None,
    speed: Annotated[
        float, typer.Option(help="Divides every latency: 10 is ten times as fast.")
    ] = 1.0,
    faults: Annotated[bool, typer.Option("--faults", help="List the faults.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only check the script.")
    ] = False,
) -> None:
    """
    Serve the mock alone: model API, tool backend, webhook endpoint.
    """
    from mock_server import MockOptions
    from mock_server import OptionsError as MockOptionsError
    from mock_server import check as check_script
    from mock_server import serve as serve_mock

    if faults:
        from mock_server.faults import describe_catalogue

        typer.echo(describe_catalogue())
        return
    if check:
        raise typer.Exit(check_script(script))
    try:
        options = MockOptions(
            host=host,
            port=port,
            control_port=control_port,
            seed=seed,
            service_url=service_url,
            webhook_secret=webhook_secret,
            control_token=control_token,
            tls_cert=tls_cert,
            tls_key=tls_key,
            event_log=event_log,
            speed=speed,
        )
    except MockOptionsError as error:
        raise UsageError(str(error)) from error
    raise typer.Exit(
        serve_mock(options, script_file=script, workers=workers, tokenizer=tokenizer)
    )


def _settings(file: Path) -> "ServiceSettings":
    """
    Return the settings in a file, which may also be a scenario.
    """
    from harness.settings import ServiceSettings
    from mock_server.documents import read_document, validate_document

    document = read_document(file)
    if isinstance(document.data, dict) and "workload" not in document.data:
        # Whoever knows scenarios knows scripts and faults: that takes a while to load.
        return validate_document(document, ServiceSettings)
    from harness.scenario import load_settings

    return load_settings(file)


_Settings = Annotated[
    Path | None, typer.Option(help="YAML, in the words of a scenario's `service`.")
]
_Host = Annotated[
    str | None, typer.Option(help="Address to listen on; 127.0.0.1 by default.")
]
_Port = Annotated[
    int | None,
    typer.Option(
        min=0, max=65535, help="8000 by default; 0 takes a free one and prints it."
    ),
]
_Store = Annotated[
    str | None,
    typer.Option(
        help="sqlite:///PATH or redis://…; a SQLite file under DATA_DIR by default."
    ),
]
_Workers = Annotated[
    int, typer.Option(min=1, help="More than one needs a store on Redis.")
]
_AdminToken = Annotated[
    str | None, typer.Option(help="What operators have to show, needed off loopback.")
]


@app.command()
def serve(
    settings: _Settings = None,
    host: _Host = None,
    port: _Port = None,
    store: _Store = None,
    workers: _Workers = 1,
    admin_token: _AdminToken = None,
) -> None:
    """
    Serve the reference service alone.

    Flags go over the environment, and that over the settings file. It reads HOST, PORT,
    DATA_DIR, STORE_URL, ADMIN_TOKEN, OPENAI_BASE_URL, OPENAI_API_KEY, OPENAI_MODEL,
    TOOLS_BASE_URL, WEBHOOK_URL, WEBHOOK_SECRET and WEBHOOK_ALLOW_PRIVATE.
    """
    from harness.service import check_workers
    from harness.service import serve as serve_service
    from harness.settings import ServiceSettings

    base = ServiceSettings() if settings is None else _settings(settings)
    chosen = ServiceSettings.from_environment(os.environ, base=base)
    flags = {"host": host, "port": port, "store": store, "admin_token": admin_token}
    given = {name: value for name, value in flags.items() if value is not None}
    chosen = chosen.replaced(given)
    check_workers(workers, store_url=chosen.store_url)
    event_log = os.environ.get("HARNESS_EVENT_LOG")
    code = serve_service(
        chosen,
        event_log_file=Path(event_log) if event_log else None,
        seed=_seed_of(os.environ.get("HARNESS_SEED")),
    )
    raise typer.Exit(code)


def _seed_of(text: str | None) -> int | None:
    try:
        return int(text) if text else None
    except ValueError:
        message = f"HARNESS_SEED: {text!r} is no whole number"
        raise UsageError(message) from None
