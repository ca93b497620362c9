// Random numbers that are functions of what they are for: functional/hashed.py, to the bit.
#pragma once
#include <cstdint>

namespace {

// SplitMix64, of a number or of a vector of them.
template <class Bits>
inline Bits mixed(Bits bits) {
  bits += 0x9E3779B97F4A7C15u;
  bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9u;
  bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EBu;
  return bits ^ (bits >> 31);
}

inline float uniform(uint64_t bits) { return float(bits >> 40) * 0x1p-24f; }

inline float normal(uint64_t bits) {
  int64_t total = 0;
  for (int draw = 0; draw < 3; ++draw, bits = mixed(bits))
    for (int place = 0; place < 64; place += 16) total += int64_t(bits >> place & 0xFFFF);
  return float(2 * total - 12 * 0xFFFF) * 0x1p-17f;
}

}  // namespace
