"""The mail catcher as a part of the local system; `mail.py` implements it."""

import sys
from pathlib import Path

from deploy import ROOT
from deploy.processes import ChildProcess
from deploy.stack import HOST, ServicePart


class MailCatcher(ServicePart):
    """The mail catcher: its page is at its port, SMTP at the next one."""

    def __init__(
        self, folder: Path, run: Path, port: int, *, log: Path | None = None, pid_file: Path | None = None
    ) -> None:
        self._mails = folder
        super().__init__("mail", run, port, env={}, log=log, pid_file=pid_file)

    @property
    def smtp_url(self) -> str:
        return f"smtp://{HOST}:{self.port + 1}"

    def _ports(self) -> dict[int, str]:
        return {self.port: "the mail page", self.port + 1: "mail"}

    def _process(self) -> ChildProcess:
        ports = ("--page-port", str(self.port), "--smtp-port", str(self.port + 1))
        command = [sys.executable, "-m", "deploy.mail", str(self._mails), *ports]
        return ChildProcess(self.name, command, log=self.log, pid_file=self.pid_file, cwd=ROOT)
