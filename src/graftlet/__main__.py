"""``python -m graftlet``: the same command as the installed ``graftlet``.

No exit call here: when the program has ended the interpreter goes on exactly as it would after
that program under plain ``python`` (threads, atexit, ``python -i``).
"""

from graftlet.launch import main

if __name__ == "__main__":
    main()
