// Tells callgrind which part of a program to count: a library for ctypes, made where valgrind's headers are.
#include <valgrind/callgrind.h>

extern "C" void count_from_here() {
    CALLGRIND_START_INSTRUMENTATION;
    CALLGRIND_ZERO_STATS;
}

// Writes what has been counted to a file of its own, and counts from 0 again.
extern "C" void counted() { CALLGRIND_DUMP_STATS; }
