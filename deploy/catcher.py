"""The mail catcher as a part of the local system; `mail.py` implements it."""

from pathlib import Path

from deploy.service import ServicePart
from deploy.stack import HOST


class MailCatcher(ServicePart):
    """The mail catcher: its page is at its port, SMTP at the next one."""

    def __init__(
        self,
        folder: Path,
        run: Path,
        port: int,
        *,
        forked: bool = False,
        log: Path | None = None,
        pid_file: Path | None = None,
    ) -> None:
        ports = ("--page-port", str(port), "--smtp-port", str(port + 1))
        super().__init__(
            "mail",
            run,
            port,
            env={},
            arguments=(str(folder), *ports),
            module="deploy.mail",
            forked=forked,
            log=log,
            pid_file=pid_file,
        )

    @property
    def smtp_url(self) -> str:
        return f"smtp://{HOST}:{self.port + 1}"

    def _ports(self) -> dict[int, str]:
        return {self.port: "the mail page", self.port + 1: "mail"}
