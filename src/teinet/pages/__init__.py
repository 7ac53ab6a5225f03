"""Every HTML page that the library writes or serves, in one look."""
