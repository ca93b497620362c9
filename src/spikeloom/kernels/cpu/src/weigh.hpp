// The weighted sums of a window. A gather: the rows of weights that belong to set bits are listed for
// one output pixel and added up in registers. Where weights are signs, set bits are counted instead.
#pragma once
#include "lanes.hpp"
#include "tally.hpp"
#include "threads.hpp"
#include "window.hpp"

namespace {

constexpr int64_t SIDE = UNIT;       // what a list may be written beyond its end
constexpr int64_t CELL_ROWS = 8;     // values of a neuron
constexpr int64_t CHUNK = 32;        // windows whose bits lie ready to be counted

// Appends where the rows of the set bits begin; bit 0 of the first unit has its row at `row`.
INLINE uint32_t* append(const unit* bits, int64_t count, uint32_t row, uint32_t stride,
                        uint32_t* to) {
#if defined(__AVX512F__)
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  __m512i rows = _mm512_add_epi32(_mm512_mullo_epi32(lanes, _mm512_set1_epi32((int)stride)),
                                  _mm512_set1_epi32((int)row));
  const __m512i on = _mm512_set1_epi32((int)(stride * UNIT));
  for (int64_t i = 0; i < count; ++i) {
    const __mmask16 mask = bits[i];
    _mm512_storeu_si512(to, _mm512_maskz_compress_epi32(mask, rows));
    to += __builtin_popcount(mask);
    rows = _mm512_add_epi32(rows, on);
  }
#else
  for (int64_t i = 0; i < count; i += 4, row += 4 * UNIT * stride) {
    uint64_t word = 0;
    __builtin_memcpy(&word, bits + i, sizeof(unit) * least(4, count - i));
    for (; word; word &= word - 1) *to++ = row + (uint32_t)__builtin_ctzll(word) * stride;
  }
#endif
  return to;
}

inline uint32_t* list_bits(const Source& s, int64_t plane, int64_t place, int64_t oy, int64_t ox,
                           uint32_t stride, uint32_t* to) {
  const View view(s, oy, ox);
  const Window& w = s.window;
  const int64_t n = units(s.channels), tap = n * UNIT;
  const unit* base = (const unit*)s.data + plane * s.plane + place;
  for (int64_t ky = view.down.from; ky < view.down.to; ++ky) {
    const unit* line = base + (view.y + ky * w.dilation_y) * s.row;
    const int64_t row = s.first_row + ky * w.kernel_x * tap;
    if (w.dilation_x == 1 && view.across.from < view.across.to) {  // taps lie side by side
      to = append(line + (view.x + view.across.from) * n, n * (view.across.to - view.across.from),
                  (uint32_t)(row + view.across.from * tap) * stride, stride, to);
      continue;
    }
    for (int64_t kx = view.across.from; kx < view.across.to; ++kx)
      to = append(line + (view.x + kx * w.dilation_x) * n, n, (uint32_t)(row + kx * tap) * stride,
                  stride, to);
  }
  return to;
}

// Real values that are not 0, and their rows; returns how many.
inline int64_t list_reals(const Source& s, int64_t place, int64_t oy, int64_t ox, uint32_t stride,
                          uint32_t* to, float* values) {
  const View view(s, oy, ox);
  int64_t count = 0;
  for (int64_t ky = view.down.from; ky < view.down.to; ++ky)
    for (int64_t kx = view.across.from; kx < view.across.to; ++kx) {
      const float* from = (const float*)s.data + place +
                          (view.y + ky * s.window.dilation_y) * s.row +
                          (view.x + kx * s.window.dilation_x) * s.column;
      const int64_t row = s.first_row + (ky * s.window.kernel_x + kx) * s.channels;
      for (int64_t c = 0; c < s.channels; ++c) {
        const float value = from[c * s.channel];
        values[count] = value;
        to[count] = (uint32_t)(row + c) * stride;
        count += value != 0.0f;
      }
    }
  return count;
}

// Adds rows, NV vectors of each, into acc. Several sums run side by side where one would wait for
// its own addition. With VALUES each row is scaled first.
template <int NV, bool VALUES>
INLINE void add_rows(const char* weights, const uint32_t* at, const float* values, int64_t count,
                     float* acc) {
  constexpr int SETS = NV <= 2 ? 4 : NV <= 4 ? 2 : 1;
  vf sum[SETS][NV];
#pragma GCC unroll 8
  for (int j = 0; j < NV; ++j) sum[0][j] = get(acc + j * LANES);
#pragma GCC unroll 4
  for (int s = 1; s < SETS; ++s)
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) sum[s][j] = vf{};
  int64_t i = 0;
  for (; i + SETS <= count; i += SETS)
#pragma GCC unroll 4
    for (int s = 0; s < SETS; ++s) {
      const float* row = (const float*)(weights + at[i + s]);
      const vf scale = VALUES ? all(values[i + s]) : vf{};
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j)
        sum[s][j] += VALUES ? scale * get(row + j * LANES) : get(row + j * LANES);
    }
  for (; i < count; ++i) {
    const float* row = (const float*)(weights + at[i]);
    const vf scale = VALUES ? all(values[i]) : vf{};
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j)
      sum[0][j] += VALUES ? scale * get(row + j * LANES) : get(row + j * LANES);
  }
