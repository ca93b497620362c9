// Work on several threads: those of torch's OpenMP runtime if it was handed over, else our own.
#pragma once
#include <cstdint>

using Task = void (*)(void* data, int64_t index);

// Calls task(data, 0 .. count - 1), each once, on up to `threads` threads; the caller takes part.
void share(int threads, int64_t count, Task task, void* data);

// Floats for the calling thread, aligned to 64 bytes and kept until the thread ends; null if there
// is no memory.
float* scratch(int64_t floats);
