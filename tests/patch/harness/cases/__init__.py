"""The cases, by subject. They know nothing of graftlet."""