#pragma GCC unroll 4
  for (int s = 1; s < SETS; ++s)
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) sum[0][j] += sum[s][j];
#pragma GCC unroll 8
  for (int j = 0; j < NV; ++j) put(acc + j * LANES, sum[0][j]);
}

template <bool VALUES>
inline void add_all(const Op& op, const float* weights, const uint32_t* at, const float* values,
                    int64_t count, float* acc) {
  if (count == 0) return;
  const int64_t vectors = op.block_width / LANES;
  int64_t parts = (vectors + 7) / 8;
  while (vectors % parts) ++parts;
  const int64_t each = vectors / parts;
  for (int64_t part = 0; part < parts; ++part) {
    const char* from = (const char*)(weights + part * each * LANES);
    float* to = acc + part * each * LANES;
    switch (each) {
      case 1: add_rows<1, VALUES>(from, at, values, count, to); break;
      case 2: add_rows<2, VALUES>(from, at, values, count, to); break;
      case 3: add_rows<3, VALUES>(from, at, values, count, to); break;
      case 4: add_rows<4, VALUES>(from, at, values, count, to); break;
      case 5: add_rows<5, VALUES>(from, at, values, count, to); break;
      case 6: add_rows<6, VALUES>(from, at, values, count, to); break;
      case 7: add_rows<7, VALUES>(from, at, values, count, to); break;
      default: add_rows<8, VALUES>(from, at, values, count, to);
    }
  }
}

// Working memory of a thread for one sum.
struct Desk {
  float *rows, *acc, *x, *v, *w, *values, *tile;
  uint64_t* patches;  // [plane][window][word]
  uint32_t* list;

  bool open(const Op& op) {
    int64_t longest = SIDE, reals = 0, patch = 0;
    for (int64_t i = 0; i < op.count; ++i) {
      const Source& s = op.sources[i];
      const int64_t taps = (int64_t)s.window.kernel_y * s.window.kernel_x;
      if (s.weighted == SIGNS && s.words * s.planes > patch) patch = s.words * s.planes;
      if (s.weighted != FLOATS) continue;
      if (s.kind == BITS) longest += taps * units(s.channels) * UNIT;
      else reals = taps * s.channels > reals ? taps * s.channels : reals;
    }
    if (reals + SIDE > longest) longest = reals + SIDE;
    const int64_t grown = op.tile * op.steps * op.block_width;
    const int64_t laid = patch * CHUNK * (int64_t)(sizeof(uint64_t) / sizeof(float));
    float* next = scratch((CELL_ROWS + 4) * WIDEST + grown + laid + longest + reals + SIDE);
    if (!next) return false;
    rows = next;
    acc = rows + CELL_ROWS * WIDEST;
    x = acc + WIDEST;
    v = x + WIDEST;
    w = v + WIDEST;
    tile = w + WIDEST;
    patches = (uint64_t*)(tile + grown);
    list = (uint32_t*)(tile + grown + laid);
    values = (float*)list + longest;
    return true;
  }
};

