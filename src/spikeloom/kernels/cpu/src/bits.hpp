// Zeros and ones as bits: element i of a stretch of memory is bit i % 64 of word i / 64.
#pragma once
#include <cstdint>

struct BitsVariant {
  const char* name;
  // Packs `count` elements; false if one is neither 0 nor 1 (the bits are then of no use).
  bool (*pack)(const void* from, int32_t dtype, int64_t count, uint64_t* words);
  void (*unpack)(const uint64_t* words, int64_t count, int32_t dtype, void* to, bool stream);
};
