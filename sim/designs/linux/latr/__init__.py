"""LATR on Linux (Kumar et al., ASPLOS'18): lazy TLB shootdowns for munmap and MADV_DONTNEED."""
