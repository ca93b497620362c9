// Where a window looks in an image, and how many units of bits its channels take.
#pragma once
#include "sums.hpp"

namespace {

typedef uint16_t unit;


inline int64_t units(int64_t channels) { return (channels + UNIT - 1) / UNIT; }
inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// Taps of a window that lie inside the image.
struct Taps {
  int64_t from, to;
  Taps(int32_t kernel, int32_t dilation, int64_t start, int64_t size) {
    from = start < 0 ? (dilation - 1 - start) / dilation : 0;
    int64_t room = size - start;
    to = room <= 0 ? 0 : least(kernel, (room + dilation - 1) / dilation);
  }
};

// A window over an image: where it starts, and its taps.
struct View {
  int64_t y, x;
  Taps down, across;
  View(const Source& s, int64_t out_y, int64_t out_x)
      : y(out_y * s.window.stride_y - s.window.pad_y),
        x(out_x * s.window.stride_x - s.window.pad_x),
        down(s.window.kernel_y, s.window.dilation_y, y, s.height),
        across(s.window.kernel_x, s.window.dilation_x, x, s.width) {}
};

}  // namespace
