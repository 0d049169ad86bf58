"""Decides which brokers are used: Redis-protocol servers that keep every message, and that TLS has proved, if any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import kombu
from kombu.exceptions import KombuError, OperationalError
from pydantic import SecretStr
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from common.errors import InputError, ServerError, first_line

_POLICY = "maxmemory-policy"
_PLAIN = ("redis", "redis+socket")
_TLS = "rediss"
_VARIABLE = "FLOWCERT_BROKER_URL"


def checked_url(given: str | SecretStr) -> str:
    """Complete a broker URL: with ``rediss`` the server's certificate and name are verified, always.

    Kombu's own default verifies nothing. Raises InputError, which shows no part of the URL, for another scheme, for
    what is no URL, and for a query that turns verification off.
    """
    text = given.get_secret_value() if isinstance(given, SecretStr) else given
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        problem = "is no URL; write special characters of its password as %XX, such as %2F for a slash"
        raise InputError(_VARIABLE, problem) from error
    if parts.scheme not in (*_PLAIN, _TLS):
        raise InputError(_VARIABLE, "must be a Redis-protocol URL, such as redis://host:6379/0")
    if ";" in text:
        raise InputError(_VARIABLE, "names several servers; name one")
    query = dict(parse_qsl(parts.query))
    if parts.scheme in _PLAIN:
        if any(name.startswith("ssl") for name in query):
            raise InputError(_VARIABLE, "has TLS options but its scheme uses none; write rediss://")
        return text
    if query.setdefault("ssl_cert_reqs", "required") not in ("required", "CERT_REQUIRED"):
        raise InputError(_VARIABLE, "must verify the server: ssl_cert_reqs can only be required")
    if query.get("ssl_check_hostname", "true").lower() != "true":
        raise InputError(_VARIABLE, "must verify the server's name: ssl_check_hostname cannot be turned off")
    return parts._replace(query=urlencode(query)).geturl()


def check_broker(given: str | SecretStr, warn: Callable[[str], None], *, must_answer: bool) -> None:
    """Refuse a broker that evicts keys when full: it would drop whole queues without a word.

    A server that does not tell its configuration is used with a warning; so is one that is away, unless it
    ``must_answer``. Raises ServerError otherwise, also for a password that the server does not accept.
    """
    url = checked_url(given)
    try:
        with kombu.Connection(url, connect_timeout=5) as connection:
            connection.ensure_connection(max_retries=1, timeout=5)
            channel: Any = connection.default_channel
            policy = channel.client.config_get(_POLICY).get(_POLICY)
    except ResponseError as error:
        if _is_refusal(error):
            raise _away(url, error) from error
        warn(f"the broker does not tell its {_POLICY}; make sure that it is noeviction")
        return
    except (OperationalError, KombuError, RedisError, OSError) as error:
        if must_answer or _is_refusal(error):
            raise _away(url, error) from error
        warn(f"{_away(url, error)}; waiting for it")
        return
    if policy != "noeviction":
        raise ServerError(f"broker: its {_POLICY} is {policy}, which drops messages when full; set it to noeviction")


def _is_refusal(error: BaseException) -> bool:
    """Whether the server answered, and wants another password."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, AuthenticationError) or "NOAUTH" in str(found) or "WRONGPASS" in str(found):
            return True
        found = found.__cause__
    return False


def _away(url: str, error: BaseException) -> ServerError:
    return ServerError(f"broker: cannot connect to {kombu.Connection(url).as_uri()}: {first_line(error)}")
