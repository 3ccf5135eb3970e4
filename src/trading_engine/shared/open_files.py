"""How many files and connections a process may have open."""

import resource


def raise_open_files_limit(wanted: int) -> None:
    """Each connection is an open file; what a shell allows by default is often 1024. As far as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