// An output pixel and the channels of its block.
struct Place {
  int64_t n, y, x, channel, left;
};

inline int64_t most_planes(const Op& op) {
  int64_t most = 0;
  for (int64_t i = 0; i < op.count; ++i) {
    const Source& s = op.sources[i];
    if (s.weighted == FLOATS && s.kind == BITS && s.planes > most) most = s.planes;
  }
  return most;
}

inline void weigh_reals(const Op& op, const float* weights, const Place& p, int64_t t, Desk& d) {
  const uint32_t stride = (uint32_t)(op.block_width * sizeof(float));
  for (int64_t i = 0; i < op.count; ++i) {
    const Source& s = op.sources[i];
    if (s.weighted != FLOATS || s.kind != REALS) continue;
    const int64_t place = t * s.step + p.n * s.image;
    const int64_t count = list_reals(s, place, p.y, p.x, stride, d.list, d.values);
    add_all<true>(op, weights, d.list, d.values, count, d.acc);
  }
}

// acc = the weighted sums at one step. Planes come from the highest: their sum doubles each time.
inline void weigh(const Op& op, const float* weights, const Place& p, int64_t t, Desk& d) {
  const uint32_t stride = (uint32_t)(op.block_width * sizeof(float));
  const int64_t planes = most_planes(op);
  for (int64_t i = 0; i < op.block_width; i += LANES) put(d.acc + i, vf{});
  for (int64_t plane = planes - 1; plane >= 0; --plane) {
    uint32_t* end = d.list;
    for (int64_t i = 0; i < op.count; ++i) {
      const Source& s = op.sources[i];
      if (s.weighted == FLOATS && s.kind == BITS && s.planes > plane)
        end = list_bits(s, plane, t * s.step + p.n * s.image, p.y, p.x, stride, end);
    }
    if (plane != planes - 1)
      for (int64_t i = 0; i < op.block_width; i += LANES) put(d.acc + i, 2.0f * get(d.acc + i));
    add_all<false>(op, weights, d.list, nullptr, end - d.list, d.acc);
  }
  weigh_reals(op, weights, p, t, d);
}

// Adds one source's bits to the sums of a tile, at all steps. The rows of a tap's 64 channels stay in
// L1 while all pixels of the tile take theirs: worth it where many bits are set.
inline void weigh_tap(const Op& op, const Source& s, const float* weights, const unit* plane,
                      int64_t ky, int64_t kx, const Place* places, int64_t count, Desk& d) {
  const uint32_t stride = (uint32_t)(op.block_width * sizeof(float));
  const int64_t n = units(s.channels), tap = ky * s.window.kernel_x + kx;
  for (int64_t g = 0; g < n; g += 4) {
    const uint32_t row = (uint32_t)(s.first_row + (tap * n + g) * UNIT) * stride;
    for (int64_t i = 0; i < count; ++i) {
      const Place& p = places[i];
      const int64_t y = p.y * s.window.stride_y - s.window.pad_y + ky * s.window.dilation_y;
      const int64_t x = p.x * s.window.stride_x - s.window.pad_x + kx * s.window.dilation_x;
      if (y < 0 || y >= s.height || x < 0 || x >= s.width) continue;
      const unit* from = plane + p.n * s.image + y * s.row + x * s.column + g;
      float* acc = d.tile + i * op.steps * op.block_width;
      for (int64_t t = 0; t < op.steps; ++t, from += s.step, acc += op.block_width) {
        const uint32_t* end = append(from, least(4, n - g), row, stride, d.list);
        add_all<false>(op, weights, d.list, nullptr, end - d.list, acc);
      }
    }
  }
}

