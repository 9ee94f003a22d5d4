"""Bring a report to those who want it: a file on this machine, metrics, a command, a mail server."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tmplbuild.artifact.atomic import write_atomic
from tmplbuild.config import Settings
from tmplbuild.core.process import run
from tmplbuild.engine.metrics import write_metrics
from tmplbuild.errors import FetchError, HostError, TmplbuildError, UsageError
from tmplbuild.nightlyconf import Nightly, Smtp
from tmplbuild.ui.night import is_quiet, night_lines, subject
from tmplbuild.ui.style import Ink

if TYPE_CHECKING:
    import smtplib
    import ssl

Report = Mapping[str, Any]

_COMMAND_S = 300.0
_SMTP_S = 60.0


def deliver(report: Report, settings: Settings) -> list[TmplbuildError]:
    """Keep the report and send it where the settings say. Returns what could not be done: a mail server
    that is down must not hide what the night brought."""
    night = settings.nightly
    tasks: list[Callable[[], None]] = [lambda: _keep(report, settings)]
    if (file := night.metrics) is not None:
        tasks.append(lambda: write_metrics(file, report))
    if _is_told(report, night):
        if night.command:
            tasks.append(lambda: _hand_over(report, night))
        if (smtp := night.smtp) is not None:
            tasks.append(lambda: _mail(report, smtp))
    troubles = []
    for task in tasks:
        try:
            task()
        except TmplbuildError as error:
            troubles.append(error)
    return troubles


def reports_dir(settings: Settings) -> Path:
    """Where reports of earlier nights lie, one JSON file each, named by their time (UTC)."""
    return settings.state_dir / "reports"


def _is_told(report: Report, night: Nightly) -> bool:
    if night.when == "always":
        return True
    return bool(report["status"]) if night.when == "failed" else not is_quiet(report)


def _keep(report: Report, settings: Settings) -> None:
    place = reports_dir(settings)
    try:
        place.mkdir(parents=True, exist_ok=True)
        name = time.strftime("%Y-%m-%dT%H%M%SZ.json", time.gmtime(report["began"]))
        write_atomic(place / name, json.dumps(report, indent=1, default=str).encode())
        for old in sorted(place.glob("*.json"))[: -settings.nightly.keep_reports]:
            old.unlink(missing_ok=True)
    except OSError as error:
        raise HostError("the report cannot be kept", where=str(place), why=str(error)) from error


def text_of(report: Report) -> str:
    """The report as the text of a mail."""
    return "".join(f"{line}\n" for line in night_lines(report, Ink(), 78))


def _hand_over(report: Report, night: Nightly) -> None:
    env = {
        "TMPLBUILD_SUBJECT": f"tmplbuild: {subject(report)}",
        "TMPLBUILD_STATUS": str(report["status"]),
    }
    run(
        night.command,
        what="hand the report to the command of nightly.command",
        env=env,
        stdin=text_of(report).encode("utf-8", "replace"),
        timeout_s=_COMMAND_S,
    )


def _mail(report: Report, smtp: Smtp) -> None:
    import smtplib  # these are only loaded where there is something to send
    import ssl
    from email.message import EmailMessage
    from email.utils import formatdate, make_msgid

    message = EmailMessage()
    message["From"] = smtp.sender
    message["To"] = ", ".join(smtp.to)
    message["Subject"] = f"tmplbuild: {subject(report)}"
    message["Date"] = formatdate(report["began"] + report["seconds"], localtime=True)
    message["Message-ID"] = make_msgid(domain="tmplbuild.invalid")
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no absence notes, please
    message.set_content(text_of(report).encode("utf-8", "replace").decode())
    password = _password(smtp)
    port = smtp.port or {"tls": 465, "starttls": 587, "none": 25}[smtp.security]
    try:
        context = ssl.create_default_context()
        with _connected(smtp, port, context) as server:
            if smtp.security == "starttls":
                server.starttls(context=context)
            if smtp.user:
                _log_in(server, smtp.user, password)
            server.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        raise FetchError(
            "the report could not be mailed",
            where=f"{smtp.host}:{port}",
            why=str(error),
            hint="see [nightly.smtp] in the settings",
        ) from error


def _connected(smtp: Smtp, port: int, context: ssl.SSLContext) -> smtplib.SMTP:
    import smtplib

    if smtp.security == "tls":
        return smtplib.SMTP_SSL(smtp.host, port, timeout=_SMTP_S, context=context)
    return smtplib.SMTP(smtp.host, port, timeout=_SMTP_S)


def _log_in(server: smtplib.SMTP, user: str, password: str) -> None:
    """Log in. smtplib knows only ASCII; by RFC 4616 names and passwords are UTF-8."""
    import base64
    import smtplib

    server.ehlo_or_helo_if_needed()
    offered = server.esmtp_features.get("auth", "").upper().split()
    if f"{user}{password}".isascii() or "PLAIN" not in offered:
        try:
            server.login(user, password)
        except UnicodeEncodeError:
            raise smtplib.SMTPNotSupportedError("the server takes only passwords of ASCII letters") from None
        return
    words = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
    code, said = server.docmd("AUTH", f"PLAIN {words}")
    if code not in (235, 503):  # RFC 4954: done, or done already
        raise smtplib.SMTPAuthenticationError(code, said)


def _password(smtp: Smtp) -> str:
    """The password from where the settings say it is; it is in no error and no log. Raises UsageError."""
    if smtp.password_file is not None:
        try:
            return smtp.password_file.read_text("utf-8").strip("\r\n")
        except (OSError, ValueError) as error:
            raise UsageError(
                "the password of the mail server cannot be read",
                where=str(smtp.password_file),
                why=str(error.strerror) if isinstance(error, OSError) else "it is no text",
            ) from None
    if smtp.password_env:
        found = os.environ.get(smtp.password_env)
        if found is None:
            raise UsageError(
                "the password of the mail server is not in the environment", where=smtp.password_env
            )
        return found
    return ""
