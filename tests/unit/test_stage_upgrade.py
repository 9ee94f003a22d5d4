"""What the live upgrade says of a package manager's work, with a VE that only answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from tmplbuild.errors import StageError
from tmplbuild.managers import Manager, manager
from tmplbuild.stages import upgrade


@dataclass
class Ve:
    """Answers commands by their first words that are known; all others say nothing."""

    answers: dict[tuple[str, ...], bytes] = field(default_factory=dict)
    ran: list[tuple[str, ...]] = field(default_factory=list)

    def run(self, argv: Sequence[str], *, what: str, ok: Sequence[int] = (0,), **options: object) -> bytes:
        self.ran.append(tuple(argv))
        return self.answers.get(tuple(argv), b"")


APT_RPM, APT_DEB = manager("apt-rpm"), manager("apt-deb")


def test_background_work_is_waited_for_before_anything_is_judged() -> None:
    ve = Ve({APT_RPM.upgrade: b"warning: posttrans filetriggers scriptlet failed, exit status 1\n"})
    with pytest.raises(StageError, match="dist-upgrade: the package manager tells of a failure") as caught:
        upgrade.work(ve, APT_RPM, "dist-upgrade", APT_RPM.upgrade, 60)
    assert "posttrans filetriggers" in caught.value.why
    assert ve.ran == [APT_RPM.upgrade, APT_RPM.settle]


def test_apt_of_debian_leaves_nothing_to_wait_for() -> None:
    ve = Ve()
    upgrade.prepare(ve, APT_DEB)
    upgrade.work(ve, APT_DEB, "dist-upgrade", APT_DEB.upgrade, 60)
    assert ve.ran == [APT_DEB.upgrade]


@pytest.mark.parametrize("table", [APT_RPM, APT_DEB], ids=["apt-rpm", "apt-deb"])
def test_an_audit_that_speaks_finds_a_fault(table: Manager) -> None:
    upgrade.audit(Ve(), table, 60)
    (silent,) = table.silent
    with pytest.raises(StageError, match="database is not whole"):
        upgrade.audit(Ve({silent: b"something is left\n"}), table, 60)
    loud = next(argv for argv in table.audits if argv not in table.silent)
    upgrade.audit(Ve({loud: b"Reading lists... Done\n"}), table, 60)


def test_a_wanted_package_that_went_is_a_loss() -> None:
    before = {"setup": "1", "oldname": "1", "extra": "1"}
    target = {"setup": "2", "newname": "2"}
    upgrade.refuse_losses(before, {"setup": "2", "newname": "2"}, target)
    with pytest.raises(StageError, match="lost 1 package that the recipe comes to") as caught:
        upgrade.refuse_losses(before, {"newname": "2"}, target)
    assert caught.value.why == "setup"
