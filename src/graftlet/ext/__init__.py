"""Libraries that block inside C: their adapters, and a way to make more.

`adapters` lists them: ``psycopg2``, ``psycopg`` (3), ``mysqlclient``, ``pyOpenSSL``, ``sqlite3`` and, for greenlets that
are killed, ``amqp``. Each is installed when its library is imported, before patching or after, and undone by `graftlet.unpatch_all`;
``patch_all(drivers=False)`` leaves all of them alone. For any other library: `offload_module`.
"""

from graftlet.ext import _known as _known
from graftlet.ext._library import offload_module as offload_module
from graftlet.patch._adapters import Adapter as Adapter
from graftlet.patch._adapters import adapters as adapters

__all__ = ("Adapter", "adapters", "offload_module")
