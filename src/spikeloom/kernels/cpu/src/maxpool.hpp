// What a call of the max-pooling hands over. Python's mirror is in maxpool.py.
#pragma once
#include <cstdint>

struct PoolCall {
  int32_t dtype, threads;
  int64_t images, channels, height, width, out_height, out_width;
  int32_t kernel[2], stride[2], padding[2], dilation[2];
  const void *x, *grad_out;  // [images, height, width, channels], [images, out_height, ...]
  void *out, *grad_x;
  uint8_t* places;  // which element of its window every output is; null: not wanted
};

struct PoolVariant {
  const char* name;
  void (*forward)(const PoolCall&, int64_t image);
  void (*backward)(const PoolCall&, int64_t image);
};
