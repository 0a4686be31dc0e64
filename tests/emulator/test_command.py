"""The command line, starting and stopping."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import httpx
import pytest
from mai_image import emulator
from mai_image.emulator import command


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_importing_the_package_imports_neither_aiohttp_nor_pillow():
    code = (
        "import sys, mai_image.emulator; "
        "sys.exit(any(name in sys.modules for name in ('aiohttp', 'PIL', 'asyncio')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_start_listens_on_loopback_and_prints_nothing(capfd):
    with emulator.start() as service:
        assert service.url.startswith("http://127.0.0.1:")
        assert httpx.get(service.url + "/x", trust_env=False).status_code == 404
    assert capfd.readouterr() == ("", "")


def test_stop_frees_the_port_and_may_be_called_again():
    service = emulator.start()
    service.stop()
    service.stop()
    with emulator.start(port=service.port) as again:
        assert again.port == service.port


def test_a_port_that_is_taken_is_an_os_error():
    with emulator.start() as service, pytest.raises(OSError, match="can't listen"):
        emulator.start(port=service.port)


def test_a_port_that_can_t_be_is_an_os_error():
    with pytest.raises(OSError, match="can't listen"):
        emulator.start(port=70_000)


def test_an_application_can_be_built_for_another_server():
    routes = {route.resource.canonical for route in emulator.app().router.routes()}
    assert {"/mai/v1/images/generations", "/mai/v1/images/edits"} <= routes


def test_the_command_says_how_to_call_it_and_ends_on_an_interrupt():
    port = free_port()
    argv = ["--port", str(port), "--key", "k1", "--deployment", "mine=MAI-Image-2.5", "--rpm", "9"]
    group = {"creationflags": 0x200} if os.name == "nt" else {}
    process = subprocess.Popen(
        [sys.executable, "-m", "mai_image.emulator", *argv],
        stdout=subprocess.PIPE,
        text=True,
        **group,
    )
    try:
        lines = [process.stdout.readline() for _ in range(5)]
        assert f"http://127.0.0.1:{port} (key: k1)" in lines[0]
        assert lines[2].split()[1] == f"AZURE_ENDPOINT=http://127.0.0.1:{port}"
        assert lines[3].split()[1] == "AZURE_API_KEY=k1"
        assert lines[4].split()[1] == "DEPLOYMENT_NAME=mine"
        answer = httpx.post(
            f"http://127.0.0.1:{port}/mai/v1/images/generations",
            json={"model": "mine"},
            headers={"api-key": "k1"},
            trust_env=False,
        )
        assert answer.headers["x-ratelimit-limit-requests"] == "9"
        process.send_signal(signal.CTRL_BREAK_EVENT if os.name == "nt" else signal.SIGINT)
        code = process.wait(timeout=10)
        assert os.name == "nt" or code == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_taken_port_ends_the_command_with_a_sentence(capsys):
    with emulator.start() as service:
        assert emulator.main(["--port", str(service.port)]) == 1
    assert "--port 0 takes a free one" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [
        ["--fault", "stat=1"],
        ["--rpm", "many"],
        ["--rpm", "nobody=3"],
        ["--deployment", "x"],
        ["--deployment", "x=MAI-Image-9"],
        ["--counting", "by feel"],
        ["--latency", "-1"],
    ],
)
def test_bad_options_end_the_command_with_usage(argv, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(argv)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_every_option_reaches_the_service():
    argv = "--host ::1 --port 0 --key k --token t --rpm 3 --rpm a=7 --deployment a=MAI-Image-2"
    argv += " --window 6"
    more = "--burst 2 --count-refused --latency 1.5 --usage absent --edit-size refused"
    more += " --queued 3 --processing 4 --balance 5 --token-life 6 --certificate localhost.pem"
    texts = [
        "--job",
        "end=failed",
        "--token-fault",
        "status=404",
        "--counting",
        "token bucket",
        "--fault",
        "status=500",
        "--edit",
        "shift=1,1",
    ]
    arguments, options = command.parse_command([*argv.split(), *more.split(), *texts])
    assert (arguments.host, arguments.port) == ("::1", 0)
    assert str(arguments.certificate) == "localhost.pem"
    assert options == emulator.Options(
        key="k",
        client_secret="k",
        identity_header="k",
        tokens=("t",),
        deployments={"a": "MAI-Image-2"},
        rpm=3,
        rpm_by_deployment={"a": 7},
        counting="token bucket",
        window=6,
        burst=2,
        count_refused=True,
        latency=1.5,
        fault="status=500",
        edits="shift=1,1",
        usage="absent",
        edit_size="refused",
        queued=3,
        processing=4,
        job="end=failed",
        balance=5,
        token_life=6,
        token_fault="status=404",
    )


def test_a_certificate_that_can_t_be_read_ends_the_command(capsys):
    assert command.main(["--port", "0", "--certificate", "no such file.pem"]) == 1
    assert "The emulator" in capsys.readouterr().err


def test_an_open_host_is_mentioned():
    with emulator.start() as service:
        assert "Other machines" in command.introduction(service, "0.0.0.0")
        assert "Other machines" not in command.introduction(service, "127.0.0.1")
        assert "Other machines" not in command.introduction(service, "localhost")


def test_the_command_makes_a_new_key_each_time_and_prints_it():
    keys = [command.parse_command(["--port", "0"])[1].key for _ in range(2)]
    assert len({*keys, emulator.DEFAULT_KEY}) == 3
    assert min(map(len, keys)) >= 32
    options = command.parse_command(["--port", "0"])[1]
    assert options.client_secret == options.identity_header == options.key
    with emulator.start(options=options) as service:
        text = command.introduction(service, "127.0.0.1")
        assert f"(key: {options.key})" in text
        assert f'"api-key: {options.key}" {service.url}/emulator/log' in text