// The weighted sums of a tile at all steps; as weigh().
inline void weigh_tile(const Op& op, const float* weights, const Place* places, int64_t count,
                       Desk& d) {
  const int64_t planes = most_planes(op), floats = count * op.steps * op.block_width;
  for (int64_t i = 0; i < floats; i += LANES) put(d.tile + i, vf{});
  for (int64_t plane = planes - 1; plane >= 0; --plane) {
    if (plane != planes - 1)
      for (int64_t i = 0; i < floats; i += LANES) put(d.tile + i, 2.0f * get(d.tile + i));
    for (int64_t k = 0; k < op.count; ++k) {
      const Source& s = op.sources[k];
      if (s.weighted != FLOATS || s.kind != BITS || s.planes <= plane) continue;
      const unit* from = (const unit*)s.data + plane * s.plane;
      for (int64_t ky = 0; ky < s.window.kernel_y; ++ky)
        for (int64_t kx = 0; kx < s.window.kernel_x; ++kx)
          weigh_tap(op, s, weights, from, ky, kx, places, count, d);
    }
  }
  float* one = d.acc;
  for (int64_t i = 0; i < count * op.steps; ++i) {
    d.acc = d.tile + i * op.block_width;
    weigh_reals(op, weights, places[i / op.steps], i % op.steps, d);
  }
  d.acc = one;
}

// The bits of a window side by side, as the signs lie; returns how many are set.
inline int64_t lay_patch(const Source& s, const View& view, const unit* from, uint64_t* to) {
  const Window& w = s.window;
  const int64_t n = units(s.channels), across = view.across.to - view.across.from;
  for (int64_t i = 0; i < s.words; ++i) to[i] = 0;
  for (int64_t ky = view.down.from; across > 0 && ky < view.down.to; ++ky) {
    const unit* line = from + (view.y + ky * w.dilation_y) * s.row;
    const int64_t tap = ky * w.kernel_x + view.across.from;
    const int64_t x = view.x + view.across.from * w.dilation_x;
    if (w.dilation_x == 1) {
      copy_units(line + x * n, n * across, (unit*)to + tap * n);
      continue;
    }
    for (int64_t k = 0; k < across; ++k)
      copy_units(line + (x + k * w.dilation_x) * n, n, (unit*)to + (tap + k) * n);
  }
  int64_t ones = 0;
  for (int64_t i = 0; i < s.words; ++i) ones += __builtin_popcountll(to[i]);
  return ones;
}

// Adds one source's sums of signs to those of a tile, at all steps.
inline void weigh_signs(const Op& op, const Source& s, int64_t block, const Place* places,
                        int64_t count, Desk& d) {
  const int64_t first = block * op.block_width, items = count * op.steps;
  const uint64_t* signs = s.signs + first * s.words;
  int64_t ones[CHUNK], laid = 0, done = 0;
  for (int64_t i = 0; i < count; ++i) {
    const View view(s, places[i].y, places[i].x);
    const unit* bits = (const unit*)s.data + places[i].n * s.image;
    for (int64_t t = 0; t < op.steps; ++t, bits += s.step) {
      ones[laid] = 0;
      for (int64_t plane = s.planes - 1; plane >= 0; --plane)
        ones[laid] = 2 * ones[laid] + lay_patch(s, view, bits + plane * s.plane,
                                                d.patches + (plane * CHUNK + laid) * s.words);
      if (++laid < CHUNK && done + laid < items) continue;
      tally({d.patches, CHUNK * s.words, s.planes, s.words, laid, ones}, signs, s.scales + first,
            op.block_width, d.tile + done * op.block_width);
      done += laid;
      laid = 0;
    }
  }
}

// The weighted sums of a tile at all steps, whatever the weights are.
inline void weigh_all(const Op& op, int64_t block, const Place* places, int64_t count, Desk& d) {
  const float* weights = op.weights + block * op.rows * op.block_width;
  if (op.crowded) {
    weigh_tile(op, weights, places, count, d);
  } else if (op.rows) {
    float* one = d.acc;
    for (int64_t i = 0; i < count * op.steps; ++i) {
      d.acc = d.tile + i * op.block_width;
      weigh(op, weights, places[i / op.steps], i % op.steps, d);
    }
    d.acc = one;
  } else {
    for (int64_t i = 0; i < count * op.steps * op.block_width; i += LANES) put(d.tile + i, vf{});
  }
  for (int64_t k = 0; k < op.count; ++k)
    if (op.sources[k].weighted == SIGNS) weigh_signs(op, op.sources[k], block, places, count, d);
}

}  // namespace
