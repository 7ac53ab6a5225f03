"""Lists of TSN, TSM and their family, and MMAction2's of frames: `folder frames label`, the folder full of pictures."""

from __future__ import annotations

import re

from teinet.data.lists.formats.lists import NumberedList

# The folder's name may hold spaces. The number of frames is not believed: the pictures are counted where they lie.
FORMAT = NumberedList(
    name="tsn",
    title="TSN's and TSM's lists, MMAction2's of frames (folder frames label)",
    line=re.compile(r"(?P<path>.+?)[ \t]+\d+[ \t]+(?P<label>\d+)"),
    expected="`folder frames label`",
    suffixes=(".txt", ".lst"),
    pictures=True,
).format()
