"""PyMySQL against MariaDB."""

from __future__ import annotations

from integration.libraries.harness import Library, library
from integration.libraries.mysql import MySQLTests

LIBRARY = Library(
    name="PyMySQL",
    package="PyMySQL",
    how="sockets",
    know="A connection whose greenlet was killed or timed out in a query is closed by PyMySQL.",
    server="MariaDB 10.11",
)

pymysql = library("pymysql", "PyMySQL")
library("pymysql.cursors", "PyMySQL")


class TestPyMySQL(MySQLTests):
    module = pymysql
    unbuffered = pymysql.cursors.SSCursor
    user = "graftlet_pymysql"
