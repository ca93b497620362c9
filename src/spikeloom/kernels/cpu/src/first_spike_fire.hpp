// Events by time, potentials, and who fires when: what all kernels of first-spike neurons share.
// Everything is in an unnamed namespace, since the same code is compiled once per instruction set.
#pragma once
#include <math.h>
#include <stdlib.h>

#include <cstdint>

#include "lanes.hpp"

namespace {

constexpr int64_t TILE = 8;
constexpr float NEVER = 1.0f;
typedef float Floats __attribute__((vector_size(4 * TILE)));
typedef int32_t Choice __attribute__((vector_size(4 * TILE)));
typedef double Doubles __attribute__((vector_size(8 * TILE)));
typedef int64_t Mask __attribute__((vector_size(8 * TILE)));

template <class V, class S>
INLINE V load(const S* p) {
  V a;
  __builtin_memcpy(&a, p, sizeof a);
  return a;
}
template <class V, class S>
INLINE void store(S* p, V a) {
  __builtin_memcpy(p, &a, sizeof a);
}
INLINE Doubles wide(Floats a) { return __builtin_convertvector(a, Doubles); }
INLINE bool any(Mask m) {
  int64_t all[TILE], found = 0;
  store(all, m);
  for (int64_t k = 0; k < TILE; ++k) found |= all[k];
  return found != 0;
}

// One block of memory, cut up: rows of neurons and lists of events.
struct Room {
  char* block;
  double *v, *limit, *kept, *sums;
  float *when, *plus, *minus;
  uint64_t *list, *spare;
  Room(int64_t inputs, int64_t padded) {
    const size_t bytes = 4 * 8 * padded + 3 * 4 * padded + 2 * 8 * inputs + 64;
    block = static_cast<char*>(malloc(bytes));
    if (!block) return;
    v = reinterpret_cast<double*>(block);
    limit = v + padded, kept = limit + padded, sums = kept + padded;
    list = reinterpret_cast<uint64_t*>(sums + padded), spare = list + inputs;
    when = reinterpret_cast<float*>(spare + inputs);
    plus = when + padded, minus = plus + padded;
  }
  Room(const Room&) = delete;
  ~Room() { free(block); }
};

INLINE uint32_t bits_of(float a) {
  uint32_t b;
  __builtin_memcpy(&b, &a, sizeof b);
  return b;
}
INLINE float time_of(uint64_t event) {
  const uint32_t b = uint32_t(event >> 32);
  float a;
  __builtin_memcpy(&a, &b, sizeof a);
  return a;
}

// Inputs that fire, by time and then by number: times >= 0 sort as their bits do. Leaves them in
// room.list; returns how many.
int64_t sorted(const float* times, int64_t inputs, Room& room) {
  int64_t n = 0;
  for (int64_t i = 0; i < inputs; ++i)
    if (times[i] < NEVER) room.list[n++] = uint64_t(bits_of(times[i])) << 32 | uint64_t(i);
  for (int shift = 32; shift < 64; shift += 8) {
    int64_t start[257] = {};
    for (int64_t e = 0; e < n; ++e) ++start[((room.list[e] >> shift) & 255) + 1];
    bool one = false;
    for (int64_t b = 1; b <= 256; ++b) one |= start[b] == n;
    if (one) continue;  // all alike here
    for (int64_t b = 1; b <= 256; ++b) start[b] += start[b - 1];
    for (int64_t e = 0; e < n; ++e) room.spare[start[(room.list[e] >> shift) & 255]++] = room.list[e];
    uint64_t* swapped = room.list;
    room.list = room.spare;
    room.spare = swapped;
  }
  return n;
}

// Adds up potentials in room.v; seen(time) is told whenever some are beyond room.limit after all
// inputs of a time, and says whether to stop.
template <bool STRICT, class Seen>
INLINE void integrate(const Room& room, int64_t n, const float* weight, int64_t padded, Seen seen) {
  for (int64_t k = 0; k < padded; ++k) room.v[k] = 0;
  for (int64_t e = 0; e < n; ++e) {
    const float* row = weight + int64_t(uint32_t(room.list[e])) * padded;
    for (int64_t k = 0; k < padded; k += TILE)
      store(room.v + k, load<Doubles>(room.v + k) + wide(load<Floats>(row + k)));
    if (e + 1 < n && room.list[e + 1] >> 32 == room.list[e] >> 32) continue;
    Mask over{};
    for (int64_t k = 0; k < padded; k += TILE) {
      const Doubles v = load<Doubles>(room.v + k), limit = load<Doubles>(room.limit + k);
      over |= STRICT ? v > limit : v >= limit;
    }
    if (any(over) && seen(time_of(room.list[e]))) return;
  }
}

// Spike times to room.when, potentials to room.kept. Limits are used up.
template <bool STRICT>
void fire(Room& room, const float* times, int64_t inputs, const float* weight, int64_t outputs,
          int64_t padded) {
  const int64_t n = sorted(times, inputs, room);
  for (int64_t o = 0; o < padded; ++o) room.when[o] = NEVER;
  int64_t left = outputs;
  integrate<STRICT>(room, n, weight, padded, [&](float time) {
    for (int64_t o = 0; o < outputs; ++o) {
      if (STRICT ? !(room.v[o] > room.limit[o]) : !(room.v[o] >= room.limit[o])) continue;
      room.when[o] = time, room.kept[o] = room.v[o], room.limit[o] = INFINITY;
      --left;
    }
    return left == 0;
  });
  for (int64_t o = 0; o < outputs; ++o)
    if (room.when[o] >= NEVER) room.kept[o] = room.v[o];
}

void set_limits(Room& room, const float* limit, int64_t outputs, int64_t padded) {
  for (int64_t o = 0; o < padded; ++o) room.limit[o] = o < outputs ? double(limit[o]) : INFINITY;
}

}  // namespace
