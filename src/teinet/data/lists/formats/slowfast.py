"""SlowFast's and PyTorchVideo's csv: `path label`, parted by a space or a comma, without a first line of names."""

from __future__ import annotations

import re

from teinet.data.lists.formats.lists import NumberedList

FORMAT = NumberedList(
    name="slowfast",
    title="SlowFast's and PyTorchVideo's csv (path label)",
    line=re.compile(r'"?(?P<path>(?:[^"]*[ ,\t])?[^\s,"]*[^\s,\d"][^\s,"]*)"?[ ,\t]+(?P<label>\d+)'),
    expected="`path label` or `path,label`",
    suffixes=(".csv",),
).format()
