import platform
import subprocess
import sys

import pytest

FAULTS_OF_TWENTY_BLOCKS = """
import resource, sys
import numpy as np
from dermcheck.training.allocator import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()
np.ones(48 << 20, np.uint8)  # above glibc's largest threshold of its own, 32 MB
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(48 << 20, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how):
    command = [sys.executable, "-c", FAULTS_OF_TWENTY_BLOCKS, how]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries keep memory their own way")
def test_memory_that_was_freed_is_used_again_without_page_faults():
    assert page_faults("keep") < 100 < page_faults("leave")
