"""Addresses in names and messages, without passwords."""

from __future__ import annotations

import re

TALLY = "TEINET_REMOTE_TALLY"  # names the file in which the processes of a command count what they read at addresses
_ADDRESS = re.compile(r"\b\w+://[^\s'\"]+")
_HOST_AND_PORT = re.compile(r"[^:@]*:\d{0,5}")
_LOGIN = re.compile(r"(?<![^\s/:@'\"])[^\s/:@'\"]+:[^\s/@'\"]*@")  # of an address that was typed without ://
_IN_BRACKETS = re.compile(r"\[[\w:.%]*\](:\d*)?")  # IPv6
_SECRET = r"((?:user|usr|login|account|pass|psw|pwd|pw|token|key|secret|auth|sig|cred|session|hdn|hmac|jwt)[\w-]*?=)"
_IN_PATH = re.compile(_SECRET + r"(?:(?!_[a-z]+=)[^&])*", re.IGNORECASE)  # /user=me_password=secret_channel=1
_IN_QUERY = re.compile(_SECRET + r"[^&]*", re.IGNORECASE)
_HIDDEN = r"\1***"


def without_secrets(address: str) -> str:
    """Return an address without user and password, and with *** for secrets in its path and query."""
    scheme, _, rest = address.partition("://")
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if _IN_BRACKETS.fullmatch(host):
        before = ""
    elif _HOST_AND_PORT.fullmatch(host):  # or a user and the start of a password, more likely without a dot
        before = rest.partition("?")[0] if "." in host and rest[len(host) :][:1] != "?" else rest
    elif ":" in host.partition("@")[0]:  # a password, which may have any character
        before = rest
    else:
        before = host
    path, mark, query = rest[before.rfind("@") + 1 :].partition("?")
    return f"{scheme}://{_IN_PATH.sub(_HIDDEN, path)}{mark}{_IN_QUERY.sub(_HIDDEN, query)}"


def hidden(text: str) -> str:
    """Return a text without the secrets in its addresses."""
    return _LOGIN.sub("***@", _ADDRESS.sub(lambda found: without_secrets(found[0]), text))
