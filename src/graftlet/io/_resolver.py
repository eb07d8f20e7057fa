"""Names to addresses: the C library's resolver, in native threads of its own.

Rule: nothing is parsed or cached here. What needs no resolver (numeric addresses) is answered at once by
the very same function, with the flags that forbid it to ask anybody; the rest goes to a pool that does
nothing else, so slow names can't starve other offloaded work. Calls and errors are those of
``socket.getaddrinfo`` and its relatives (Modules/socketmodule.c).
"""

import _socket
from typing import Any, Final

from graftlet.core import _original
from graftlet.io._builtin import Functions
from graftlet.io._offload import NativePool

_pool: Final = NativePool(16)
_NUMERIC_HOST: Final = _socket.AI_NUMERICHOST
_NUMERIC_SERVICE: Final = getattr(_socket, "AI_NUMERICSERV", 0)


def getaddrinfo(
    host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
) -> list[Any]:
    """As ``_socket.getaddrinfo``, without blocking the hub."""
    if host is None or is_numeric(host):
        try:
            return _original.getaddrinfo(
                host, port, family, type, proto, flags | _NUMERIC_HOST | _numeric(port)
            )
        except _socket.gaierror:
            pass  # a service name, or an error that must read as without our flags
    return _pool.call(_original.getaddrinfo, host, port, family, type, proto, flags)


def _numeric(port: Any) -> int:
    return _NUMERIC_SERVICE if port is None or isinstance(port, int) else 0


def is_numeric(host: Any) -> bool:
    """Whether ``host`` is an address already, which no resolver has to be asked for."""
    if isinstance(host, (bytes, bytearray)):
        host = host.decode("ascii", "replace")
    if not isinstance(host, str):
        return False
    if ":" in host:
        try:
            _socket.inet_pton(_socket.AF_INET6, host.partition("%")[0])
        except (OSError, ValueError):
            return False
        return True
    try:
        _socket.inet_aton(host)
    except (OSError, ValueError):
        return False
    return True


def getnameinfo(address: Any, flags: int, /) -> tuple[str, str]:
    """As ``_socket.getnameinfo``, without blocking the hub."""
    return _pool.call(_original.getnameinfo, address, flags)


def gethostbyname(host: Any, /) -> str:
    """As ``_socket.gethostbyname``, without blocking the hub."""
    if is_numeric(host):
        return _original.gethostbyname(host)
    return _pool.call(_original.gethostbyname, host)


def gethostbyname_ex(host: Any, /) -> tuple[str, list[str], list[str]]:
    """As ``_socket.gethostbyname_ex``, without blocking the hub."""
    return _pool.call(_original.gethostbyname_ex, host)


def gethostbyaddr(host: Any, /) -> tuple[str, list[str], list[str]]:
    """As ``_socket.gethostbyaddr``, without blocking the hub."""
    return _pool.call(_original.gethostbyaddr, host)


def is_broadcast(host: str | bytes | bytearray) -> bool:
    """Whether it is the name that C itself knows."""
    return host == "<broadcast>" if isinstance(host, str) else host == b"<broadcast>"


def resolved(family: int, address: Any) -> Any:
    """``address`` with a numeric host, so that C need not resolve it and block.

    Anything that is not a host name of an Internet address is returned as it is: C judges it.
    """
    if (
        family not in (_socket.AF_INET, _socket.AF_INET6)
        or not isinstance(address, tuple)
        or not address
    ):
        return address
    host = address[0]
    if not isinstance(host, (str, bytes, bytearray)) or not host or is_broadcast(host):
        return address
    if is_numeric(host):
        return address
    if "\0" in host if isinstance(host, str) else b"\0" in host:
        return address
    found = getaddrinfo(host, None, family)
    return (found[0][4][0], *address[1:])


class ResolverFunctions(Functions):
    """What takes the place of functions of module ``_socket``: the functions above, see `Functions`."""

    __slots__ = ()

    def getaddrinfo(
        self, host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[Any]:
        """As ``_socket.getaddrinfo``."""
        return getaddrinfo(host, port, family, type, proto, flags)

    def getnameinfo(self, address: Any, flags: int, /) -> tuple[str, str]:
        """As ``_socket.getnameinfo``."""
        if not isinstance(address, tuple):
            try:
                return _original.getnameinfo(address, flags)  # says what is wrong
            finally:
                del address  # as in C, a traceback keeps no argument alive
        return getnameinfo(address, flags)

    def gethostbyname(self, host: Any, /) -> str:
        """As ``_socket.gethostbyname``."""
        return gethostbyname(host)

    def gethostbyname_ex(self, host: Any, /) -> tuple[str, list[str], list[str]]:
        """As ``_socket.gethostbyname_ex``."""
        return gethostbyname_ex(host)

    def gethostbyaddr(self, host: Any, /) -> tuple[str, list[str], list[str]]:
        """As ``_socket.gethostbyaddr``."""
        return gethostbyaddr(host)


functions: Final = ResolverFunctions()
