"""mysqlclient (MySQLdb) against MariaDB."""

from __future__ import annotations

from integration.libraries.harness import Library, library
from integration.libraries.mysql import MySQLTests

LIBRARY = Library(
    name="mysqlclient (MySQLdb)",
    package="mysqlclient",
    how="adapter: the calls of each connection in a native thread",
    know="A connection whose greenlet was killed or timed out in a query is shut down: the next query on it raises "
    "mysqlclient's own error. `MySQLdb._mysql`, used directly, blocks.",
    server="MariaDB 10.11",
)

MySQLdb = library("MySQLdb", "mysqlclient")
library("MySQLdb.cursors", "mysqlclient")


class TestMysqlclient(MySQLTests):
    module = MySQLdb
    unbuffered = MySQLdb.cursors.SSCursor
    user = "graftlet_mysqlclient"
