"""Libraries that block inside their own C code, and what to do about each: what ``doctor`` knows by heart.

Rule: data only. A library that has an adapter (`graftlet.ext`) is not in here; one whose C code only computes,
parses or waits in native threads of its own is among the harmless ones.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_OFFLOAD: Final = (
    "its calls keep all greenlets waiting: call them with graftlet.offload(function, ...)"
)
_MODULE: Final = (
    "its calls keep all greenlets waiting: "
    'name them with graftlet.ext.offload_module("{module}", "function", "Class.method")'
)

#: By a module that is loaded when the library is: what to do.
BLOCKING: Final = {
    "grpc._cython.cygrpc": (
        'its own threads must stay native: graftlet.patch_all(native={"grpc"}) or graftlet --native grpc program; '
        "and make calls with graftlet.offload(stub.Method, request)"
    ),
    "confluent_kafka.cimpl": _OFFLOAD,
    "ibm_db": _MODULE,
    "cx_Oracle": _OFFLOAD,
    "oracledb.thick_impl": "in thick mode " + _OFFLOAD + "; its thin mode needs nothing",
    "pyodbc": _OFFLOAD,
    "pymssql._mssql": _OFFLOAD,
    "pymssql._pymssql": _OFFLOAD,
    "_pylibmc": _OFFLOAD + "; pymemcache, in Python, needs nothing",
    "pycurl": _OFFLOAD + "; requests, urllib3 and httpx need nothing",
    "_ldap": _OFFLOAD + "; ldap3, in Python, needs nothing",
    "zmq.backend.cython._zmq": (
        "a socket's calls keep all greenlets waiting: wait for its descriptor (socket.FD) with select first, "
        "or give it a native thread (graftlet.native.Thread)"
    ),
    "aerospike": _OFFLOAD,
    "couchbase.pycbc_core": _OFFLOAD,
    "cassandra.io.libevwrapper": "its loop runs in a thread that never yields: use another connection class",
    "pulsar._pulsar": _OFFLOAD,
    "_pulsar": _OFFLOAD,
    "rados": _OFFLOAD,
    "rbd": _OFFLOAD,
    "hdfs3": _OFFLOAD,
    "duckdb": _OFFLOAD,
    "_duckdb": _OFFLOAD,
    "pyarrow._s3fs": "files on S3: " + _OFFLOAD,
    "_tkinter": "mainloop() keeps all greenlets waiting: run it in a program of its own",
    "_dbm": "reads and writes of files only: harmless unless the disk is slow",
    "_gdbm": "reads and writes of files only: harmless unless the disk is slow",
}

#: Those of which no more needs to be said. Top-level names.
HARMLESS: Final = frozenset(
    [
        "greenlet",
        "_cffi_backend",
        "cffi",
        "cryptography",
        "nacl",
        "bcrypt",
        "_argon2_cffi_bindings",
        "lxml",
        "markupsafe",
        "yaml",
        "_yaml",
        "_ruamel_yaml",
        "msgpack",
        "simplejson",
        "orjson",
        "ujson",
        "rapidjson",
        "regex",
        "numpy",
        "scipy",
        "pandas",
        "PIL",
        "pydantic_core",
        "rpds",
        "jiter",
        "tiktoken",
        "aiohttp",
        "multidict",
        "yarl",
        "frozenlist",
        "propcache",
        "httptools",
        "uvloop",
        "websockets",
        "wrapt",
        "zstandard",
        "lz4",
        "brotli",
        "_brotli",
        "snappy",
        "xxhash",
        "mmh3",
        "charset_normalizer",
        "psutil",
        "setproctitle",
        "hiredis",
        "sqlalchemy",
        "asyncpg",
        "psycopg_binary",
        "psycopg_c",
        "google",
        "zope",
        "coverage",
        "gevent",
        "mypyc",
        "black",
        "mypy",
        "Crypto",
        "Cryptodome",
        "sentencepiece",
        "tokenizers",
        "safetensors",
        "bson",
        "pymongo",
        "clickhouse_driver",
        "jaeger_client",
        "thriftpy2",
    ]
)
