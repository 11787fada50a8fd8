"""The machine that a measurement was made on."""

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

_CPU_LIST = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Machine:
    """What a figure depends on besides the code.

    Attributes:
        cores: those that this process may use.
        memory_bytes: of the whole machine.
    """

    cpu: str
    cores: int
    memory_bytes: int
    system: str
    python: str

    def __str__(self) -> str:
        memory_gib = self.memory_bytes / 2**30
        return f"{self.cpu}, {self.cores} cores, {memory_gib:.1f} GiB, {self.system}, Python {self.python}"


def load_line() -> str:
    """How busy the machine has been with everything, this measurement included: processes that ran or wanted to."""
    minute, _, quarter = os.getloadavg()
    return f"load {minute:.1f} over the last minute, {quarter:.1f} over the last quarter of an hour"


def this_machine() -> Machine:
    """The machine this runs on."""
    listed = _CPU_LIST.read_text(encoding="utf-8") if _CPU_LIST.exists() else ""
    named = re.search(r"^model name\s*: (.+)$", listed, flags=re.MULTILINE)
    return Machine(
        cpu=named[1] if named else platform.processor() or platform.machine(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
    )
