"""fastxent beside other libraries and beside the memory limit; `compare.py` runs it."""
