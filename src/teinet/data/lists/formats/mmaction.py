"""MMAction2's lists of videos: `file label`, the label a number from 0."""

from __future__ import annotations

import re

from teinet.data.lists.formats.lists import NumberedList

FORMAT = NumberedList(
    name="mmaction",
    title="MMAction2's lists of videos (file label)",
    # The path's last word is no number: that would be TSN's count of frames.
    line=re.compile(r"(?P<path>(?:.*[ \t])?\S*[^\s\d]\S*)[ \t]+(?P<label>\d+)"),
    expected="`file label`",
    suffixes=(".txt", ".lst"),
).format()
