"""A command whose node does not answer names the address and how to name another."""

import httpx
import pytest
import typer

from api.cli.output import failures


def test_the_address_that_was_asked_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    request = httpx.Request("GET", "http://127.0.0.1:8601/v1/cases/secret-id?x=y")
    with pytest.raises(typer.Exit), failures():
        raise httpx.ConnectError("refused", request=request)
    said = " ".join(capsys.readouterr().err.split())
    assert "http://127.0.0.1:8601 does not answer (ConnectError)" in said
    assert "--url" in said
    assert "secret-id" not in said


def test_an_error_without_a_request_is_told_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), failures():
        raise httpx.ConnectError("refused")
    assert "does not answer" in capsys.readouterr().err
