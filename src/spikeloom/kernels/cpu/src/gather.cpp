// Sums of rows that bits choose, and numbers to bits. Compiled once per instruction set.
#include "panels.hpp"

namespace {

// Sums of some rows through one stretch of the source, added to what there is.
template <int Q>
void add_stretch(const Gather& g, int64_t start, int64_t first, int64_t rows, const float* panel,
                 float* sums) {
  const int64_t depth = g.depth - start < DEPTH ? g.depth - start : DEPTH;
  for (int64_t a = 0; a < rows; ++a) {
    const uint64_t* bits = g.bits + (first + a) * g.words + start / WORD;
    vf part[Q]{};
    add_rows<Q>(bits, words_of(depth), panel, Q * LANES, part);
    float* to = sums + a * Q * LANES;
    UNROLLED for (int q = 0; q < Q; ++q)
      put(to + q * LANES, start ? get(to + q * LANES) + part[q] : part[q]);
  }
}

template <int Q>
void hand_over(const Gather& g, int64_t column, int64_t first, int64_t rows, const float* sums) {
  constexpr int64_t STRIDE = Q * LANES;
  const int64_t columns = g.columns - column < STRIDE ? g.columns - column : STRIDE;
  float* out = g.out + first * g.out_row + column * g.out_column;
  if (g.out_column == 1) {
    vf bias[Q]{};
    UNROLLED for (int q = 0; g.bias && q < Q; ++q) {
      const int64_t left = columns - q * LANES;
      if (left > 0) bias[q] = get(g.bias + column + q * LANES, left < LANES ? left : LANES);
    }
    for (int64_t a = 0; a < rows; ++a) {
      vf row[Q];
      UNROLLED for (int q = 0; q < Q; ++q) row[q] = get(sums + a * STRIDE + q * LANES) + bias[q];
      put_some<Q>(out + a * g.out_row, row, columns);
    }
    return;
  }
  constexpr int64_t SQUARE = 16;  // rows at a time, so that both sides stay in L1
  for (int64_t a = 0; a < rows; a += SQUARE)
    for (int64_t i = 0; i < columns; ++i) {
      const float bias = g.bias ? g.bias[column + i] : 0.0f;
      for (int64_t k = a; k < rows && k < a + SQUARE; ++k)
        out[k * g.out_row + i * g.out_column] = sums[k * STRIDE + i] + bias;
    }
}

template <int Q>
bool gather_panel(const Gather& g, int64_t column, int64_t first, int64_t rows, float* scratch) {
  float *panel = scratch, *sums = scratch + DEPTH * Q * LANES;
  bool finite = true;
  for (int64_t start = 0; start < g.depth || start == 0; start += DEPTH) {
    const int64_t depth = g.depth - start < DEPTH ? g.depth - start : DEPTH;
    const float* source = g.source + start * g.source_row + column * g.source_column;
    finite &= panel_from(source, g.source_row, g.source_column, depth, g.columns - column, panel,
                         Q * LANES);
    add_stretch<Q>(g, start, first, rows, panel, sums);
  }
  hand_over<Q>(g, column, first, rows, sums);
  return finite;
}

bool gather(const Gather& g, int64_t column, int64_t first, int64_t rows, float* scratch) {
  const int64_t left = g.columns - column;
  if (left > 4 * LANES) return gather_panel<VECTORS>(g, column, first, rows, scratch);
  if (left > 2 * LANES) return gather_panel<4>(g, column, first, rows, scratch);
  if (left > LANES) return gather_panel<2>(g, column, first, rows, scratch);
  return gather_panel<1>(g, column, first, rows, scratch);
}

int64_t pack(const Pack& p, int64_t first, int64_t rows) {
  int64_t ones = 0;
  for (int64_t a = first; a < first + rows; ++a) {
    const int64_t found = pack_row(p.from + a * p.stride, p.columns, p.bits + a * p.words);
    if (found < 0) return -1;
    ones += found;
  }
  return ones;
}

}  // namespace

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
#define JOINED(a, b) a##b
#define NAMED(a, b) JOINED(a, b)
extern const Sparse NAMED(sparse_, ISA);
const Sparse NAMED(sparse_, ISA) = {TEXT(ISA), PANEL, gather, pack};
